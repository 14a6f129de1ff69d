"""`shotstream world`: files as promised, one clear line where the input cannot be used."""

import json
from pathlib import Path

import pytest

from shotstream.cli import main
from shotstream.core.video import probe_video
from shotstream.world.scene import WorldStory
from shotstream.world.stories import sample_story
from shotstream.world.words import vocabulary


def test_render_writes_the_whole_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "x.mp4"
    assert main(["world", "render", "--seed", "3", "-o", str(output)]) == 0
    video = probe_video(output)
    assert (video.frames, video.height, video.width, video.fps) == (sample_story(3).frames, 80, 128, 16)
    assert "1. " in capsys.readouterr().out


def test_dataset_writes_the_stories_of_the_seeds(tmp_path: Path) -> None:
    assert main(["world", "dataset", "--stories", "2", "--seed", "8", "-o", str(tmp_path / "made")]) == 0
    truths = [json.loads(path.read_text()) for path in sorted((tmp_path / "made").glob("*.truth.json"))]
    assert [WorldStory.from_dict(truth) for truth in truths] == [sample_story(8), sample_story(9)]


def test_words_prints_every_phrase(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["world", "words"]) == 0
    printed = capsys.readouterr().out
    for trait, values in vocabulary().items():
        assert trait in printed
        for value, phrases in values.items():
            assert f"{value} " in printed
            assert ", ".join(phrases) in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["render", "-o", "x.avi"], "expected a name ending in .mp4"),
        (["render", "-o", "missing/x.mp4"], "the directory missing does not exist"),
        (["dataset", "--stories", "0", "-o", "made"], "expected at least one story"),
        (["train-trait-reader", "--minutes", "0", "-o", "j.safetensors"], "expected a positive number of minutes"),
        (["train-trait-reader", "-o", "missing/j.safetensors"], "does not exist"),
        (
            ["check-trait-reader", "--weights", "missing.safetensors"],
            "expected the trait reader's weights at missing.safetensors",
        ),
        (["check-trait-reader", "--stories", "0"], "expected at least one story"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["world", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
