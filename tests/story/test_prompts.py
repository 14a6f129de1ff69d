"""The scripts in prompts/: as many as promised, without findings, diverse, with what is hard for a memory in them."""

import json
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from shotstream.story.characters import Characters, read_characters
from shotstream.story.script_check import CaptionLimit, check_file, content_words, find_scripts
from shotstream.story.script_files import load_scripts

PROMPTS = Path(__file__).parents[2] / "prompts"


@cache
def stories(kind: str) -> dict[str, Characters]:
    """Who is in each shot of every story."""
    found = {}
    for path in find_scripts([PROMPTS / kind]):
        [script] = load_scripts(path)
        found[path.stem] = read_characters(path, len(script.shots)) or ()
    return found


@pytest.mark.parametrize(("kind", "count", "least", "most"), [("short", 100, 2, 6), ("long", 20, 30, 40)])
def test_there_are_as_many_as_promised(kind: str, count: int, least: int, most: int) -> None:
    assert len(stories(kind)) == count
    assert all(least <= len(who) <= most for who in stories(kind).values())


@pytest.mark.parametrize("kind", ["short", "long"])
def test_the_check_finds_nothing(kind: str) -> None:
    for path in find_scripts([PROMPTS / kind]):
        [checked] = check_file(path, CaptionLimit())
        assert [one for one in checked.findings if one.level != "note"] == [], path.name
        assert checked.longest_tokens < 512


def has_reverse_shots(who: Characters) -> bool:
    """Tell whether two characters alternate, each alone in the picture."""
    alone = [names[0] if len(names) == 1 else "" for names in who]
    return any(a and b and a == c != b for a, b, c in zip(alone, alone[1:], alone[2:], strict=False))


def has_return(who: Characters) -> bool:
    """Tell whether somebody is absent for two shots or more and comes back."""
    for name in {name for names in who for name in names}:
        shots = [number for number, names in enumerate(who) if name in names]
        if any(later - earlier > 2 for earlier, later in pairwise(shots)):
            return True
    return False


def test_many_have_what_is_hard_for_a_memory() -> None:
    short, long = (stories(kind).values() for kind in ("short", "long"))
    assert sum(map(has_reverse_shots, short)) >= 40
    assert sum(map(has_return, short)) >= 15
    assert all(map(has_return, long))


def test_each_is_a_story_of_its_own() -> None:
    texts = [path.read_text(encoding="utf8") for path in find_scripts([PROMPTS])]
    captions = [caption for text in texts for caption in json.loads(text).values()]
    assert len(set(captions)) == len(captions), "no caption stands twice"
    used = Counter(word for text in texts for word in content_words(text))
    assert len(used) > 2500, "different words"
    openings = Counter(" ".join(json.loads(text)["global_caption"].split()[:3]) for text in texts)
    assert max(openings.values()) <= 2, openings.most_common(3)
