"""Estimate means, shares and ratios with 95% intervals, and differences of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z95 = 1.96
FEW_STORIES = 10
RESAMPLES = 10_000
"""With fewer, their own spread says little of that of all stories."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval and its number of cases; NaN without a case."""

    value: float
    low: float
    high: float
    cases: int

    def __str__(self) -> str:
        """Format in percent: 84.4% (75.6 to 90.5)."""
        return f"{self.value:.1%} ({100 * self.low:.1f} to {100 * self.high:.1f})"

    def minus(self, other: "Estimate") -> "Estimate":
        """Return the difference of two independent estimates.

        Source: Newcombe 1998, method 10 (Zou and Donner 2008 for estimates other than shares).
        """
        difference = self.value - other.value
        below = math.hypot(self.value - self.low, other.high - other.value)
        above = math.hypot(self.high - self.value, other.value - other.low)
        return Estimate(difference, difference - below, difference + above, min(self.cases, other.cases))


@dataclass(frozen=True)
class Share:
    """Right answers out of all, with the 95% Wilson interval."""

    right: int
    total: int

    @classmethod
    def of(cls, answers: Sequence[bool]) -> "Share":
        """Return the share of answers that are true."""
        return cls(sum(answers), len(answers))

    def __add__(self, other: "Share") -> "Share":
        return Share(self.right + other.right, self.total + other.total)

    @property
    def rate(self) -> float:
        return self.right / self.total if self.total else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.rate, self.total)

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.rate, *self.interval, self.total)


def wilson(share: float, cases: int) -> tuple[float, float]:
    """Return the 95% Wilson interval of a share of `cases` cases; (0, 1) without a case."""
    if not cases:
        return (0.0, 1.0)
    z2 = Z95**2
    middle = (share + z2 / (2 * cases)) / (1 + z2 / cases)
    spread = math.sqrt(share * (1 - share) / cases + z2 / (4 * cases**2)) * Z95 / (1 + z2 / cases)
    return (max(0.0, middle - spread), min(1.0, middle + spread))


def mean_estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of values in [0, 1] with the Wilson interval, which is the widest for that mean."""
    if not values:
        return Estimate(math.nan, 0.0, 1.0, 0)
    mean = float(np.mean(values))
    return Estimate(mean, *wilson(mean, len(values)), len(values))


def bootstrap_mean(values: Sequence[float]) -> Estimate:
    """Return the mean with its 95% percentile bootstrap interval; for one value the interval is NaN."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        return Estimate(float(array.mean()), math.nan, math.nan, len(array))
    chosen = np.random.default_rng(0).integers(len(array), size=(RESAMPLES, len(array)))
    low, high = np.percentile(array[chosen].mean(axis=1), (2.5, 97.5))
    return Estimate(float(array.mean()), float(low), float(high), len(array))


def bootstrap_share(shares: Sequence[Share]) -> Estimate:
    """Return the share of all cases together with the 95% percentile bootstrap interval over their groups."""
    counts = np.array([(share.right, share.total) for share in shares], dtype=np.float64)
    chosen = counts[np.random.default_rng(0).integers(len(counts), size=(RESAMPLES, len(counts)))].sum(axis=1)
    low, high = np.percentile(chosen[:, 0] / np.maximum(chosen[:, 1], 1), (2.5, 97.5))
    right, total = counts.sum(axis=0)
    return Estimate(right / total, float(low), float(high), int(total))


def ratio_estimate(pairs: Sequence[tuple[float, float]]) -> Estimate:
    """Return the sum of the first values over the sum of the second, with its normal 95% interval.

    Two pairs or more are needed. Source: Cochran, Sampling Techniques, section 2.11.
    """
    assert len(pairs) > 1, "one pair says nothing of the spread"
    made, true = np.array(pairs, dtype=np.float64).T
    ratio = float(made.sum() / true.sum())
    error = math.sqrt(float(np.square(made - ratio * true).sum()) * len(pairs) / (len(pairs) - 1))
    spread = Z95 * error / abs(float(true.sum()))
    return Estimate(ratio, ratio - spread, ratio + spread, len(pairs))


def paired_difference(one: Sequence[Share], other: Sequence[Share]) -> Estimate | None:
    """Return the share of `one` minus that of `other`, paired by story (same stories in the same order).

    A story that is hard for one is hard for the other, so that the interval is mostly narrower than that of independent
    figures. None where the stories are too few, or too alike, to tell their spread. Source: Cochran, Sampling
    Techniques, section 2.11, for two ratios over the same units.
    """
    first, second = (np.array([(share.right, share.total) for share in shares], dtype=float) for shares in (one, other))
    assert first.shape == second.shape, "the same stories"
    totals = [shares[:, 1].sum() for shares in (first, second)]
    if len(first) < FEW_STORIES or not min(totals):
        return None
    rates = [float(shares[:, 0].sum() / total) for shares, total in zip((first, second), totals, strict=True)]
    errors = [(s[:, 0] - rate * s[:, 1]) / t for s, rate, t in zip((first, second), rates, totals, strict=True)]
    variance = float(np.square(errors[0] - errors[1]).sum()) * len(first) / (len(first) - 1)
    if variance == 0:
        return None
    difference, spread = rates[0] - rates[1], Z95 * math.sqrt(variance)
    return Estimate(difference, difference - spread, difference + spread, int(min(totals)))


def in_points(difference: Estimate, decimals: int = 1) -> str:
    """Format a difference of shares in percentage points: +2.1 (-3.0 to +7.2), or +2.1 (no interval)."""
    parts = (difference.value, difference.low, difference.high)
    value, low, high = (f"{100 * number:+.{decimals}f}" for number in parts)
    return f"{value} (no interval)" if math.isnan(difference.low) else f"{value} ({low} to {high})"
