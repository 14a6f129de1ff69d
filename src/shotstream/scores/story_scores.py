"""Score how well a model follows StoryWorld scripts, with the trait reader, on stories no model was trained on."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from shotstream.api import Model
from shotstream.core.spec import ShotShape
from shotstream.core.video import Frames
from shotstream.data.storyworld import TRAINING_SEEDS
from shotstream.model.config import SamplerConfig
from shotstream.scores.cuts import Cuts, score_cuts
from shotstream.scores.intervals import Share
from shotstream.scores.walks import Walk, measure_walk
from shotstream.story.script import Script
from shotstream.story.shot_spec import ShotSpec
from shotstream.world.phrasing import Phrasing, captions_in
from shotstream.world.scene import WorldStory
from shotstream.world.stories import sample_story
from shotstream.world.trait_reader import TraitReader, read_memory, score_memory, score_shot
from shotstream.world.traits import HIDDEN_TRAITS

KEPT_PREFIX = "kept: "
_Answers = defaultdict[str, list[bool]]


@dataclass(frozen=True)
class ScoredStory:
    """A generated story: its ground truth and the frames of its shots."""

    story: WorldStory
    shots: tuple[Frames, ...]


@dataclass(frozen=True)
class Scores:
    """The scores of a model's stories.

    `visible` and `kept` are shares of shots right by trait; `kept` is of hidden traits seen before. `halves` has both
    again, the latter as `kept: trait`, for the first and the second half of the shots of every story (the middle one
    of an odd number belongs to the second). `by_shot` has the share of visible traits that are right in the first shot
    of every story, in the second of every one that has it, and so on; `by_story` the shares of every story by name;
    `by_distance` the shares of hidden traits that are kept, by the number of shots since they were last seen.
    """

    visible: Mapping[str, Share]
    kept: Mapping[str, Share]
    halves: Mapping[str, tuple[Share, Share]]
    by_shot: tuple[tuple[float, ...], ...]
    cuts: Cuts
    walks: tuple[Walk, ...]
    by_story: tuple[Mapping[str, Share], ...] = ()
    by_distance: Mapping[int, Share] = field(default_factory=dict)


def held_out_stories(count: int, first: int = 0, shots: int | None = None) -> list[WorldStory]:
    """Return stories whose seeds no training run draws; `shots` None draws 2 to 5 for each."""
    return [sample_story(TRAINING_SEEDS + first + index, shots=shots) for index in range(count)]


def write_script(story: WorldStory, shape: ShotShape, phrasing: Phrasing = "grammar") -> Script:
    """Return the script of a story: its captions in a phrasing, and its shots as long as a model's shots can be."""
    whole, texts = captions_in(phrasing, story)
    lengths = [min(shape.chunks_of_frames(shot.frames), shape.max_chunks) for shot in story.shots]
    return Script(whole, tuple(ShotSpec(text, chunks) for text, chunks in zip(texts, lengths, strict=True)))


def make_story(
    model: Model,
    story: WorldStory,
    *,
    seed: int,
    sampler: SamplerConfig | None = None,
    context: str | None = None,
    phrasing: Phrasing = "grammar",
) -> ScoredStory:
    """Generate a story from its captions in a phrasing; the other arguments are those of `Model.story`."""
    script = write_script(story, model.config.shot, phrasing)
    with model.story(script.global_caption, seed=seed, sampler=sampler, context=context, script=script) as made:
        shots = [np.concatenate(list(made.shot(shot.text, shot.chunks))) for shot in script.shots]
    return ScoredStory(story, tuple(shots))


def score_stories(
    reader: TraitReader, stories: Iterable[ScoredStory], watch: Callable[[ScoredStory], None] | None = None
) -> Scores:
    """Read and score every shot; hidden traits count only where an earlier shot of the story has shown them."""
    tally = _Tally()
    for made in stories:
        tally.add(reader, made)
        if watch:
            watch(made)
    return tally.scores()


@dataclass
class _Tally:
    """Collects answers: by name for the first and the second half of stories, and shares right by shot."""

    halves: tuple[_Answers, _Answers] = field(default_factory=lambda: (_Answers(list), _Answers(list)))
    by_shot: list[list[float]] = field(default_factory=list)
    by_story: list[Mapping[str, Share]] = field(default_factory=list)
    by_distance: defaultdict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))
    cuts: Cuts = field(default_factory=Cuts)
    walks: list[Walk] = field(default_factory=list)

    def add(self, reader: TraitReader, made: ScoredStory) -> None:
        readings, told = [reader.read(frames) for frames in made.shots], _Answers(list)
        for index, kept in enumerate(score_memory(readings, made.story)):
            scores = score_shot(readings[index], made.story, index)
            visible = {trait: right for trait, right in scores.items() if trait not in HIDDEN_TRAITS}
            later = index > 0 and 2 * index >= len(readings) - 1
            for name, right in (*visible.items(), *((KEPT_PREFIX + trait, right) for trait, right in kept.items())):
                self.halves[later][name].append(right)
                told[name].append(right)
            if index == len(self.by_shot):
                self.by_shot.append([])
            self.by_shot[index].append(sum(visible.values()) / len(visible))
            if walk := measure_walk(reader, readings[index], made.shots[index], made.story, index):
                self.walks.append(walk)
        for answer in read_memory(readings, made.story):
            self.by_distance[answer.distance].append(answer.right)
        self.by_story.append({name: Share.of(answers) for name, answers in told.items()})
        self.cuts += score_cuts(made.shots)

    def scores(self) -> Scores:
        first, second = self.halves
        halves = {name: (Share.of(first[name]), Share.of(second[name])) for name in dict.fromkeys([*first, *second])}
        whole = {name: one + other for name, (one, other) in halves.items()}
        return Scores(
            {name: share for name, share in whole.items() if not name.startswith(KEPT_PREFIX)},
            {name.removeprefix(KEPT_PREFIX): share for name, share in whole.items() if name.startswith(KEPT_PREFIX)},
            halves,
            tuple(map(tuple, self.by_shot)),
            self.cuts,
            tuple(self.walks),
            tuple(self.by_story),
            {distance: Share.of(answers) for distance, answers in sorted(self.by_distance.items())},
        )
