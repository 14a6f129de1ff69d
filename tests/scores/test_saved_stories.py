"""Saved stories: an evaluation that stopped goes on from them with the same scores, and other commands read them."""

import json
from collections.abc import Callable
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pytest

from shotstream.cli import main
from shotstream.metrics.videos import ScoredVideo, find_videos
from shotstream.scores import story_scores
from shotstream.scores.saved_stories import SETTINGS, SavedStories

Evaluate = Callable[..., dict[str, object]]


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    """Score true renders, saving them; return the scores."""

    def run(stories: int, *words: str) -> dict[str, object]:
        scores = tmp_path / "scores.json"
        asked = ["--truth", "--stories", str(stories), "--shots", "2", "--save", str(tmp_path / "saved")]
        assert main(["evaluate", *asked, "--json", str(scores), *words]) == 0
        return json.loads(scores.read_text())

    return run


def test_an_evaluation_goes_on_from_saved_stories(
    evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate(2)
    (tmp_path / "saved" / "story001.mkv").write_bytes(b"cut off")
    from shotstream.world import render

    rendered, original = [], render.render_story

    def count(story: story_scores.WorldStory) -> object:
        rendered.append(story)
        return original(story)

    monkeypatch.setattr(render, "render_story", count)
    assert evaluate(2) == first
    assert rendered == story_scores.held_out_stories(2, shots=2)[1:]


def test_lengths_are_those_that_were_made(tmp_path: Path) -> None:
    """A policy with one decoder for the whole video makes later shots three frames longer."""
    stories = story_scores.held_out_stories(1, shots=2)
    lengths, made = [stories[0].shots[0].frames, stories[0].shots[1].frames + 3], []

    def make(number: int, story: story_scores.WorldStory) -> story_scores.ScoredStory:
        made.append(number)
        return story_scores.ScoredStory(story, tuple(np.zeros((count, 16, 16, 3), np.uint8) for count in lengths))

    saved = SavedStories.open(tmp_path / "saved", "grammar", {})
    for _ in range(2):
        [story] = saved.complete(stories, make)
        assert [len(shot) for shot in story.shots] == lengths
    assert made == [0]


def test_saved_stories_are_videos_with_scripts(evaluate: Evaluate, tmp_path: Path) -> None:
    evaluate(1)
    [story] = story_scores.held_out_stories(1, shots=2)
    [found] = find_videos(tmp_path / "saved")
    assert isinstance(found, ScoredVideo)
    assert (found.ranges_from, found.notes) == ("script", ())
    assert found.ranges == tuple(pairwise(accumulate((shot.frames for shot in story.shots), initial=0)))
    assert found.characters == tuple(tuple(who.species for who in story.cast_of(shot)) for shot in (0, 1))


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        (SETTINGS, ["--shots", "3"], "was made with another shots; remove it first, or name another directory"),
        ("video.mp4", [], "expected an empty directory to save stories in"),
    ],
)
def test_stories_of_something_else_are_not_taken(
    name: str, words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text('{"shots": 2, "model": "truth"}')
    assert main(["evaluate", "--truth", "--stories", "1", "--save", str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err
