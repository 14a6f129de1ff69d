"""StoryWorld as a source of training samples, rendered on the fly; equal generators give equal samples."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np
from jaxtyping import Bool

from shotstream.core.spec import PAPER_SHOT, ShotShape
from shotstream.core.video import Frames
from shotstream.data.samples import ShotSample, VideoSample, cut_picture, cut_shot
from shotstream.model.config import CaptionChoice
from shotstream.story.captions import compose_caption
from shotstream.story.script import Script
from shotstream.story.selectors import FrameRef, PastShot, get_selector
from shotstream.story.shot_spec import ShotSpec
from shotstream.world.captions import global_caption, shot_caption
from shotstream.world.phrasing import people_captions
from shotstream.world.render import character_masks, render_frames
from shotstream.world.scene import WORLD_VERSION, WorldStory
from shotstream.world.stories import sample_story
from shotstream.world.traits import MOVING_ACTIONS

TRAINING_SEEDS = 2**30
"""Stories with seeds below this are for training; the first held-out story is `TRAINING_SEEDS` itself."""
CAPTION_VARIANTS = 1000
PEOPLE_SHARE = 0.4
"""Share of the training captions in people's phrasing; the others come from the grammar."""


@dataclass(frozen=True)
class StoryWorldShots:
    """A `data.samples.ShotSource` of random training stories.

    A shot that is shorter than the sample asked for goes on until the sample is full.

    Attributes:
        context: name of the selector of context frames.
        captions: which captions the context attends to (`story.layout.shot_layout`).
        first_share: share of the samples that are the first shot of their story, which have no context.
        people_share: share of the captions in people's phrasing.
        pair_share: share of the samples that are sure to show two characters; the others may.
        shape: latents of a chunk and of the context of the samples.
        moving_share: share of the samples whose action is sure to move the whole body; in the others it may.

    Raises:
        InputError: there is no such selector.
    """

    context: str = "dynamic"
    captions: CaptionChoice = "per_shot"
    first_share: float = 0.15
    people_share: float = PEOPLE_SHARE
    pair_share: float = 0.0
    moving_share: float = 0.0
    shape: ShotShape = PAPER_SHOT

    def __post_init__(self) -> None:
        get_selector(self.context)

    @property
    def identity(self) -> Mapping[str, object]:
        plain = asdict(self)
        if self.shape == PAPER_SHOT:
            del plain["shape"]
        return {"source": "storyworld", "version": WORLD_VERSION} | plain

    def draw(self, rng: np.random.Generator, chunks: int) -> ShotSample:
        story, shot = self._pick(rng, self.first_share)
        return shot_of_story(story, shot, chunks, rng, self.context, self.captions, self.people_share, self.shape)

    def draw_picture(self, rng: np.random.Generator) -> ShotSample:
        story, shot = self._pick(rng)
        return cut_picture(_Rendered(story, rng, self.people_share), shot, self.shape)

    def _pick(self, rng: np.random.Generator, first_share: float | None = None) -> tuple[WorldStory, int]:
        """Pick a story and one of its shots: the first with probability `first_share`; None: all equally likely."""
        wants_pair = self.pair_share > 0 and rng.random() < self.pair_share
        wants_motion = self.moving_share > 0 and rng.random() < self.moving_share
        while True:
            story = sample_story(int(rng.integers(TRAINING_SEEDS)))
            if first_share is None:
                shot = int(rng.integers(len(story.shots)))
            else:
                shot = 0 if rng.random() < first_share else int(rng.integers(1, len(story.shots)))
            has_pair, moves = len(story.shots[shot].cast) > 1, story.shots[shot].action in MOVING_ACTIONS
            if (has_pair or not wants_pair) and (moves or not wants_motion):
                return story, shot

    def draw_script(self, rng: np.random.Generator, shots: int) -> Script:
        story = sample_story(int(rng.integers(TRAINING_SEEDS)), shots=shots)
        return self._script(story, [shot.chunks for shot in story.shots], rng)

    def draw_video(self, rng: np.random.Generator, chunks: Sequence[int]) -> VideoSample:
        story = sample_story(int(rng.integers(TRAINING_SEEDS)), shots=len(chunks))
        return VideoSample(self._script(story, chunks, rng), _Rendered(story, rng, self.people_share), self.shape)

    def _script(self, story: WorldStory, chunks: Sequence[int], rng: np.random.Generator) -> Script:
        captions = [draw_captions(story, index, rng, self.people_share) for index in range(len(chunks))]
        return Script(
            captions[0][0], tuple(ShotSpec(own, length) for (_, own), length in zip(captions, chunks, strict=True))
        )


def shot_of_story(
    story: WorldStory,
    shot: int,
    chunks: int,
    rng: np.random.Generator | None,
    context: str = "dynamic",
    captions: CaptionChoice = "per_shot",
    people_share: float = PEOPLE_SHARE,
    shape: ShotShape = PAPER_SHOT,
) -> ShotSample:
    """Render one shot of a story as a sample of `chunks` chunks.

    Args:
        story: the story.
        shot: number of the shot.
        chunks: length of the sample.
        rng: draws the phrasing of the captions, and whether the context is dropped. None: the grammar's plainest
            captions, and the context is kept.
        context: name of the selector of context frames.
        captions: which captions the context attends to.
        people_share: share of the captions in people's phrasing.
        shape: of the model's shots.
    """
    return cut_shot(_Rendered(story, rng, people_share), shot, chunks, shape, get_selector(context), rng, captions)


def compose_shot_caption(
    story: WorldStory, shot: int, rng: np.random.Generator, people_share: float = PEOPLE_SHARE
) -> str:
    """Compose the caption of a shot in a phrasing drawn by `rng`."""
    whole, own = draw_captions(story, shot, rng, people_share)
    space = " " if rng.random() < 0.5 else ""  # people write both
    return compose_caption(whole + space, shot, own)


def draw_captions(story: WorldStory, shot: int, rng: np.random.Generator, people_share: float) -> tuple[str, str]:
    """Draw a phrasing of the story's caption and of a shot's: one of `CAPTION_VARIANTS` of the grammar or of people."""
    whole, own = (int(variant) for variant in rng.integers(CAPTION_VARIANTS, size=2))
    if whole < people_share * CAPTION_VARIANTS:
        global_text, shots = people_captions(story, variant=CAPTION_VARIANTS + own)
        return global_text, shots[shot]
    return global_caption(story, whole), shot_caption(story, shot, own)


@dataclass(frozen=True)
class _Rendered:
    """Footage of a story. Selectors read the plain captions; those of samples are phrased by `rng`."""

    story: WorldStory
    rng: np.random.Generator | None
    people_share: float

    @property
    def shots(self) -> list[PastShot]:
        return [
            PastShot(index, shot.frames, shot_caption(self.story, index)) for index, shot in enumerate(self.story.shots)
        ]

    def context_frames(self, references: Sequence[FrameRef]) -> Frames:
        by_shot = groupby(references, key=attrgetter("shot"))
        return np.concatenate([render_frames(self.story, shot, [r.frame for r in chosen]) for shot, chosen in by_shot])

    def shot_frames(self, shot: int, frames: int) -> Frames:
        return render_frames(self.story, shot, range(frames))

    def subjects(self, shot: int, frames: int) -> Bool[np.ndarray, "f h w"]:
        return character_masks(self.story, shot, range(frames))

    def caption(self, shot: int) -> str:
        if self.rng is None:
            return compose_caption(global_caption(self.story), shot, shot_caption(self.story, shot))
        return compose_shot_caption(self.story, shot, self.rng, self.people_share)
