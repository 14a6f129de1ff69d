"""Read and write `story.json`: what made a story, its tree of takes and its cast, as plain data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shotstream.core.atomic_files import write_json
from shotstream.core.config import from_dict, to_dict
from shotstream.core.errors import InputError
from shotstream.story.take_tree import StoryTree

RECORD_FILE = "story.json"
VERSION = 3


@dataclass(frozen=True)
class StoryIdentity:
    """All that, beside its shots and its cast, decides what a story looks like.

    `sampler` is plain data; `model` the fingerprint of the weights; `context` the name of the context selector.
    """

    global_caption: str
    seed: int
    height: int
    width: int
    sampler: Mapping[str, Any]
    model: str
    context: str = "dynamic"

    def difference(self, other: "StoryIdentity") -> str | None:
        """The first thing in which two stories differ, in words ("seed: 1 there, 2 here"); None where they are one."""
        here, there = (json.loads(json.dumps(to_dict(identity))) for identity in (self, other))
        differing = [name for name in here if here[name] != there[name]]
        return f"{differing[0]}: {there[differing[0]]!r} there, {here[differing[0]]!r} here" if differing else None


@dataclass(frozen=True)
class CastMember:
    """An image that a story remembers from the start: its caption, and the hash of its file."""

    caption: str
    sha256: str


@dataclass(frozen=True)
class StoryRecord:
    """Everything that is written down of a story."""

    version: int
    identity: StoryIdentity
    tree: StoryTree = field(default_factory=StoryTree)
    cast: tuple[CastMember, ...] = ()

    @property
    def begun(self) -> bool:
        """Whether there is something in it to lose."""
        return bool(self.tree.takes or self.cast)


def read_record(path: Path) -> StoryRecord:
    """What a `story.json` says.

    Raises:
        InputError: it is missing, damaged, or of another version.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path.parent} holds no story that can be read ({error.strerror}); check the path") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is damaged and holds no story; make the story anew") from error
    version = data.get("version") if isinstance(data, dict) else VERSION
    if version != VERSION:
        raise InputError(f"{path}: expected version {VERSION}, got {version!r}; make the story anew")
    return from_dict(StoryRecord, data, str(path))


def write_record(path: Path, record: StoryRecord) -> None:
    """Writes a `story.json`, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    write_json(path, to_dict(record))
