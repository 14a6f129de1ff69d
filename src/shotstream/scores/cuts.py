"""Score cuts: shot cut accuracy (ShotStream), and precision, recall, F1 and frame offset (TRECVID)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from shotstream.core.video import Frames
from shotstream.scores.intervals import Estimate, Share, mean_estimate
from shotstream.world.cuts import detect_cuts

STORYWORLD_TOLERANCE = 1
CUT_TOLERANCE_FRAMES = 2
"""Frames that a detected cut may be away from the wanted one to count as found; TransNet V2 is evaluated with 2."""


@dataclass(frozen=True)
class CutScore:
    """The cuts of one video: shot cut accuracy, and counts of wanted, detected and matched cuts.

    `offset_frames` is the mean distance of matched cuts; NaN without one.
    """

    accuracy: float
    wanted: int
    detected: int
    matched: int
    offset_frames: float

    @property
    def f1(self) -> float:
        """2 matched / (wanted + detected); 1 where there is nothing to find and nothing was found."""
        total = self.wanted + self.detected
        return 2 * self.matched / total if total else 1.0


def score_cut_frames(
    wanted: Sequence[int],
    detected: Sequence[int],
    total_frames: int,
    penalty_frames: float,
    tolerance_frames: int = CUT_TOLERANCE_FRAMES,
) -> CutScore:
    """Score detected cuts against wanted ones; a cut is the first frame of a new shot.

    Accuracy is exp(-(E_matched + E_penalty) / F_total) with the one-to-one matching in order that makes it greatest:
    E_matched adds the distances of matched cuts, E_penalty is `penalty_frames` for each missed and each extra cut. The
    paper does not state its penalty; the length of a shot is what this project takes.
    """
    error = _least_cut_error(wanted, detected, penalty_frames)
    offsets = _match_nearest(wanted, detected, tolerance_frames)
    offset = float(np.mean(offsets)) if offsets else math.nan
    return CutScore(math.exp(-error / total_frames), len(wanted), len(detected), len(offsets), offset)


def _least_cut_error(wanted: Sequence[int], detected: Sequence[int], penalty: float) -> float:
    """Return the least total of distances and penalties over all matchings in order (edit distance)."""
    row = [penalty * j for j in range(len(detected) + 1)]
    for i, want in enumerate(wanted, start=1):
        following = [penalty * i]
        for j, cut in enumerate(detected, start=1):
            following.append(min(row[j] + penalty, following[j - 1] + penalty, row[j - 1] + abs(want - cut)))
        row = following
    return float(row[-1])


def _match_nearest(wanted: Sequence[int], detected: Sequence[int], tolerance: int) -> list[int]:
    """Return the distances of cuts matched one to one, nearest pairs first, none beyond the tolerance (TRECVID)."""
    pairs = sorted((abs(want - cut), want, cut) for want in wanted for cut in detected if abs(want - cut) <= tolerance)
    used: set[tuple[str, int]] = set()
    distances = []
    for distance, want, cut in pairs:
        if used.isdisjoint({("wanted", want), ("detected", cut)}):
            used |= {("wanted", want), ("detected", cut)}
            distances.append(distance)
    return distances


@dataclass(frozen=True)
class Cuts:
    """Cuts of some StoryWorld stories: each one's accuracy, and the shares of wanted and detected cuts that match."""

    accuracies: tuple[float, ...] = ()
    found: Share = field(default_factory=lambda: Share(0, 0))
    wanted: Share = field(default_factory=lambda: Share(0, 0))

    def __add__(self, other: "Cuts") -> "Cuts":
        return Cuts(self.accuracies + other.accuracies, self.found + other.found, self.wanted + other.wanted)

    @property
    def accuracy(self) -> Estimate:
        return mean_estimate(self.accuracies)


def score_cuts(shots: Sequence[Frames]) -> Cuts:
    """Score the cuts of one StoryWorld story, from its shots' frames; the penalty is the longest shot's length."""
    lengths = [len(shot) for shot in shots]
    wanted, detected = np.cumsum(lengths)[:-1].tolist(), detect_cuts(np.concatenate(shots))
    score = score_cut_frames(wanted, detected, sum(lengths), max(lengths), STORYWORLD_TOLERANCE)
    return Cuts((score.accuracy,), Share(score.matched, score.wanted), Share(score.matched, score.detected))
