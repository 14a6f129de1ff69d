"""Transition control: whether a story cuts where it should, and nowhere else."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from shotstream.core.video import Frames
from shotstream.scores.intervals import Estimate, Share, mean_estimate
from shotstream.world.cuts import detect_cuts

WITHIN_FRAMES = 1
"""So near a detected cut is the wanted one, where cuts are counted."""


@dataclass(frozen=True)
class Cuts:
    """Cuts of some stories: each one's accuracy, the wanted cuts that are found, and the found ones that are wanted."""

    accuracies: tuple[float, ...] = ()
    found: Share = field(default_factory=lambda: Share(0, 0))
    wanted: Share = field(default_factory=lambda: Share(0, 0))

    def __add__(self, other: "Cuts") -> "Cuts":
        return Cuts(self.accuracies + other.accuracies, self.found + other.found, self.wanted + other.wanted)

    @property
    def accuracy(self) -> Estimate:
        return mean_estimate(self.accuracies)


def score_cuts(shots: Sequence[Frames]) -> Cuts:
    """The cuts of one story, from the frames of its shots.

    Its accuracy is exp(-(E_matched + E_penalty) / F_total): wanted and found cuts matched in order, deviations in
    frames. A cut that is missed or too many costs the length of the longest shot. Source: ShotStream, transition
    control.
    """
    lengths = [len(shot) for shot in shots]
    wanted, found = np.cumsum(lengths)[:-1].tolist(), detect_cuts(np.concatenate(shots))
    accuracy = math.exp(-_cut_error(wanted, found, max(lengths)) / sum(lengths))
    return Cuts((accuracy,), _near(wanted, found), _near(found, wanted))


def _near(cuts: list[int], others: list[int]) -> Share:
    return Share.of([any(abs(cut - other) <= WITHIN_FRAMES for other in others) for cut in cuts])


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
