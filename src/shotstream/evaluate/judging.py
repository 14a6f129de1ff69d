"""How well a model does what scripts ask, read by StoryWorld's judge on stories no model was trained on."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from shotstream.api import Model
from shotstream.core.media import Frames
from shotstream.core.spec import frames_of_chunks
from shotstream.data.storyworld import TRAINING_SEEDS
from shotstream.model.config import SamplerConfig
from shotstream.world.cuts import detect_cuts
from shotstream.world.judge import Judge, score_memory, score_shot
from shotstream.world.scene import Story
from shotstream.world.stories import sample_story
from shotstream.world.traits import HIDDEN_TRAITS
from shotstream.world.wording import Wording, captions_in

Z95 = 1.96


@dataclass(frozen=True)
class Share:
    """Right answers out of all, with the 95% Wilson interval."""

    right: int
    total: int

    @property
    def rate(self) -> float:
        return self.right / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        if not self.total:
            return (0.0, 1.0)
        z2 = Z95**2
        middle = (self.rate + z2 / (2 * self.total)) / (1 + z2 / self.total)
        spread = math.sqrt(self.rate * (1 - self.rate) / self.total + z2 / (4 * self.total**2))
        spread *= Z95 / (1 + z2 / self.total)
        return (max(0.0, middle - spread), min(1.0, middle + spread))


@dataclass(frozen=True)
class JudgedStory:
    """One story as it was made: its ground truth and the frames of its shots."""

    story: Story
    shots: tuple[Frames, ...]


@dataclass(frozen=True)
class Scores:
    """Shares of shots right by trait; `kept` is of hidden traits seen before. `cut_accuracy` is in [0, 1]."""

    visible: Mapping[str, Share]
    kept: Mapping[str, Share]
    cut_accuracy: float


def held_out_stories(count: int, first: int = 0) -> list[Story]:
    """Stories whose seeds no training run draws."""
    return [sample_story(TRAINING_SEEDS + first + index) for index in range(count)]


def make_story(
    model: Model,
    story: Story,
    *,
    seed: int,
    sampler: SamplerConfig | None = None,
    context: str | None = None,
    wording: Wording = "grammar",
) -> JudgedStory:
    """What the model makes of a story's captions in a wording; the other arguments are those of `Model.story`."""
    whole, texts = captions_in(wording, story)
    with model.story(whole, seed=seed, sampler=sampler, context=context) as made:
        shots = [
            np.concatenate(list(made.shot(text, shot.chunks))) for text, shot in zip(texts, story.shots, strict=True)
        ]
    return JudgedStory(story, tuple(shots))


def judge_stories(
    judge: Judge, stories: Iterable[JudgedStory], watch: Callable[[JudgedStory], None] | None = None
) -> Scores:
    """Every shot read and scored; hidden traits count only where an earlier shot of the story has shown them."""
    visible: defaultdict[str, list[bool]] = defaultdict(list)
    kept: defaultdict[str, list[bool]] = defaultdict(list)
    accuracies = []
    for made in stories:
        readings = [judge.read(frames) for frames in made.shots]
        for index, reading in enumerate(readings):
            for trait, right in score_shot(reading, made.story, index).items():
                if trait not in HIDDEN_TRAITS:
                    visible[trait].append(right)
        for shot in score_memory(readings, made.story):
            for trait, right in shot.items():
                kept[trait].append(right)
        accuracies.append(cut_accuracy(made))
        if watch:
            watch(made)
    return Scores(_shares(visible), _shares(kept), sum(accuracies) / max(1, len(accuracies)))


def cut_accuracy(made: JudgedStory) -> float:
    """exp(-(E_matched + E_penalty) / F_total): wanted and found cuts matched in order, deviations in frames.

    A cut that is missed or too many costs the length of the longest shot. Source: ShotStream, transition control.
    """
    frames = np.concatenate(made.shots)
    wanted = np.cumsum([len(shot) for shot in made.shots])[:-1].tolist()
    longest = max(frames_of_chunks(shot.chunks) for shot in made.story.shots)
    return math.exp(-_cut_error(wanted, detect_cuts(frames), longest) / len(frames))


def _cut_error(wanted: list[int], found: list[int], penalty: int) -> float:
    """The least total deviation of an in-order matching, unmatched cuts at `penalty` each (edit distance)."""
    row = [penalty * j for j in range(len(found) + 1)]
    for i, want in enumerate(wanted, start=1):
        following = [penalty * i]
        for j, cut in enumerate(found, start=1):
            following.append(
                min(row[j] + penalty, following[j - 1] + penalty, row[j - 1] + min(abs(want - cut), 2 * penalty))
            )
        row = following
    return float(row[-1])


def _shares(rights: Mapping[str, list[bool]]) -> dict[str, Share]:
    return {trait: Share(sum(values), len(values)) for trait, values in rights.items()}
