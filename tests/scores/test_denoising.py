"""Errors of latents predicted from noise: what is compared meets the same, and what knows more errs less."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import shotstream
from shotstream.api import Model
from shotstream.cli import main
from shotstream.scores.denoising import StoryErrors, denoising_errors, error_difference, error_estimate
from shotstream.scores.story_scores import held_out_stories

NOISE_LEVELS = (0.5, 1.0)


@pytest.fixture(scope="module")
def model() -> Model:
    return shotstream.open("storyworld", device="cpu")


def measure(model: Model, context: str | None = None, count: int = 3) -> list[StoryErrors]:
    return list(denoising_errors(model, held_out_stories(count), NOISE_LEVELS, context))


@pytest.fixture(scope="module")
def known(model: Model) -> list[StoryErrors]:
    """The errors of the model as it is, over three stories."""
    return measure(model)


def test_it_depends_on_the_model_and_the_stories_alone(model: Model, known: list[StoryErrors]) -> None:
    one, again = known[:2], measure(model, "dynamic", count=2)
    assert all(
        torch.equal(a.squared, b.squared) and torch.equal(a.guess, b.guess) for a, b in zip(one, again, strict=True)
    )
    assert not torch.equal(one[0].squared, one[1].squared)
    assert error_difference(one, again, 0, 0).value == 0


def test_the_trained_model_knows_more_than_the_mean_and_uses_its_past(model: Model, known: list[StoryErrors]) -> None:
    """The first chunk from pure noise has no limit: a student of guided predictions may err more than the mean."""
    forgotten = measure(model, "none")
    for place, chunk in ((0, 0), (0, 1), (1, 1)):
        assert 0 < error_estimate(known, place, chunk).value < 0.8
    assert error_estimate(known, 0, 0).value < error_estimate(known, 1, 0).value
    assert error_estimate(known, 1, 1).value < error_estimate(known, 1, 0).value, "a second chunk has seen a first"
    assert error_difference(forgotten, known, 1, 0).value > 0
    assert all(torch.equal(a.guess, b.guess) for a, b in zip(known, forgotten, strict=True))


def test_a_disturbed_model_errs_more(known: list[StoryErrors]) -> None:
    other = shotstream.open("storyworld", device="cpu")
    with torch.no_grad():
        other.parts.transformer.head.head.weight.mul_(0.8)
    assert error_difference(measure(other), known, 0, 0).low > 0


def test_a_model_that_makes_shots_whole_sees_both_ways(known: list[StoryErrors]) -> None:
    whole = shotstream.open("storyworld", device="cpu")
    sampler = replace(whole.config.sampler, order="whole", later_chunks_from=None)
    whole.parts = replace(whole.parts, config=replace(whole.config, sampler=sampler))
    chunked, both = known[0], measure(whole, count=1)[0]
    assert torch.equal(chunked.guess, both.guess)
    assert not torch.allclose(chunked.squared, both.squared)


@pytest.mark.slow
def test_the_command_shows_columns_with_differences_and_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = [replace(story, shots=story.shots[:2]) for story in held_out_stories(10)]
    monkeypatch.setattr("shotstream.scores.story_scores.held_out_stories", lambda count: short[:count])
    path = tmp_path / "errors.json"
    asked = ["evaluate", "errors", "--stories", "10", "--context", "dynamic", "--context", "none", "--level", "1"]
    assert main([*asked, "--device", "cpu", "--json", str(path)]) == 0
    assert "none, less dynamic" in capsys.readouterr().out
    data = json.loads(path.read_text())
    assert (data["levels"], data["stories"], list(data["columns"])) == ([1.0], 10, ["dynamic", "none"])
    assert [len(column) for column in data["columns"].values()] == [10, 10]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--level", "0"], "expected --level above 0, up to 1, got 0"),
        (["--stories", "3"], "expected --stories of at least 10"),
        (["--context", "dynamik"], "got 'dynamik'"),
        (["--context", "none", "--context", "none", "--stories", "10"], "got none twice"),
        (["no-such-model"], "no-such-model"),
    ],
)
def test_what_cannot_be_asked_is_said(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "errors", *arguments, "--device", "cpu"]) == 2
    assert complaint in " ".join(capsys.readouterr().err.split())
