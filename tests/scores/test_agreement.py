"""Agreement of known answers."""

import math

import pytest

from shotstream.scores.agreement import agreement, krippendorff_alpha


def test_krippendorff_s_alpha_of_known_answers() -> None:
    assert krippendorff_alpha([["a", "a"], ["b", "b", "b"]]) == 1
    assert math.isnan(krippendorff_alpha([["a", "a"]])), "all answers are one"
    assert math.isnan(krippendorff_alpha([["a"], ["b"]])), "no pair"


def test_krippendorff_s_own_example_of_two_observers_and_ten_units() -> None:
    pairs = zip("0100000001", "1110010000", strict=True)
    assert krippendorff_alpha([list(pair) for pair in pairs]) == pytest.approx(0.095, abs=5e-4)


def test_agreement_is_the_share_of_equal_pairs() -> None:
    assert agreement([["a", "a", "b"], ["c"]]) == pytest.approx(1 / 3)
    assert math.isnan(agreement([["a"]]))
