"""`shotstream evaluate` as a command: what is written, and what is said before there is any work to lose."""

from pathlib import Path

import pytest

import shotstream
from shotstream.cli import main
from shotstream.cli.evaluate_compare import split_name


def fail(*_: object, **__: object) -> None:
    raise AssertionError("work before the check")


@pytest.mark.parametrize("missing", [True, False], ids=["no directory", "a directory"])
@pytest.mark.parametrize(
    "command",
    [
        ("--json",),
        ("--sheet",),
        ("--truth", "--json"),
        ("errors", "--json"),
        ("compare", "a.json", "b.json", "-o"),
        ("compare", "a.json", "b.json", "--chart"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_written_is_said_before_the_work(
    command: tuple[str, ...],
    missing: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("scores.story_scores.held_out_stories", "scores.reports.read_report"):
        monkeypatch.setattr(f"shotstream.{name}", fail)
    monkeypatch.setattr(shotstream, "open", fail)
    path = tmp_path / "none" / "file" if missing else tmp_path
    assert main(["evaluate", *command, str(path)]) == 2
    assert f"cannot write {path}" in capsys.readouterr().err


def test_scores_are_kept_where_the_sheet_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shotstream.core.images.write_png", fail)
    words = ["evaluate", "--truth", "--stories", "1", "--shots", "1", "--json", str(tmp_path / "scores.json")]
    with pytest.raises(AssertionError):
        main([*words, "--sheet", str(tmp_path / "sheet.png")])
    assert (tmp_path / "scores.json").exists()


def test_a_long_evaluation_says_where_it_is_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--truth", "--stories", "2", "--shots", "1"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == ["scoring 1/2", "scoring 2/2"]
    assert "scoring" not in said.out


@pytest.mark.parametrize("kind", [("errors",), ("compare", "a.json", "b.json")])
@pytest.mark.parametrize("option", ["--stories", "--steps", "--json"])
def test_options_in_front_of_a_kind_are_not_lost_unsaid(
    kind: tuple[str, ...], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", option, "12", *kind]) == 2
    assert f"expected the options of {kind[0]} behind its name, got {option} in front" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "name", "rest"),
    [
        ("runs/lr=1e-4/x", "", "runs/lr=1e-4/x"),
        ("slow=runs/lr=1e-4/x", "slow", "runs/lr=1e-4/x"),
        ("slow=a.json,b.json", "slow", "a.json,b.json"),
        ("storyworld", "", "storyworld"),
    ],
)
def test_paths_may_have_equals_signs(word: str, name: str, rest: str) -> None:
    assert split_name(word) == (name, rest)
