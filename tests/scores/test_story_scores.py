"""Scores: shares with their intervals, cuts matched to cuts, and true renders that score as they should."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import shotstream
from shotstream.cli import main
from shotstream.core.spec import PAPER_SHOT
from shotstream.data.storyworld import TRAINING_SEEDS
from shotstream.scores.cuts import _least_cut_error, score_cuts
from shotstream.scores.intervals import Share
from shotstream.scores.samples import story_sheet
from shotstream.scores.story_scores import ScoredStory, held_out_stories, make_story, score_stories
from shotstream.story.script import Script
from shotstream.train.presets import TINY
from shotstream.world.captions import story_captions
from shotstream.world.phrasing import captions_in, people_captions
from shotstream.world.render import render_story
from shotstream.world.trait_reader import TraitReader


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
    assert _least_cut_error(wanted, found, penalty=50) == error


def test_held_out_stories_are_not_for_training() -> None:
    stories = held_out_stories(3)
    assert [story.seed for story in stories] == [TRAINING_SEEDS, TRAINING_SEEDS + 1, TRAINING_SEEDS + 2]


def test_a_story_without_its_cuts_scores_lower() -> None:
    made = ScoredStory(story := held_out_stories(1, first=3)[0], tuple(render_story(story)))
    still = ScoredStory(story, tuple(np.repeat(shot[:1] * 0 + 90, len(shot), 0) for shot in made.shots))
    cuts, none = score_cuts(made.shots), score_cuts(still.shots)
    wanted = len(made.shots) - 1
    assert cuts.accuracies[0] > 0.9
    assert (cuts.found, cuts.wanted) == (Share(wanted, wanted), Share(wanted, wanted))
    assert none.accuracies[0] < 0.8
    assert (none.found, none.wanted) == (Share(0, wanted), Share(0, 0))
    assert cuts + none == type(cuts)(cuts.accuracies + none.accuracies, Share(wanted, 2 * wanted), cuts.wanted)


def test_true_renders_are_read_right_and_swapped_ones_wrong() -> None:
    stories = [replace(story, shots=story.shots[:2]) for story in held_out_stories(4)]
    true = [ScoredStory(story, tuple(render_story(story))) for story in stories]
    swapped = [ScoredStory(a, b.shots) for a, b in zip(stories, [*true[1:], true[0]], strict=True)]
    reader, seen = TraitReader.load(), []
    right, wrong = score_stories(reader, true), score_stories(reader, swapped, seen.append)
    assert seen == swapped
    assert right.visible["place"].rate > 0.9
    assert wrong.visible["place"].rate < 0.7
    assert set(right.visible) == {"species", "colour", "place", "time", "framing", "camera", "action"}
    assert set(right.kept) <= {"accessory", "pattern", "layout"}
    assert [len(values) for values in right.by_shot] == [4, 4]
    assert {both[0].total for name, both in right.halves.items() if not name.startswith("kept")} == {4}


def test_a_story_that_decays_is_worse_in_its_second_half() -> None:
    story = held_out_stories(1, shots=5)[0]
    shots = [shot if index < 2 else shot // 8 for index, shot in enumerate(render_story(story))]
    scores = score_stories(TraitReader.load(), [ScoredStory(story, tuple(shots))])
    first, second = scores.halves["place"]
    assert (first, second.total) == (Share(2, 2), 3)
    assert scores.visible["place"] == first + second
    assert [told["place"] for told in scores.by_story] == [first + second]
    assert np.mean(scores.by_shot[:2]) > np.mean(scores.by_shot[2:]) + 0.2


def test_a_sheet_has_a_row_for_every_story_as_wide_as_the_longest() -> None:
    shots = [np.full((9, 80, 128, 3), level, np.uint8) for level in (50, 100)]
    sheet = story_sheet([shots, shots[:1]])
    assert sheet.shape == (2 * 80 + 2, 4 * 128 + 3 * 2, 3)
    assert [int(sheet[100, column, 0]) for column in (10, 140, 270, 400)] == [50, 50, 0, 0]


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
        self.parts = SimpleNamespace(fingerprint="of the weights")
        self.config = SimpleNamespace(shot=PAPER_SHOT)

    def check_script(self, script: Script) -> None:
        """Take any script."""

    def story(self, whole: str, **options: object) -> Told:
        self.options.append(options)
        self.stories.append(Told(whole))
        return self.stories[-1]


def test_a_story_is_made_with_the_context_that_is_asked_for() -> None:
    make_story(asked := Asked(), held_out_stories(1)[0], seed=3, context="relevant")  # type: ignore[arg-type]
    (options,) = asked.options
    assert {name: options[name] for name in ("seed", "sampler", "context")} == {
        "seed": 3,
        "sampler": None,
        "context": "relevant",
    }


def test_a_story_is_told_in_the_wording_that_is_asked_for() -> None:
    asked, story = Asked(), held_out_stories(1)[0]
    make_story(asked, story, seed=3)  # type: ignore[arg-type]
    make_story(asked, story, seed=3, phrasing="people")  # type: ignore[arg-type]
    said = [story_captions(story), people_captions(story)]
    assert [one.told for one in asked.stories] == [[whole, *shots] for whole, shots in said]


@pytest.mark.parametrize("phrasing", ["grammar", "people"])
def test_the_command_says_whose_words_it_used(
    phrasing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Asked()
    asked.config = TINY.model  # type: ignore[attr-defined]
    monkeypatch.setattr(shotstream, "open", lambda *_, **__: asked)
    monkeypatch.setattr("shotstream.scores.story_scores.held_out_stories", lambda *_, **__: [short])
    short = replace(held_out_stories(1)[0], shots=held_out_stories(1)[0].shots[:1])
    assert main(["evaluate", "--stories", "1", "--phrasing", phrasing, "--json", str(tmp_path / "scores.json")]) == 0
    assert f"worded by {phrasing}" in capsys.readouterr().out
    assert json.loads((tmp_path / "scores.json").read_text())["asked"]["phrasing"] == phrasing
    whole, shots = captions_in(phrasing, short)  # type: ignore[arg-type]
    assert asked.stories[0].told == [whole, *shots]


def test_true_renders_have_no_wording(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--truth", "--phrasing", "people"]) == 2
    assert "leave one of them out" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--stories", "--shots"])
def test_nothing_cannot_be_scored(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--truth", option, "0"]) == 2
    assert f"expected {option} of at least 1, got 0" in capsys.readouterr().err


def test_the_command_refuses_a_context_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--stories", "1", "--context", "relevent"]) == 2
    assert "did you mean 'relevant'?" in capsys.readouterr().err
