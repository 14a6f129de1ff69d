"""One shot to be made: its text, length, seed and steers. Every record of a shot holds one `ShotSpec`."""

import unicodedata
from dataclasses import dataclass
from typing import Any

from shotstream.core.errors import InputError
from shotstream.core.spec import DEFAULT_CHUNKS, check_whole_chunks

MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Steer:
    """Another caption for a shot, from its chunk `at` (from 0) on."""

    at: int
    text: str

    def __post_init__(self) -> None:
        check_text(self.text, "the text to steer to")
        if isinstance(self.at, bool) or not isinstance(self.at, int) or self.at < 0:
            raise InputError(f"expected the chunk to steer at to be 0 or more, got {self.at!r}; use a whole number")


@dataclass(frozen=True)
class ShotSpec:
    """One shot as it is asked for, and as it is recorded.

    Attributes:
        text: its own caption, without the story's global caption.
        chunks: its length; models have a longest shot (`core.spec.ShotShape`).
        extend: allows more chunks than that.
        seed: of its noise; None: the story's.
        cast: numbers of the members of the cast that may be in its context, rising; None: all.
        steers: captions that replace `text` from a chunk on.

    Raises:
        InputError: the text is empty, or a number is out of its range.
    """

    text: str
    chunks: int = DEFAULT_CHUNKS
    extend: bool = False
    seed: int | None = None
    cast: tuple[int, ...] | None = None
    steers: tuple[Steer, ...] = ()

    def __post_init__(self) -> None:
        check_text(self.text, "the text of a shot")
        if not isinstance(self.extend, bool):
            raise InputError(f"expected extend to be true or false, got {self.extend!r}; leave it out for false")
        check_whole_chunks(self.chunks)
        if self.seed is not None:
            check_seed(self.seed)
        _check_members(self.cast)
        places = [-1, *(steer.at for steer in self.steers)]
        if places != sorted(set(places)) or places[-1] >= self.chunks:
            raise InputError(
                f"expected to steer at rising chunks before {self.chunks}, got {places[1:]}; put them in order in it"
            )


def check_text(text: Any, what: str, *, may_be_empty: bool = False) -> str:
    """Check a caption and return it.

    Raises:
        InputError: it is no text, is empty and may not be, or holds a control character or half a surrogate pair.
    """
    if not isinstance(text, str):
        raise InputError(f"expected {what} to be text, got {text!r}; put it in quotes")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(f"{_sentence(what)} has a lone surrogate in it, half a character. Write the character itself.")
    control = next((letter for letter in text if unicodedata.category(letter) == "Cc" and letter not in "\t\n\r"), None)
    if control is not None:
        raise InputError(f"{_sentence(what)} has the control character {control!r} in it. Remove it.")
    if not may_be_empty and all(unicodedata.category(letter)[0] in "ZC" for letter in text):
        raise InputError(f"expected {what}, got an empty one; say what is seen")
    return text


def _sentence(beginning: str) -> str:
    return beginning[0].upper() + beginning[1:]


def check_seed(seed: Any) -> int:
    """Check a seed and return it.

    Raises:
        InputError: it is no whole number from 0 to 2^63 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise InputError(f"expected a seed from 0 to {MAX_SEED}, got {seed!r}; use a whole number in that range")
    return seed


def _check_members(cast: Any) -> None:
    if cast is None:
        return
    whole = isinstance(cast, tuple) and all(isinstance(one, int) and not isinstance(one, bool) for one in cast)
    if not whole or list(cast) != sorted(set(cast)) or min(cast, default=0) < 0:
        got = list(cast) if isinstance(cast, tuple) else cast
        raise InputError(
            f"expected the members of the cast that a shot knows as rising numbers from 0, got {got!r}; write [0, 1], "
            "or [] for none"
        )
