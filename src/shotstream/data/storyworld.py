"""StoryWorld rendered on the fly as training samples: the same numbers for the same seed and step, nothing stored."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np

from shotstream.core.rng import derive_seed
from shotstream.core.video import Frames
from shotstream.data.samples import ShotSample, cut_picture, cut_shot
from shotstream.model.config import CaptionChoice
from shotstream.story.captions import compose_caption
from shotstream.story.script import Script
from shotstream.story.selectors import FrameRef, PastShot, get_selector
from shotstream.story.shot_spec import ShotSpec
from shotstream.world.captions import global_caption, shot_caption
from shotstream.world.phrasing import people_captions
from shotstream.world.render import render_frames
from shotstream.world.scene import WORLD_VERSION, WorldStory
from shotstream.world.stories import sample_story
from shotstream.world.traits import MOVING_ACTIONS

TRAINING_SEEDS = 2**30
"""Stories with seeds below this are for training; the first held-out story is `TRAINING_SEEDS` itself."""
CAPTION_VARIANTS = 1000
PEOPLE_SHARE = 0.4
"""Of the captions that are learnt from, how many are worded as people do; the others are the grammar's."""


@dataclass(frozen=True)
class StoryWorldShots:
    """A `data.samples.ShotSource` of random training stories.

    `context` names the selector of what is remembered, `captions` says what it attends to (`story.layout.shot_layout`);
    `first_share` is how often a shot is the first of its story, without a past; `people_share` of the captions are
    worded as people do. `pair_share` of the samples are of shots that show two characters, and `moving_share` of shots
    whose action moves the whole body, which are the hardest; the others are of any. A shot is shown as it would go on
    where it is shorter than the sample that is asked for.

    Raises:
        InputError: there is no such selector.
    """

    context: str = "dynamic"
    captions: CaptionChoice = "per_shot"
    first_share: float = 0.15
    people_share: float = PEOPLE_SHARE
    pair_share: float = 0.0
    moving_share: float = 0.0

    def __post_init__(self) -> None:
        get_selector(self.context)

    @property
    def identity(self) -> Mapping[str, object]:
        return {"source": "storyworld", "version": WORLD_VERSION} | asdict(self)

    def draw(self, rng: np.random.Generator, chunks: int) -> ShotSample:
        story, shot = self._pick(rng, self.first_share)
        return shot_of_story(story, shot, chunks, rng, self.context, self.captions, self.people_share)

    def draw_picture(self, rng: np.random.Generator) -> ShotSample:
        story, shot = self._pick(rng)
        return cut_picture(_Rendered(story, rng, self.people_share), shot)

    def _pick(self, rng: np.random.Generator, first_share: float | None = None) -> tuple[WorldStory, int]:
        """A story and one of its shots: the first so often, or where None is said any as often as another."""
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
        captions = [worded(story, index, rng, self.people_share) for index in range(shots)]
        said = tuple(ShotSpec(own, shot.chunks) for (_, own), shot in zip(captions, story.shots, strict=True))
        return Script(captions[0][0], said)


def sample_shot(seed: int, chunks: int, first_share: float = 0.15) -> ShotSample:
    """The shot that `StoryWorldShots` draws with the generator of this seed."""
    return StoryWorldShots(first_share=first_share).draw(
        np.random.default_rng(derive_seed("shot-sample", seed)), chunks
    )


def sample_picture(seed: int) -> ShotSample:
    """The picture that `StoryWorldShots` draws with the generator of this seed."""
    return StoryWorldShots().draw_picture(np.random.default_rng(derive_seed("picture-sample", seed)))


def shot_of_story(
    story: WorldStory,
    shot: int,
    chunks: int,
    rng: np.random.Generator | None,
    context: str = "dynamic",
    captions: CaptionChoice = "per_shot",
    people_share: float = PEOPLE_SHARE,
) -> ShotSample:
    """WorldShot `shot` of a story as a sample, its captions worded by `rng`, its context chosen by that selector.

    Without `rng` nothing is left to chance: the captions are the grammar's plainest, and no past is withheld.
    """
    return cut_shot(_Rendered(story, rng, people_share), shot, chunks, get_selector(context), rng, captions)


def caption_of(story: WorldStory, shot: int, rng: np.random.Generator, people_share: float = PEOPLE_SHARE) -> str:
    """The composed caption of a shot, worded by `rng`."""
    whole, own = worded(story, shot, rng, people_share)
    space = " " if rng.random() < 0.5 else ""  # people write both
    return compose_caption(whole + space, shot, own)


def worded(story: WorldStory, shot: int, rng: np.random.Generator, people_share: float) -> tuple[str, str]:
    """The story's caption and a shot's, in one of `CAPTION_VARIANTS` ways of the grammar or of people."""
    whole, own = (int(variant) for variant in rng.integers(CAPTION_VARIANTS, size=2))
    if whole < people_share * CAPTION_VARIANTS:
        said, shots = people_captions(story, variant=CAPTION_VARIANTS + own)
        return said, shots[shot]
    return global_caption(story, whole), shot_caption(story, shot, own)


@dataclass(frozen=True)
class _Rendered:
    """The footage of a story; a selector reads plain captions, the samples' are worded by `rng`."""

    story: WorldStory
    rng: np.random.Generator | None
    people_share: float

    @property
    def shots(self) -> list[PastShot]:
        return [
            PastShot(index, shot.frames, shot_caption(self.story, index)) for index, shot in enumerate(self.story.shots)
        ]

    def remembered(self, references: Sequence[FrameRef]) -> Frames:
        by_shot = groupby(references, key=attrgetter("shot"))
        return np.concatenate([render_frames(self.story, shot, [r.frame for r in chosen]) for shot, chosen in by_shot])

    def shown(self, shot: int, frames: int) -> Frames:
        return render_frames(self.story, shot, range(frames))

    def caption(self, shot: int) -> str:
        if self.rng is None:
            return compose_caption(global_caption(self.story), shot, shot_caption(self.story, shot))
        return caption_of(self.story, shot, self.rng, self.people_share)
