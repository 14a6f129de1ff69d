"""Read text and JSON that people wrote; every error is one line that says where it is."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from shotstream.core.errors import InputError

MAX_SCRIPT_BYTES = 16 * 2**20
MAX_TABLE_BYTES = 2**30
_CHECK = "check quotes and commas"
_OTHER_FILES = {
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
    b"pk\x03\x04": "a zip or a document of an office program; save it as plain text or CSV",
    b"\xd0\xcf\x11\xe0": "a document of an office program; save it as plain text or CSV",
    b"%pdf": "a PDF; copy its text into a file",
    b"<!doctype html": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
    b"version https://git-lfs": "a Git LFS pointer to it; run 'git lfs pull' there",
}
"""First bytes, in small letters, of files that are given in place of text."""


def read_text(path: Path, max_bytes: int = MAX_SCRIPT_BYTES) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        InputError: it is missing, unreadable, larger than `max_bytes`, or in another encoding.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', error)}; check the path") from error
    if len(data) > max_bytes:
        raise InputError(f"cannot read {path}: it has more than {max_bytes >> 20} MiB; split it")
    start = data[:64].lower().lstrip()
    if kind := next((kind for begin, kind in _OTHER_FILES.items() if start.startswith(begin)), None):
        raise InputError(f"cannot read {path}: expected UTF-8 text, got {kind}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path.name}, line {line}: expected UTF-8 text; save the file in that encoding") from error


def decode_json(text: str, name: str) -> Any:
    """Return what a JSON text says.

    Args:
        text: the JSON.
        name: what errors call it.

    Raises:
        InputError: it is no JSON, a key stands twice, it is nested too deeply, or has a number of thousands of digits.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise InputError(f"{name}: the key {key!r} stands twice; remove one")
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        column = f"column {error.colno}"
        place = f"line {error.lineno}, {column}" if "\n" in text or ", line " not in name else column
        advice = "write one JSON a file, or one a line in a .jsonl" if error.msg == "Extra data" else _CHECK
        raise InputError(f"{name}, {place}: no JSON ({error.msg}); {advice}") from error
    except InputError:
        raise
    except RecursionError as error:
        raise InputError(f"{name}: it is nested too deeply to be a story; check the brackets") from error
    except ValueError as error:
        raise InputError(f"{name}: it has a number of thousands of digits; captions are text in quotes") from error


def check_spelling(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise InputError for a name that is almost a known one and is not; names of another kind are let pass.

    Source: the published readers take what they know by name and pass over everything else, so that files with more in
    them are common. A misspelt name must not be passed over.
    """
    known = list(known)
    plain = {_letters(name): name for name in known}
    for name in names:
        if name in known:
            continue
        near = [plain[_letters(name)]] if _letters(name) in plain else get_close_matches(name, known, 1, cutoff=0.8)
        if near:
            raise InputError(f"{where}: unknown name {name!r} (did you mean {near[0]!r}?); rename it")


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put the place in front of an InputError that the block raises."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _letters(name: str) -> str:
    """Return a name without case, spaces, dashes and zeros that pad a number: `Shot_01` becomes `shot1`."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\s_-]+", "", name.lower()))
