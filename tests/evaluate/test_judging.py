"""Scores: shares with their intervals, cuts matched to cuts, and true renders that score as they should."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import shotstream
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
from shotstream.train.presets import TINY
from shotstream.world.captions import story_captions
from shotstream.world.judge import Judge
from shotstream.world.render import render_story
from shotstream.world.wording import captions_in, people_captions


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


class Told:
    """A story of black frames, which keeps what it was told."""

    def __init__(self, whole: str) -> None:
        self.told = [whole]

    def __enter__(self) -> "Told":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def shot(self, text: str, chunks: int) -> list[np.ndarray]:
        self.told.append(text)
        return [np.zeros((12 * chunks - 3, 80, 128, 3), np.uint8)]


class Asked:
    """A model that keeps what was asked of it."""

    def __init__(self) -> None:
        self.stories: list[Told] = []
        self.options: list[dict[str, object]] = []

    def story(self, whole: str, **options: object) -> Told:
        self.options.append(options)
        self.stories.append(Told(whole))
        return self.stories[-1]


def test_a_story_is_made_with_the_context_that_is_asked_for() -> None:
    make_story(asked := Asked(), held_out_stories(1)[0], seed=3, context="relevant")  # type: ignore[arg-type]
    assert asked.options == [{"seed": 3, "sampler": None, "context": "relevant"}]


def test_a_story_is_told_in_the_wording_that_is_asked_for() -> None:
    asked, story = Asked(), held_out_stories(1)[0]
    make_story(asked, story, seed=3)  # type: ignore[arg-type]
    make_story(asked, story, seed=3, wording="people")  # type: ignore[arg-type]
    said = [story_captions(story), people_captions(story)]
    assert [one.told for one in asked.stories] == [[whole, *shots] for whole, shots in said]


@pytest.mark.parametrize("wording", ["grammar", "people"])
def test_the_command_says_whose_words_it_used(
    wording: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Asked()
    asked.config = TINY.model  # type: ignore[attr-defined]
    monkeypatch.setattr(shotstream, "open", lambda *_, **__: asked)
    monkeypatch.setattr("shotstream.evaluate.judging.held_out_stories", lambda _: [short])
    short = replace(held_out_stories(1)[0], shots=held_out_stories(1)[0].shots[:1])
    assert main(["evaluate", "--stories", "1", "--wording", wording, "--json", str(tmp_path / "scores.json")]) == 0
    assert f"worded by {wording}" in capsys.readouterr().out
    assert json.loads((tmp_path / "scores.json").read_text())["wording"] == wording
    whole, shots = captions_in(wording, short)  # type: ignore[arg-type]
    assert asked.stories[0].told == [whole, *shots]


def test_true_renders_have_no_wording(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--truth", "--wording", "people"]) == 2
    assert "leave one of them out" in capsys.readouterr().err


def test_the_command_refuses_a_context_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--stories", "1", "--context", "relevent"]) == 2
    assert "did you mean 'relevant'?" in capsys.readouterr().err
