"""Characters, shots and stories of StoryWorld: the ground truth from which every frame is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shotstream.core import config
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.world.traits import (
    LANDMARKS,
    SLOTS,
    Accessory,
    Action,
    Camera,
    Colour,
    Framing,
    Pattern,
    Place,
    Species,
    Time,
)

WORLD_VERSION = 2
"""Counts changes of how the same story looks: what was made of an earlier world is of another one."""


@dataclass(frozen=True)
class Character:
    """Somebody in a story. Accessory and pattern are hidden: captions never name them."""

    species: Species
    colour: Colour
    accessory: Accessory
    pattern: Pattern


@dataclass(frozen=True)
class WorldShot:
    """One shot: `cast` has indices into the story's characters; all of them do the one action."""

    cast: tuple[int, ...]
    framing: Framing
    camera: Camera
    action: Action
    chunks: int
    seed: int = 0
    """Decides where they stand, which way they look and when they blink."""

    def __post_init__(self) -> None:
        PAPER_SHOT.check_chunks(self.chunks)
        if not 1 <= len(self.cast) <= 2 or len(set(self.cast)) != len(self.cast):
            raise InputError(f"expected one or two different characters in a shot, got cast {list(self.cast)}")

    @property
    def frames(self) -> int:
        """Length in frames: 12 chunks - 3, because the world counts in the paper's chunks whatever model learns it."""
        return PAPER_SHOT.frames_of_chunks(self.chunks)


@dataclass(frozen=True)
class WorldStory:
    """One or two characters in one place at one time of day, over some shots.

    `layout` names the landmark in each of the three slots of the place (hidden); `seed` decides the rest of the
    scenery: the profile of the hills, clouds and stars.
    """

    characters: tuple[Character, ...]
    place: Place
    time: Time
    layout: tuple[str, str, str]
    shots: tuple[WorldShot, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.characters) <= 2:
            raise InputError(f"expected one or two characters, got {len(self.characters)}")
        if len({character.species for character in self.characters}) < len(self.characters):
            raise InputError("expected two characters of different species; change one of them")
        if len({character.colour for character in self.characters}) < len(self.characters):
            raise InputError("expected two characters of different colours; change one of them")
        if not self.shots:
            raise InputError("expected a story of at least one shot, got none")
        for slot, landmark in zip(SLOTS, self.layout, strict=True):
            if landmark not in LANDMARKS[self.place]:
                known = ", ".join(LANDMARKS[self.place])
                raise InputError(f"expected one of {known} in the {slot} of the {self.place}, got '{landmark}'")
        for shot in self.shots:
            if max(shot.cast) >= len(self.characters) or min(shot.cast) < 0:
                raise InputError(f"cast {list(shot.cast)} names a character the story of {len(self.characters)} lacks")

    @property
    def frames(self) -> int:
        """Length of all shots in frames."""
        return sum(shot.frames for shot in self.shots)

    def cast_of(self, shot_index: int) -> tuple[Character, ...]:
        """Return the characters of a shot, in the order of its cast."""
        return tuple(self.characters[index] for index in self.shots[shot_index].cast)

    def to_dict(self) -> dict[str, Any]:
        """Return the ground truth as plain data for JSON."""
        return config.to_dict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "story") -> "WorldStory":
        """Build a story from the data of `to_dict`.

        Raises:
            InputError: a key or a value is not one of StoryWorld's.
        """
        return config.from_dict(cls, data, where)
