"""Read and write `story.json`: what made a story, its tree of takes and its cast, as plain data."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shotstream.core.atomic_files import write_json
from shotstream.core.config import from_dict, to_dict
from shotstream.core.errors import InputError
from shotstream.story.cast import CastMember
from shotstream.story.take_tree import StoryTree

RECORD_FILE = "story.json"
RECORD_VERSION = 5
CHECKSUM = "sha256"


@dataclass(frozen=True)
class StoryIdentity:
    """All that, beside its shots and its cast, decides what a story looks like.

    `sampler` is plain data; `model` the fingerprint of the weights; `context` the name of the context selector;
    `policy` that of the policy.
    """

    global_caption: str
    seed: int
    height: int
    width: int
    sampler: Mapping[str, Any]
    model: str
    context: str = "dynamic"
    policy: str = "shotstream"
    negative_prompt: str = ""

    @property
    def guidance(self) -> float | None:
        """Return the scale of guidance that the shots are made with; None: without guidance."""
        scale: float = self.sampler.get("guidance", 1.0)
        return None if scale == 1 else scale

    def difference(self, other: "StoryIdentity") -> str | None:
        """Return the first thing in which stories differ, in words ("seed: 1 there, 2 here"); None if they are one."""
        here, there = (json.loads(json.dumps(to_dict(identity))) for identity in (self, other))
        differing = [name for name in here if here[name] != there[name]]
        return f"{differing[0]}: {there[differing[0]]!r} there, {here[differing[0]]!r} here" if differing else None


@dataclass(frozen=True)
class StoryRecord:
    """Everything that is written down of a story.

    `cast` is what shots to come may know. `pictures` has, by number, the hash of the picture of every member that there
    ever was, because takes had those that left, too.
    """

    version: int
    identity: StoryIdentity
    tree: StoryTree = field(default_factory=StoryTree)
    cast: tuple[CastMember, ...] = ()
    pictures: tuple[str, ...] = ()

    @property
    def begun(self) -> bool:
        """Return whether the story has takes, or pictures of a cast."""
        return bool(self.tree.takes or self.pictures)


class DamagedRecordError(InputError):
    """A `story.json` that is not as it was written."""


def read_record(path: Path) -> StoryRecord:
    """Return what a `story.json` says.

    Raises:
        DamagedRecordError: it is not as it was written.
        InputError: it is missing, or of another version.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path.parent} holds no story that can be read ({error.strerror}); check the path") from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(data, dict):
        raise _damaged(path)
    checksum, version = data.pop(CHECKSUM, None), data.get("version")
    if checksum is None and version != RECORD_VERSION:
        raise InputError(f"{path}: expected version {RECORD_VERSION}, got {version!r}; make the story anew")
    if checksum != _hash(data):
        raise _damaged(path)
    return from_dict(StoryRecord, data, str(path))


def write_record(path: Path, record: StoryRecord) -> None:
    """Write a `story.json`, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    write_json(path, record_to_dict(record))


def record_to_dict(record: StoryRecord) -> dict[str, Any]:
    """Return the plain data of a `story.json`, with its checksum."""
    return add_checksum(to_dict(record))


def add_checksum(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain data of a record with the checksum of all the rest, in place of one that it has."""
    rest = {name: value for name, value in data.items() if name != CHECKSUM}
    return {**rest, CHECKSUM: _hash(rest)}


def _hash(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path) -> DamagedRecordError:
    return DamagedRecordError(f"{path} is damaged, and so is every take beside it; make the story anew")
