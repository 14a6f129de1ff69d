"""The formulas on features whose answer is known, and against VBench's own loops on recorded features."""

import math

import numpy as np
import pytest

from shotstream.metrics.formulas import (
    aesthetic_quality,
    flow_magnitude,
    inter_shot_consistency,
    intra_shot_consistency,
    is_dynamic,
    text_alignment,
)
from shotstream.scores.cuts import CutScore, score_cut_frames
from shotstream.scores.intervals import bootstrap_mean

RECORDED = np.random.default_rng(7).normal(0.3, 1.0, (12, 6))


def vbench_consistency(features: np.ndarray) -> float:
    """VBench's subject and background consistency of one video, frame by frame."""
    total, first, former = 0.0, None, None
    for row in features:
        unit = row / np.sqrt((row**2).sum())
        if first is None or former is None:
            first = unit
        else:
            total += (max(0.0, float(former @ unit)) + max(0.0, float(first @ unit))) / 2
        former = unit
    return total / (len(features) - 1)


def test_frames_that_are_all_alike_are_consistent() -> None:
    assert intra_shot_consistency(np.ones((5, 3))) == pytest.approx(1)
    assert intra_shot_consistency(np.eye(4)) == 0, "nothing in common"
    assert intra_shot_consistency(np.array([[1.0, 0], [-1.0, 0]])) == 0, "negative similarity counts as none"


def test_intra_shot_consistency_is_vbench_s() -> None:
    assert intra_shot_consistency(RECORDED) == pytest.approx(vbench_consistency(RECORDED))


def test_a_jump_costs_the_frame_before_and_the_frames_against_the_first() -> None:
    a, b = [1.0, 0], [0.0, 1]
    assert intra_shot_consistency(np.array([a, a, b, b])) == pytest.approx((1 + 0 + 0.5) / 3)


def test_shots_that_are_alike_score_one_and_shuffled_ones_less() -> None:
    same = [RECORDED, RECORDED[:1], None]
    assert inter_shot_consistency([RECORDED[:1], RECORDED[:1]]) == pytest.approx(1)
    shuffled = [RECORDED[:1], RECORDED[:1, ::-1]]
    assert inter_shot_consistency(shuffled) < 1
    assert inter_shot_consistency(same) == pytest.approx(inter_shot_consistency(same[:2]))
    assert math.isnan(inter_shot_consistency(same[:1])), "one shot has no pair"


def test_only_pairs_with_a_character_in_common_count() -> None:
    shots = [np.array([[1.0, 0]]), np.array([[0.0, 1]]), np.array([[1.0, 0]])]
    assert inter_shot_consistency(shots) == pytest.approx(1 / 3)
    assert inter_shot_consistency(shots, [("Mara",), ("Ilo",), ("Mara", "Ilo")]) == pytest.approx(0.5)
    assert math.isnan(inter_shot_consistency(shots, [("Mara",), ("Ilo",), ()]))


def test_captions_align_with_their_own_shots() -> None:
    rows = np.eye(3)
    assert text_alignment(rows, 2 * rows) == pytest.approx(1)
    assert text_alignment(rows, rows[[1, 2, 0]]) == 0


def test_aesthetic_ratings_are_scaled_to_one() -> None:
    assert aesthetic_quality(np.array([5.0, 6.0])) == pytest.approx(0.55)


def test_flow_is_measured_where_it_is_fastest() -> None:
    flow = np.zeros((10, 10, 2))
    flow[0, :5] = (3, 4)
    assert flow_magnitude(flow) == pytest.approx(5)


@pytest.mark.parametrize(("moving", "dynamic"), [(3, False), (4, True)])
def test_four_of_sixteen_frames_must_move(moving: int, dynamic: bool) -> None:
    magnitudes = np.array([6.1] * moving + [0.0] * (15 - moving))
    assert is_dynamic(magnitudes, 256, 455) is dynamic
    assert not is_dynamic(magnitudes, 512, 910), "the threshold grows with the picture"


def vbench_moves(flows: np.ndarray) -> bool:
    """VBench's dynamic degree of one video from its optical flow at 8 frames a second, step by step."""
    _, height, width, _ = flows.shape
    threshold, wanted = 6 * min(height, width) / 256, round(4 * (len(flows) + 1) / 16)
    fast = 0
    for flow in flows:
        lengths = sorted((math.hypot(x, y) for row in flow for x, y in row), reverse=True)
        top = lengths[: int(height * width * 0.05)]
        fast += sum(top) / len(top) > threshold
        if fast >= wanted:
            return True
    return False


@pytest.mark.parametrize("steps", [5, 9, 15, 20])
def test_dynamic_degree_is_vbench_s(steps: int) -> None:
    answers = set()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        speed = rng.exponential(0.03 * (seed + 1), (steps, 1, 1, 1))
        flows = rng.normal(0, speed, (steps, 16, 20, 2))
        magnitudes = np.array([flow_magnitude(flow) for flow in flows])
        assert is_dynamic(magnitudes, 16, 20) == vbench_moves(flows)
        answers.add(vbench_moves(flows))
    assert answers == {True, False}, "the flows tell the two apart"


@pytest.mark.parametrize(
    ("wanted", "detected", "error", "matched", "offset"),
    [
        ([81, 162], [81, 162], 0, 2, 0.0),
        ([81, 162], [84, 162], 3, 1, 0.0),
        ([81, 162], [82, 161], 2, 2, 1.0),
        ([81, 162], [81], 81, 1, 0.0),
        ([81, 162], [81, 120, 162], 81, 2, 0.0),
        ([81, 162], [], 162, 0, math.nan),
        ([81], [400], 162, 0, math.nan),
        ([], [], 0, 0, math.nan),
    ],
)
def test_a_cut_costs_exactly_what_the_formula_says(
    wanted: list[int], detected: list[int], error: float, matched: int, offset: float
) -> None:
    found = score_cut_frames(wanted, detected, 243, penalty_frames=81)
    assert found.accuracy == pytest.approx(math.exp(-error / 243))
    assert (found.wanted, found.detected, found.matched) == (len(wanted), len(detected), matched)
    assert found.offset_frames == pytest.approx(offset, nan_ok=True)


def test_the_penalty_and_the_tolerance_are_parameters() -> None:
    assert score_cut_frames([50], [], 100, penalty_frames=10).accuracy == pytest.approx(math.exp(-0.1))
    assert score_cut_frames([50], [55], 100, 10, tolerance_frames=5).matched == 1
    assert CutScore(1.0, wanted=4, detected=2, matched=2, offset_frames=0.0).f1 == pytest.approx(2 / 3)
    assert score_cut_frames([], [], 100, 10).f1 == 1


def test_two_detected_cuts_do_not_match_one_wanted() -> None:
    assert score_cut_frames([50], [49, 51], 100, 10).matched == 1


def test_bootstrap_intervals_hold_the_mean() -> None:
    values = np.random.default_rng(3).normal(0.5, 0.1, 100)
    found = bootstrap_mean(values.tolist())
    assert found.low < found.value < found.high
    expected = 1.96 * values.std() / 10
    assert found.high - found.value == pytest.approx(expected, rel=0.15)
    assert math.isnan(bootstrap_mean([0.5]).low)
