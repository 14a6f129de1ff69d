"""Select the past frames that become context of a new shot: selectors behind one interface.

Source: ShotStream section 3 (dynamic sampling) and its ablation (first, first and last). `story.relevance` chooses by
what the next caption needs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from shotstream.core.config import nearest
from shotstream.core.errors import InputError
from shotstream.core.spec import TEMPORAL_STRIDE, frames_of_latents
from shotstream.story.shot_spec import ShotSpec


@dataclass(frozen=True, order=True)
class FrameRef:
    """One frame of the past: which shot of the story, which frame of the shot."""

    shot: int
    frame: int


@dataclass(frozen=True)
class Passage:
    """Frames `first` .. `stop` of a shot, all made under one caption."""

    shot: int
    first: int
    stop: int
    caption: str


@dataclass(frozen=True)
class PastShot:
    """A finished shot as a selector sees it.

    `turns` are pairs (frame, caption), in order: the caption holds from that frame on; `caption` holds before them.
    """

    index: int
    length_frames: int
    caption: str
    turns: tuple[tuple[int, str], ...] = ()

    @classmethod
    def of(cls, index: int, length_frames: int, spec: ShotSpec) -> "PastShot":
        """Return shot `index` with the captions of its `spec`, whose length is what was made.

        So the frame at which a chunk begins follows from the shot alone, whatever the model's chunks.
        """
        latents = -(-length_frames // TEMPORAL_STRIDE)
        turns = tuple((frames_of_latents(latents * steer.at // spec.chunks), steer.text) for steer in spec.steers)
        return cls(index, length_frames, spec.text, turns)

    @property
    def passages(self) -> list[Passage]:
        """Return the shot's frames by the caption that they were made under, oldest first."""
        starts = [(0, self.caption), *self.turns]
        stops = [first for first, _ in self.turns] + [self.length_frames]
        return [
            Passage(self.index, first, stop, caption)
            for (first, caption), stop in zip(starts, stops, strict=True)
            if first < stop
        ]

    def caption_at(self, frame: int) -> str:
        """Return the caption that a frame was made under."""
        return next(passage.caption for passage in self.passages if passage.first <= frame < passage.stop)


@runtime_checkable
class ContextSelector(Protocol):
    """Chooses the context of a new shot."""

    def __call__(self, shots: Sequence[PastShot], caption: str, budget: int) -> list[FrameRef]:
        """`budget` frames of `shots` (oldest first) for a new shot with this caption; none where there is no past.

        The selector `none` chooses none at all. The same frame may be chosen more than once. Frames come in the order
        of the story.
        """
        ...


def share_budget(shots: int, budget: int) -> list[int]:
    """Return the frames of each of `shots` shots: floor(budget / shots), one more for the last budget mod shots."""
    if not shots:
        return []
    each, over = divmod(budget, shots)
    return [each + (index >= shots - over) for index in range(shots)]


def select_dynamic(shot_lengths: Sequence[int], budget: int) -> list[FrameRef]:
    """Select frames as published: the budget is shared out over all shots, and spread evenly over each.

    Args:
        shot_lengths: frames of every shot so far, oldest first.
        budget: how many frames to choose.

    Returns references whose `shot` counts `shot_lengths` from 0. Where there are more shots than frames, the oldest
    shots get none.
    """
    return dynamic([PastShot(index, length, "") for index, length in enumerate(shot_lengths)], "", budget)


def dynamic(shots: Sequence[PastShot], caption: str, budget: int) -> list[FrameRef]:  # noqa: ARG001
    """Selector: every shot, each evenly sampled (see `select_dynamic`)."""
    return _choose(shots, budget, spread)


def first(shots: Sequence[PastShot], caption: str, budget: int) -> list[FrameRef]:  # noqa: ARG001
    """Selector: every shot's first frame, as often as the shot has a share in the budget."""
    return _choose(shots, budget, lambda _, count: [0] * count)


def first_last(shots: Sequence[PastShot], caption: str, budget: int) -> list[FrameRef]:  # noqa: ARG001
    """Selector: every shot's first and last frame, half of its share each (the odd one goes to the first)."""
    return _choose(shots, budget, lambda length, count: [0] * (count - count // 2) + [length - 1] * (count // 2))


def none(shots: Sequence[PastShot], caption: str, budget: int) -> list[FrameRef]:  # noqa: ARG001
    """Selector: no frame at all, so that every shot is made as if it were a story's first."""
    return []


SELECTORS: Mapping[str, ContextSelector] = MappingProxyType(
    {"dynamic": dynamic, "first": first, "first_last": first_last, "none": none}
)
"""Selectors that need nothing but the shots: a model may be trained with them."""


def get_selector(name: str) -> ContextSelector:
    """Return the selector of that name.

    Raises:
        InputError: there is none.
    """
    if name not in SELECTORS:
        raise InputError(
            f"expected a context selector of {', '.join(SELECTORS)}, got '{name}'{nearest(name, SELECTORS)}"
        )
    return SELECTORS[name]


def _choose(shots: Sequence[PastShot], budget: int, frames_of: Callable[[int, int], Sequence[int]]) -> list[FrameRef]:
    shares = zip(shots, share_budget(len(shots), budget), strict=True)
    return [FrameRef(shot.index, frame) for shot, count in shares for frame in frames_of(shot.length_frames, count)]


def spread(length: int, count: int) -> list[int]:
    """Return `count` frames from first to last, evenly, rounded half to even; one frame is the first."""
    if count < 2:
        return [0] * count
    return [round(Fraction(step * (length - 1), count - 1)) for step in range(count)]


def key_frames(length: int, budget: int) -> list[int]:
    """Return every frame of a shot that a share of at most `budget` frames can choose, in order.

    These are the frames of which a story keeps the exact pixels.
    """
    return sorted({frame for count in range(1, budget + 1) for frame in spread(length, count)} | {length - 1})


def kept_frames(shot: PastShot, budget: int) -> list[int]:
    """Return the key frames of a shot, and of each of its passages alone where it was steered."""
    own = {p.first + frame for p in shot.passages for frame in key_frames(p.stop - p.first, budget)}
    return sorted(own | set(key_frames(shot.length_frames, budget)))
