"""Scores: shares with their intervals, cuts matched to cuts, and true renders that score as they should."""

import math
from dataclasses import replace

import numpy as np
import pytest

from shotstream.cli import main
from shotstream.data.storyworld import TRAINING_SEEDS
from shotstream.evaluate.judging import (
    JudgedStory,
    Share,
    _cut_error,
    cut_accuracy,
    held_out_stories,
    judge_stories,
    make_story,
)
from shotstream.world.judge import Judge
from shotstream.world.render import render_story


def test_the_interval_holds_the_rate_and_shrinks() -> None:
    few, many = Share(9, 10), Share(900, 1000)
    for share in (few, many, Share(10, 10), Share(0, 10)):
        low, high = share.interval
        assert 0 <= low <= share.rate <= high <= 1
    assert np.diff(few.interval) > 3 * np.diff(many.interval)
    assert few.interval == pytest.approx((0.596, 0.982), abs=0.001)  # Wilson's, from his formula by hand
    assert math.isnan(Share(0, 0).rate)


@pytest.mark.parametrize(
    ("wanted", "found", "error"),
    [
        ([10, 20], [10, 20], 0),
        ([10, 20], [11, 18], 3),
        ([10, 20], [20], 50),
        ([10], [10, 30], 50),
        ([], [], 0),
        ([10], [], 50),
        ([10, 20, 30], [12, 30], 52),
    ],
)
def test_cuts_are_matched_in_order_and_the_rest_is_punished(wanted: list[int], found: list[int], error: float) -> None:
    assert _cut_error(wanted, found, penalty=50) == error


def test_held_out_stories_are_not_for_training() -> None:
    stories = held_out_stories(3)
    assert [story.seed for story in stories] == [TRAINING_SEEDS, TRAINING_SEEDS + 1, TRAINING_SEEDS + 2]


def test_a_story_without_its_cuts_scores_lower() -> None:
    made = JudgedStory(story := held_out_stories(1, first=3)[0], tuple(render_story(story)))
    still = JudgedStory(story, tuple(np.repeat(shot[:1] * 0 + 90, len(shot), 0) for shot in made.shots))
    assert cut_accuracy(made) > 0.9
    assert cut_accuracy(still) < 0.8


def test_true_renders_are_read_right_and_swapped_ones_wrong() -> None:
    stories = [replace(story, shots=story.shots[:2]) for story in held_out_stories(4)]
    true = [JudgedStory(story, tuple(render_story(story))) for story in stories]
    swapped = [JudgedStory(a, b.shots) for a, b in zip(stories, [*true[1:], true[0]], strict=True)]
    judge, seen = Judge.load(), []
    right, wrong = judge_stories(judge, true), judge_stories(judge, swapped, seen.append)
    assert seen == swapped
    assert right.visible["place"].rate > 0.9
    assert wrong.visible["place"].rate < 0.7
    assert set(right.visible) == {"species", "colour", "place", "time", "framing", "camera", "action"}
    assert set(right.kept) <= {"accessory", "pattern", "layout"}


def test_a_story_is_made_with_the_context_that_is_asked_for() -> None:
    asked: list[dict[str, object]] = []

    class Told:
        def __enter__(self) -> "Told":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def shot(self, _: str, chunks: int) -> list[np.ndarray]:
            return [np.zeros((12 * chunks - 3, 80, 128, 3), np.uint8)]

    class Asked:
        def story(self, _: str, **options: object) -> Told:
            asked.append(options)
            return Told()

    story = held_out_stories(1)[0]
    make_story(Asked(), story, seed=3, context="relevant")  # type: ignore[arg-type]
    assert asked == [{"seed": 3, "sampler": None, "context": "relevant"}]


def test_the_command_refuses_a_context_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--stories", "1", "--context", "relevent"]) == 2
    assert "did you mean 'relevant'?" in capsys.readouterr().err
