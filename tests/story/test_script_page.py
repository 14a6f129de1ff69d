"""docs/script.md: every example is read as the page says, and the table has every key that there is."""

import re
from pathlib import Path

import pytest

from shotstream.story.script import CastEntry, Script, ScriptExport
from shotstream.story.script_files import SCRIPT_SUFFIXES, load_scripts
from shotstream.story.script_yaml import CAST_KEYS, EXPORT_KEYS, SHOT_KEYS, STEER_KEYS, STORY_KEYS
from shotstream.story.shot_spec import ShotSpec, Steer

PAGE = (Path(__file__).parent.parent.parent / "docs" / "script.md").read_text(encoding="utf8")
EXAMPLES = dict(re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The page's examples as files, with the picture and the music that one of them names."""
    for kind, text in EXAMPLES.items():
        (tmp_path / f"story.{kind}").write_text(text, encoding="utf8")
    for name in ("fox.png", "music.mp3"):
        (tmp_path / name).touch()
    return tmp_path


def test_the_page_has_every_key_and_every_kind_of_file() -> None:
    rows = set(re.findall(r"^\| `([a-z_.\[\]]+)` \|", PAGE, re.MULTILINE))
    shots = [*(f"shots[].{key}" for key in SHOT_KEYS), *(f"shots[].steer[].{key}" for key in STEER_KEYS)]
    lists = [*(f"cast[].{key}" for key in CAST_KEYS), *(f"export.{key}" for key in EXPORT_KEYS)]
    keys = {*STORY_KEYS, *lists, *shots}
    assert rows - {suffix for suffix in SCRIPT_SUFFIXES if suffix in rows} == keys
    assert all(f"`{suffix}`" in PAGE for suffix in SCRIPT_SUFFIXES)


def test_the_yaml_has_every_key_and_is_read(folder: Path) -> None:
    keys = set(re.findall(r"^[ -]*(\w+):", EXAMPLES["yaml"], re.MULTILINE))
    assert keys == {*STORY_KEYS, *SHOT_KEYS, *STEER_KEYS, *CAST_KEYS, *EXPORT_KEYS}
    (script,) = load_scripts(folder / "story.yaml")
    steers = (Steer(1, "Wide shot: the fox jumps."),)
    assert script == Script(
        "A red fox and a blue owl in a forest by day. ",
        (
            ShotSpec("Wide shot: the fox waves.", 2, seed=3, cast=(0,), steers=steers),
            ShotSpec("Close-up: the owl eats.", 8, extend=True),
        ),
        7,
        (CastEntry(str(folder / "fox.png"), "a red fox"),),
        3.0,
        "a robot",
        "Fox and owl",
        ScriptExport(4, "nearest", 4, str(folder / "music.mp3")),
    )


def test_the_published_examples_are_read(folder: Path) -> None:
    (plain,) = load_scripts(folder / "story.json")
    assert [shot.chunks for shot in plain.shots] == [7, 7]
    (long,) = load_scripts(folder / "story.csv")
    assert [(shot.chunks, shot.extend) for shot in long.shots] == [(7, False), (11, True)]
    assert long.global_caption == plain.global_caption


def test_the_prompt_file_is_read(folder: Path) -> None:
    first, second = load_scripts(folder / "story.jsonl")
    assert [shot.chunks for shot in first.shots] == [3, 3]
    assert (second.global_caption, second.shots[0].text) == ("", "A blue owl at a lake by night.")
