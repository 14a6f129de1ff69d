"""A story as a person writes it: one global caption, and a text and a length for every shot."""

from dataclasses import asdict, dataclass
from typing import Any

import yaml

from shotstream.core.errors import InputError
from shotstream.story.shot_spec import ShotSpec, check_seed, check_text


@dataclass(frozen=True)
class CastEntry:
    """A picture of the cast: its file, and what it shows."""

    image: str
    caption: str

    def __post_init__(self) -> None:
        check_text(self.image, "the image of a cast member")
        check_text(self.caption, "the caption of a cast member")


@dataclass(frozen=True)
class Script:
    """A story to be made; `seed` None leaves the choice to whoever makes it, `cast` is there from the first shot on.

    Raises:
        InputError: no shot, a seed that is no whole number from 0 to 2^63 - 1, or a shot that knows a member whom the
            cast lacks.
    """

    global_caption: str
    shots: tuple[ShotSpec, ...]
    seed: int | None = None
    cast: tuple[CastEntry, ...] = ()
    guidance: float | None = None
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        check_text(self.global_caption, "the global caption", may_be_empty=True)
        check_text(self.negative_prompt, "the negative prompt", may_be_empty=True)
        guidance = self.guidance
        if guidance is not None and (isinstance(guidance, bool) or not isinstance(guidance, int | float)):
            raise InputError(f"expected guidance to be a number, got {guidance!r}; leave it out for the model's")
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
    head = {"global": script.global_caption, **seed, **guidance, **negative, **cast}
    return {**head, "shots": [_shot_to_dict(shot) for shot in script.shots]}


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
