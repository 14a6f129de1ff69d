"""A story as a person writes it: one global caption, and a text and a length for every shot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from shotstream.core.errors import InputError
from shotstream.core.spec import check_chunks

DEFAULT_CHUNKS = 3
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class ScriptShot:
    """One shot: what is seen in it, and its length in chunks (1 to 7; n chunks are 12 n - 3 frames)."""

    text: str
    chunks: int = DEFAULT_CHUNKS

    def __post_init__(self) -> None:
        check_text(self.text, "the text of a shot")
        check_chunks(self.chunks)


@dataclass(frozen=True)
class Script:
    """A story to be made; `seed` None leaves the choice to whoever makes it.

    Raises:
        InputError: no shot, an empty caption, or a seed that is no whole number from 0 to 2^63 - 1.
    """

    global_caption: str
    shots: tuple[ScriptShot, ...]
    seed: int | None = None

    def __post_init__(self) -> None:
        check_text(self.global_caption, "the global caption")
        if not self.shots:
            raise InputError("expected at least one shot, got none; add a shot with a text")
        if self.seed is not None:
            check_seed(self.seed)


def check_text(text: Any, what: str) -> str:
    """A caption, checked.

    Raises:
        InputError: it is no text, is empty, or holds half a surrogate pair, which no encoding can write.
    """
    if not isinstance(text, str):
        raise InputError(f"expected {what} to be text, got {text!r}; put it in quotes")
    if not text.strip():
        raise InputError(f"expected {what}, got an empty one; say what is seen")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(f"expected {what} to be Unicode text, got a lone surrogate in it; write the character itself")
    return text


def check_seed(seed: Any) -> int:
    """A seed, checked.

    Raises:
        InputError: it is no whole number from 0 to 2^63 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise InputError(f"expected a seed from 0 to {MAX_SEED}, got {seed!r}; use a whole number in that range")
    return seed


def script_to_dict(script: Script) -> dict[str, Any]:
    """Plain data of a script in the layout of its YAML; `script_from_dict` reads it back."""
    shots = [{"text": shot.text, "chunks": shot.chunks} for shot in script.shots]
    seed = {} if script.seed is None else {"seed": script.seed}
    return {"global": script.global_caption, **seed, "shots": shots}


def script_from_dict(data: Mapping[str, Any]) -> Script:
    """The inverse of `script_to_dict`, for data of our own.

    Raises:
        InputError: as for `Script`.
    """
    shots = tuple(ScriptShot(shot["text"], shot["chunks"]) for shot in data["shots"])
    return Script(data["global"], shots, data.get("seed"))


def format_script(script: Script) -> str:
    """The script as YAML that `loading.load_scripts` reads back to an equal one."""
    return yaml.safe_dump(script_to_dict(script), sort_keys=False, allow_unicode=True, width=100)
