"""The check of scripts: what a model will not follow is found, named by shot, and nothing else is."""

import json
from pathlib import Path

import pytest

from shotstream.cli import main
from shotstream.core.errors import InputError
from shotstream.story.characters import read_characters
from shotstream.story.script import Script
from shotstream.story.script_check import CaptionLimit, check_file, check_script, find_tokenizer
from shotstream.story.shot_spec import ShotSpec
from shotstream.weights.tokenizer import byte_tokenizer

WORLD = (
    "A quiet harbour at dawn. Mara, a woman of sixty with a silver braid and a yellow raincoat, mends nets there. "
    "Ilo, a boy of nine in a red woollen cap, has come to learn it, and gulls walk between the boats."
)
GOOD = ("Wide shot: Mara in the yellow raincoat sits on the quay.", "Close-up: Ilo with the red cap looks up at her.")


def findings(
    *shots: str, who: tuple[tuple[str, ...], ...] | None = None, story: str = WORLD
) -> set[tuple[object, ...]]:
    script = Script(story, tuple(ShotSpec(text) for text in shots))
    return {(one.level, one.rule, one.shot) for one in check_script("a", script, CaptionLimit(), who).findings}


def test_a_good_script_has_no_findings() -> None:
    assert findings(*GOOD) == set()
    assert findings(*GOOD, who=(("Mara",), ("Ilo",))) == set()


@pytest.mark.parametrize(
    ("shot", "level", "rule"),
    [
        ("Close-up: a hand opens a door somewhere.", "warning", "who"),
        ("Close-up: she looks up, Mara's braid in the wind.", "warning", "who"),
        ("Mara in her yellow raincoat looks up.", "warning", "framing"),
        ("Wide shot: Mara stands up in her yellow raincoat, then we cut to a gull.", "warning", "cut-inside"),
        (GOOD[0], "warning", "same-as-before"),
    ],
)
def test_what_a_model_does_not_follow_is_found_in_its_shot(shot: str, level: str, rule: str) -> None:
    assert findings(GOOD[0], shot) == {(level, rule, 2)}


def test_a_cut_that_begins_the_shot_is_no_cut_inside() -> None:
    assert findings(GOOD[0], "The camera cuts to a close-up of Ilo with the red cap.") == set()


def test_who_is_listed_must_be_named_and_described() -> None:
    assert findings(*GOOD, who=(("Mara", "Ilo"), ("Ilo",))) == {("error", "who", 1)}
    assert findings(*GOOD, who=(("Mara",), ("Ilo", "Otto"))) == {("error", "who", None), ("error", "who", 2)}
    bare = "Close-up: Ilo laughs."
    assert findings(GOOD[0], bare, who=(("Mara",), ("Ilo",))) == {("warning", "looks", 2)}


def test_one_shot_many_shots_and_short_captions() -> None:
    assert findings(GOOD[0]) == {("warning", "shots", None)}
    assert findings(*GOOD * 4) == {("note", "shots", None)}
    assert findings("Wide shot: the fox.", "Close-up: the fox.", story="A fox.") == {("note", "caption-length", None)}


def test_other_languages_are_not_judged_by_english_words() -> None:
    found = findings("Der Fuchs rennt.", "Der Fuchs ruht.", story="Ein roter Fuchs. " * 15)
    assert found == {("note", "language", None)}


def test_the_true_tokenizer_counts_where_there_is_one() -> None:
    script = Script(WORLD, tuple(ShotSpec(text) for text in GOOD))
    limit = CaptionLimit(200, byte_tokenizer())
    [first, second] = check_script("a", script, limit).findings
    assert (first.level, first.rule, first.shot, second.shot) == ("error", "caption-length", 1, 2)
    whole = f"{WORLD}shot0:{GOOD[0]}"
    assert f"have {len(whole) + 2} tokens; the text encoder reads 200" in first.message, (
        "a space before, the end behind"
    )
    assert check_script("a", script, CaptionLimit(400, byte_tokenizer())).findings == ()


@pytest.mark.parametrize(
    ("story", "tokens"),
    [("A" * 300, 330 // 3 + 1), ("狐" * 300, 300 + 30 // 3 + 1)],
    ids=["ASCII", "Chinese"],
)
def test_without_the_tokenizer_an_estimate_warns(story: str, tokens: int) -> None:
    script = Script(story, (ShotSpec("Wide shot: a quiet hill."),))
    checked = check_script("a", script, CaptionLimit(tokens - 1))
    assert checked.longest_tokens == tokens
    [found] = [one for one in checked.findings if one.rule == "caption-length" and one.shot]
    assert found.level == "warning"
    assert f"may have up to about {tokens} tokens" in found.message
    assert check_script("a", script, CaptionLimit(tokens)).count("error") == 0


def test_a_tokenizer_comes_from_a_directory(tmp_path: Path) -> None:
    byte_tokenizer().save(str(tmp_path / "tokenizer.json"))
    found = find_tokenizer(str(tmp_path))
    assert found is not None
    assert len(found.encode("ab").ids) == 4
    assert find_tokenizer("nobody/has-this-tokenizer") is None


def write(path: Path, shots: tuple[str, ...] = GOOD) -> Path:
    data = {"global_caption": WORLD} | {f"shot{k}": text for k, text in enumerate(shots, start=1)}
    path.write_text(json.dumps(data))
    return path


def test_the_command_names_file_and_shot_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "good.json")
    write(tmp_path / "loose.json", (GOOD[0], "Ilo laughs."))
    (tmp_path / "loose.characters.json").write_text('{"shot1": ["Mara"], "shot2": ["Ilo"]}')
    assert main(["script", "check", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path}/loose.json, shot 2: warning: no framing" in out
    assert "2 stories: 0 errors, 2 warnings, 0 notes; tokens estimated" in out
    assert main(["script", "check", str(tmp_path), "--strict", "--json", "-"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["counts"] == {"error": 0, "warning": 2, "note": 0}
    assert [len(story["findings"]) for story in data["stories"]] == [0, 2]


def test_a_script_that_cannot_be_read_is_an_error_and_the_others_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "b.json")
    (tmp_path / "a.json").write_text('{"global_caption": "A."}')
    assert main(["script", "check", str(tmp_path / "a.json"), str(tmp_path / "b.json"), str(tmp_path / "c.json")]) == 1
    out = capsys.readouterr().out
    assert "a.json: error: a.json: missing key 'shot1'" in out
    assert "c.json: no such file" in " ".join(out.lower().split())
    assert "3 stories: 2 errors" in out


def test_every_row_of_a_csv_is_a_story(tmp_path: Path) -> None:
    write(tmp_path / "a.json")
    rows = "shot_num_from_caption,json_path\n2,a.json\n2,a.json\n"
    (tmp_path / "all.csv").write_text(rows)
    assert [one.name for one in check_file(tmp_path / "all.csv", CaptionLimit())] == [
        f"{tmp_path}/all.csv, row 1",
        f"{tmp_path}/all.csv, row 2",
    ]


@pytest.mark.parametrize("text", ["[]", '{"shot1": ["Mara"]}', '{"shot1": ["Mara"], "shot2": "Ilo"}', "{"])
def test_a_wrong_list_of_characters_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.characters.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.characters\.json"):
        read_characters(write(tmp_path / "a.json"), 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--tokens", "0"], "expected --tokens of at least 1"), (["--tokenizer", "no/where"], "hf download no/where")],
)
def test_bad_options_are_named(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["script", "check", str(write(tmp_path / "a.json")), *words]) == 2
    assert message in capsys.readouterr().err
