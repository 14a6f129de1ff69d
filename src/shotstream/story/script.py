"""A story as a person writes it: one global caption, and a text and a length for every shot."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from shotstream.core.errors import InputError
from shotstream.core.spec import check_chunks

DEFAULT_CHUNKS = 3
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
class ScriptShot:
    """One shot: what is seen in it, and its length in chunks (1 to 7, any with `extend`; n chunks are 12 n - 3 frames).

    `seed` is that of its noise where it has its own, `cast` how many members of the cast it knows where not all.
    `steer` says what its caption becomes while it is made.
    """

    text: str
    chunks: int = DEFAULT_CHUNKS
    extend: bool = False
    seed: int | None = None
    cast: int | None = None
    steer: tuple[Steer, ...] = ()

    def __post_init__(self) -> None:
        check_text(self.text, "the text of a shot")
        if not isinstance(self.extend, bool):
            raise InputError(f"expected extend to be true or false, got {self.extend!r}; leave it out for false")
        check_length(self.chunks, extend=self.extend)
        if self.seed is not None:
            check_seed(self.seed)
        if self.cast is not None and (isinstance(self.cast, bool) or not isinstance(self.cast, int) or self.cast < 0):
            raise InputError(f"expected how many of the cast a shot knows, got {self.cast!r}; use a whole number")
        places = [-1, *(steer.at for steer in self.steer)]
        if places != sorted(set(places)) or places[-1] >= self.chunks:
            raise InputError(
                f"expected to steer at rising chunks before {self.chunks}, got {places[1:]}; put them in order"
            )


@dataclass(frozen=True)
class CastEntry:
    """A picture that the story remembers: its file, and what it shows."""

    image: str
    caption: str

    def __post_init__(self) -> None:
        check_text(self.image, "the image of a cast member")
        check_text(self.caption, "the caption of a cast member")


@dataclass(frozen=True)
class Script:
    """A story to be made; `seed` None leaves the choice to whoever makes it, `cast` is there from the first shot on.

    Raises:
        InputError: no shot, an empty caption, or a seed that is no whole number from 0 to 2^63 - 1.
    """

    global_caption: str
    shots: tuple[ScriptShot, ...]
    seed: int | None = None
    cast: tuple[CastEntry, ...] = ()

    def __post_init__(self) -> None:
        check_text(self.global_caption, "the global caption")
        if not self.shots:
            raise InputError("expected at least one shot, got none; add a shot with a text")
        if self.seed is not None:
            check_seed(self.seed)
        most = max((shot.cast or 0 for shot in self.shots), default=0)
        if most > len(self.cast):
            raise InputError(f"a shot knows {most} members of the cast, there are {len(self.cast)}; add them")


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


def check_length(chunks: Any, *, extend: bool) -> int:
    """The length of a shot in chunks, checked.

    Raises:
        InputError: it is not a whole number from 1 to 7, or with `extend` from 1 on.
    """
    if not extend:
        return check_chunks(chunks)
    if isinstance(chunks, bool) or not isinstance(chunks, int) or chunks < 1:
        raise InputError(f"expected a shot of at least 1 chunk, got {chunks!r}; use a whole number")
    return chunks


def script_to_dict(script: Script) -> dict[str, Any]:
    """Plain data of a script in the layout of its YAML; `script_from_dict` reads it back."""
    seed = {} if script.seed is None else {"seed": script.seed}
    cast = {"cast": [asdict(entry) for entry in script.cast]} if script.cast else {}
    return {"global": script.global_caption, **seed, **cast, "shots": [_shot_to_dict(shot) for shot in script.shots]}


def script_from_dict(data: Mapping[str, Any]) -> Script:
    """The inverse of `script_to_dict`, for data of our own.

    Raises:
        InputError: as for `Script`.
    """
    shots = tuple(
        ScriptShot(**{**shot, "steer": tuple(Steer(**steer) for steer in shot.get("steer", ()))})
        for shot in data["shots"]
    )
    cast = tuple(CastEntry(**entry) for entry in data.get("cast", ()))
    return Script(data["global"], shots, data.get("seed"), cast)


def format_script(script: Script) -> str:
    """The script as YAML that `loading.load_scripts` reads back to an equal one."""
    return yaml.safe_dump(script_to_dict(script), sort_keys=False, allow_unicode=True, width=100)


def _shot_to_dict(shot: ScriptShot) -> dict[str, Any]:
    plain: dict[str, Any] = {"text": shot.text, "chunks": shot.chunks}
    if shot.extend:
        plain["extend"] = True
    for name in ("seed", "cast"):
        if getattr(shot, name) is not None:
            plain[name] = getattr(shot, name)
    if shot.steer:
        plain["steer"] = [asdict(steer) for steer in shot.steer]
    return plain
