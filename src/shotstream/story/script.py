"""A story as a person writes it: one global caption, and a text and a length for every shot."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import yaml

from shotstream.core.errors import InputError
from shotstream.model.config import check_guidance
from shotstream.story.shot_spec import ShotSpec, check_seed, check_text

MAX_TITLE = 200
MAX_SCALE = 6
MAX_FADE_FRAMES = 32
FILTERS = ("nearest", "lanczos")


@dataclass(frozen=True)
class CastEntry:
    """A picture of the cast: its file, and what it shows."""

    image: str
    caption: str

    def __post_init__(self) -> None:
        check_text(self.image, "the image of a cast member")
        check_text(self.caption, "the caption of a cast member")


@dataclass(frozen=True)
class ScriptExport:
    """The finished video of a script: what is done to the frames of its shots, and the sound under them.

    Attributes:
        scale: how many times as wide and high as the story.
        filter: nearest for pixel art, lanczos for anything else.
        fade: frames for which one shot fades into the next; the video gets so much shorter at each cut.
        soundtrack: an audio file; None: no sound.

    Raises:
        InputError: a value is none of these.
    """

    scale: int = 1
    filter: str = "nearest"
    fade: int = 0
    soundtrack: str | None = None

    def __post_init__(self) -> None:
        for name, value, least, most in (("scale", self.scale, 1, MAX_SCALE), ("fade", self.fade, 0, MAX_FADE_FRAMES)):
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise InputError(f"expected {name} to be a whole number from {least} to {most}, got {value!r}")
        if self.filter not in FILTERS:
            raise InputError(f"expected the filter {' or '.join(FILTERS)}, got {self.filter!r}; choose one of them")
        if self.soundtrack is not None:
            check_text(self.soundtrack, "the soundtrack")

    def check_fade(self, lengths: Sequence[int]) -> None:
        """Check that shots of these lengths (frames) can fade into each other.

        Raises:
            InputError: one is too short to fade in and out.
        """
        shortest = min(lengths)
        if len(lengths) > 1 and 2 * self.fade > shortest:
            raise InputError(
                f"A fade of {self.fade} frames is too long: the shortest shot has {shortest} frames, and fades in and "
                f"out. Take at most {shortest // 2} frames."
            )


@dataclass(frozen=True)
class Script:
    """A story to be made; without `seed` the caller chooses one, `cast` is there from the first shot on.

    Raises:
        InputError: no shot, a seed that is no whole number from 0 to 2^63 - 1, guidance that is not from 1 to 30, or a
            shot that knows a member whom the cast lacks.
    """

    global_caption: str
    shots: tuple[ShotSpec, ...]
    seed: int | None = None
    cast: tuple[CastEntry, ...] = ()
    guidance: float | None = None
    negative_prompt: str = ""
    title: str = ""
    export: ScriptExport = field(default_factory=ScriptExport)

    def __post_init__(self) -> None:
        check_title(self.title)
        check_text(self.global_caption, "the global caption", may_be_empty=True)
        check_text(self.negative_prompt, "the negative prompt", may_be_empty=True)
        if self.guidance is not None:
            check_guidance(self.guidance)
        if not self.shots:
            raise InputError("expected at least one shot, got none; add a shot with a text")
        if self.seed is not None:
            check_seed(self.seed)
        for number, shot in enumerate(self.shots, start=1):
            if shot.cast and shot.cast[-1] >= len(self.cast):
                there = f"0 to {len(self.cast) - 1}" if self.cast else "nobody"
                raise InputError(f"shot {number} knows member {shot.cast[-1]} of a cast that has {there}; add them")


def script_to_dict(script: Script) -> dict[str, Any]:
    """Return a script as plain data in the layout of its YAML."""
    seed = {} if script.seed is None else {"seed": script.seed}
    cast = {"cast": [asdict(entry) for entry in script.cast]} if script.cast else {}
    guidance = {} if script.guidance is None else {"guidance": script.guidance}
    negative = {"negative_prompt": script.negative_prompt} if script.negative_prompt else {}
    title = {"title": script.title} if script.title else {}
    given = {name: value for name, value in asdict(script.export).items() if value != getattr(ScriptExport, name)}
    export = {"export": given} if given else {}
    head = {**title, "global": script.global_caption, **seed, **guidance, **negative, **cast, **export}
    return {**head, "shots": [_shot_to_dict(shot) for shot in script.shots]}


def check_title(title: Any) -> str:
    """Return a title without space around it; an empty one is none.

    Raises:
        InputError: it is no text, longer than 200 characters, or holds a control character.
    """
    plain = check_text(title, "a title", may_be_empty=True).strip()
    if len(plain) > MAX_TITLE:
        raise InputError(f"A title has at most {MAX_TITLE} characters, this one has {len(plain)}. Shorten it.")
    return plain


def format_script(script: Script) -> str:
    """Return a script as YAML, which `script_files.load_scripts` reads back to an equal script."""
    return yaml.safe_dump(script_to_dict(script), sort_keys=False, allow_unicode=True, width=100)


def _shot_to_dict(shot: ShotSpec) -> dict[str, Any]:
    plain: dict[str, Any] = {"text": shot.text, "chunks": shot.chunks}
    if shot.extend:
        plain["extend"] = True
    if shot.seed is not None:
        plain["seed"] = shot.seed
    if shot.cast is not None:
        plain["cast"] = list(shot.cast)
    if shot.steers:
        plain["steer"] = [asdict(steer) for steer in shot.steers]
    return plain
