"""Intervals: by hand where there is a formula, by simulation where there is a promise."""

import math
from dataclasses import replace

import numpy as np
import pytest

from shotstream.scores.intervals import (
    Estimate,
    Share,
    in_points,
    mean_estimate,
    paired_difference,
    ratio_estimate,
)


def test_the_interval_holds_the_rate_and_shrinks() -> None:
    few, many = Share(9, 10), Share(900, 1000)
    for share in (few, many, Share(10, 10), Share(0, 10)):
        low, high = share.interval
        assert 0 <= low <= share.rate <= high <= 1
    assert np.diff(few.interval) > 3 * np.diff(many.interval)
    assert few.interval == pytest.approx((0.596, 0.982), abs=0.001)  # Wilson's, from his formula by hand
    assert math.isnan(Share(0, 0).rate)
    assert Share(0, 0).interval == (0.0, 1.0)


def test_a_difference_is_newcombes() -> None:
    difference = Share(56, 70).estimate.minus(Share(48, 80).estimate)  # his own example
    assert (difference.value, difference.low, difference.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    assert in_points(difference) == "+20.0 (+5.2 to +33.4)"
    assert in_points(difference, decimals=0) == "+20 (+5 to +33)"
    assert in_points(replace(difference, low=math.nan, high=math.nan)) == "+20.0 (no interval)", "of one story"
    assert str(Share(56, 70).estimate) == "80.0% (69.2 to 87.7)"


def test_a_mean_is_as_sure_as_a_share_of_as_many() -> None:
    assert mean_estimate([1.0, 0.0, 1.0, 1.0]) == Share(3, 4).estimate
    assert mean_estimate([0.75] * 4) == Share(3, 4).estimate
    assert mean_estimate([]).cases == 0


def test_a_ratio_is_of_all_and_its_interval_holds_it_as_often_as_promised() -> None:
    assert ratio_estimate([(1.0, 2.0), (2.0, 4.0)]) == Estimate(0.5, 0.5, 0.5, 2)
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        true = rng.uniform(0.1, 0.6, 40)
        found = ratio_estimate(list(zip((0.7 * true + rng.normal(0, 0.05, 40)).tolist(), true.tolist(), strict=True)))
        held += found.low <= 0.7 <= found.high
    assert 0.90 < held / 400 < 0.98


def told(rng: np.random.Generator, hard: np.ndarray, chance: float) -> list[Share]:
    """Four answers a story, right with a chance that is less for a hard story."""
    return [Share(int(right), 4) for right in rng.binomial(4, np.clip(chance - hard, 0, 1))]


def test_a_paired_difference_holds_the_true_one_as_often_as_promised_and_is_narrower() -> None:
    rng, held, narrower = np.random.default_rng(0), 0, []
    for _ in range(400):
        hard = rng.choice([0.0, 0.6], 50)
        one, other = told(rng, hard, 0.9), told(rng, hard, 0.8)
        paired = paired_difference(one, other)
        assert paired is not None
        held += paired.low <= 0.1 <= paired.high
        apart = sum(one, Share(0, 0)).estimate.minus(sum(other, Share(0, 0)).estimate)
        assert paired.value == pytest.approx(apart.value)
        narrower.append((paired.high - paired.low) / (apart.high - apart.low))
    assert 0.92 <= held / 400 <= 0.98
    assert np.median(narrower) < 1


def test_a_paired_difference_needs_stories_that_differ() -> None:
    right = [Share(4, 4)] * 20
    assert paired_difference(right, right) is None
    assert paired_difference(right[:5], [Share(2, 4)] * 5) is None
    assert paired_difference([Share(0, 0)] * 20, right) is None
