"""Evaluations side by side: differences paired by story, what cannot be compared, and videos in step on a page."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from chromium import open_browser_or_skip
from shotstream.cli import main
from shotstream.core.atomic_files import write_json
from shotstream.core.errors import InputError
from shotstream.core.video import write_video
from shotstream.metrics.columns import CutSettings
from shotstream.metrics.compare import compare_evaluations, comparison_markdown, comparison_page
from shotstream.metrics.evaluation import Evaluation, StoryResult, to_data

CAPTIONS = ("Wide shot: the fox.", "Close-up: the fox.")


def evaluation(values: dict[str, float | None], video: str = "gone.mp4", **others: object) -> Evaluation:
    """An evaluation whose stories have one value of one column."""
    stories = tuple(
        StoryResult(name, video, CAPTIONS, ((0, 9), (9, 18)), {"cut_accuracy": value}) for name, value in values.items()
    )
    return Evaluation("x", stories, (), {}, {}, CutSettings(), **others)  # type: ignore[arg-type]


def test_differences_are_paired_by_story() -> None:
    easy, hard = 0.9, 0.1
    first = evaluation({"a": easy, "b": hard, "c": easy, "d": None})
    other = evaluation({"a": easy + 0.05, "b": hard + 0.05, "c": easy + 0.05, "d": 0.5})
    comparison = compare_evaluations({"ours": first, "theirs": other})
    [row] = comparison.rows
    [difference] = row.differences
    assert difference is not None
    assert (difference.value, difference.low, difference.high) == pytest.approx((0.05, 0.05, 0.05))
    assert difference.cases == 3, "a story without a value in one has no difference"
    assert [mean.cases for mean in row.means if mean] == [3, 4]
    table = comparison_markdown(comparison)
    assert "| theirs less ours |" in table
    assert "+0.050 (+0.050 to +0.050) | 3 |" in table


def test_stories_that_are_not_the_same_are_left_out_and_named() -> None:
    first = evaluation({"a": 0.5, "b": 0.5, "c": 0.5})
    other = evaluation({"a": 0.6, "b": 0.6})
    changed = replace(other.stories[1], captions=("Another.", "Story."))
    comparison = compare_evaluations({"ours": first, "theirs": replace(other, stories=(other.stories[0], changed))})
    assert comparison.left_out == {"b": "the captions differ", "c": "not in theirs"}
    assert [of[0].name for of in comparison.stories] == ["a"]
    with pytest.raises(InputError, match="found none of 2"):
        compare_evaluations({"ours": evaluation({"a": 1.0}), "theirs": evaluation({"z": 1.0})})
    with pytest.raises(InputError, match="expected 2 to 6 evaluations"):
        compare_evaluations({"ours": first})


def test_what_was_measured_in_another_way_is_said() -> None:
    first = replace(
        evaluation({"a": 0.5}), networks={"dino": "small", "clip": "c"}, judge={"model": "m", "url": "u", "rubric": "r"}
    )
    assert compare_evaluations({"x": first, "y": replace(first, judge={})}).warnings == ()
    for change, told in (
        ({"settings": CutSettings(penalty_frames=9)}, "their cut columns cannot be compared"),
        ({"networks": {"dino": "large", "clip": "c"}}, "different networks for dino: large; small. Evaluate with one."),
        ({"judge": first.judge | {"model": "n"}}, "different judges"),
    ):
        comparison = compare_evaluations({"x": first, "y": replace(first, **change)})
        assert [told in warning for warning in comparison.warnings] == [True]
        assert told in comparison_markdown(comparison)


def test_a_video_that_is_gone_is_said_on_the_page(tmp_path: Path) -> None:
    first = evaluation({"a": 0.5}, video="/nowhere/a.mp4")
    page = comparison_page(compare_evaluations({"x": first, "y": first}), tmp_path / "page.html")
    assert page.count("/nowhere/a.mp4 is gone: move it back") == 2
    assert "<video src" not in page


def test_the_page_shows_what_any_of_the_systems_has(tmp_path: Path) -> None:
    nothing, something = evaluation({"a": None}), evaluation({"a": 0.5})
    three = compare_evaluations({"x": nothing, "y": nothing, "z": something})
    assert "<td>0.500</td>" in comparison_page(three, tmp_path / "page.html")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The results of two systems with a video each."""
    words = []
    for name, grey in (("ours", 220), ("theirs", 40)):
        directory = tmp_path / f"{name} #1"
        directory.mkdir()
        write_video(directory / "a.mp4", np.full((24, 48, 64, 3), grey, np.uint8), 16)
        write_json(directory / "results.json", to_data(evaluation({"a": grey / 255}, str(directory / "a.mp4"))))
        words.append(f"{directory}/results.json")
    return words


def test_the_command_tells_kinds_of_scores_apart(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "compare", *files]) == 0
    assert capsys.readouterr().out.startswith("| | ours #1 | theirs #1 | theirs #1 less ours #1 | stories |")
    scores = tmp_path / "scores.json"
    scores.write_text(json.dumps({"asked": {}}))
    for words, message in (
        ([files[0], str(scores)], "expected scores of one kind"),
        ([*files, "--chart", str(tmp_path / "a.svg")], "expected --chart with StoryWorld's scores only"),
        ([str(scores), str(scores), "--page", str(tmp_path / "a.html")], "expected --page with results.json"),
        ([files[0], files[0]], "expected a name of its own"),
    ):
        assert main(["evaluate", "compare", *words]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.browser
def test_a_video_that_no_browser_plays_is_said_on_the_page(tmp_path: Path) -> None:
    video = tmp_path / "a.mkv"
    write_video(video, np.zeros((4, 48, 64, 3), np.uint8), 16, lossless=True)
    one = evaluation({"a": 0.5}, str(video))
    page_file = tmp_path / "page.html"
    page_file.write_text(comparison_page(compare_evaluations({"x": one, "y": one}), page_file))
    with open_browser_or_skip() as browser:
        page = browser.new_page()
        page.goto(page_file.as_uri())
        expect(page.get_by_text(f"This browser cannot play {video}")).to_have_count(2)
        expect(page.get_by_text(f"This browser cannot play {video}").first).to_be_visible()


@pytest.mark.browser
def test_the_page_plays_both_videos_in_step(files: list[str], tmp_path: Path) -> None:
    page_file = tmp_path / "page.html"
    assert main(["evaluate", "compare", *files, "-o", str(tmp_path / "a.md"), "--page", str(page_file)]) == 0
    times = "[...document.querySelectorAll('video')].map((video) => [video.currentTime, video.ended])"
    with open_browser_or_skip() as browser:
        page = browser.new_page()
        page.goto(page_file.as_uri())
        page.get_by_role("button", name="Play").click()
        until = time.monotonic() + 40
        while not all(ended for _, ended in page.evaluate(times)):
            assert time.monotonic() < until
            page.wait_for_timeout(50)
        (one, _), (other, _) = page.evaluate(times)
        assert one == pytest.approx(other, abs=0.13)
        assert one == pytest.approx(1.5, abs=0.1)
