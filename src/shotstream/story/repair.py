"""Repair a story whose files were damaged: rebuild its record from its takes, and put takes back behind a remade one.

Each file of key frames carries a note that says which take it belongs to, of which story, and each picture of the cast
the caption with which it joined. `story.json` can be lost: they say the same, other than takes' branches that were left
for an earlier shot, and what became of the cast after the last take.
"""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from shotstream.core.atomic_files import hash_file, writing
from shotstream.core.config import from_dict, to_dict
from shotstream.core.errors import InputError
from shotstream.core.images import read_description
from shotstream.story.cast import CastMember
from shotstream.story.record import (
    RECORD_FILE,
    RECORD_VERSION,
    DamagedRecordError,
    StoryIdentity,
    StoryRecord,
    read_record,
    write_record,
)
from shotstream.story.take_files import TAKE_NAME, StoryFiles
from shotstream.story.take_tree import StoryTree, Take

NOTE = "shotstream"
_log = logging.getLogger(__name__)
_KEY_FRAMES_FILE = re.compile(rf"{TAKE_NAME}\.safetensors", re.ASCII)


@dataclass(frozen=True)
class TakeNote:
    """All that `story.json` says of a take and its story, as the take's file of key frames has it.

    `order` counts takes as they were made. `take.key_frames_sha256` is the hash of the pixels alone.
    """

    order: int
    identity: StoryIdentity
    cast: tuple[CastMember, ...]
    pictures: tuple[str, ...]
    take: Take


def pack_key_frames(pixels: Mapping[str, np.ndarray], record: StoryRecord, take: Take) -> bytes:
    """Return the file of a take's key frames: safetensors, with a note of what the take is."""
    tensors = {name: np.ascontiguousarray(values) for name, values in pixels.items()}
    noted = replace(take, key_frames_sha256=_hash_pixels(save(tensors)))
    written = TakeNote(len(record.tree.takes), record.identity, record.cast, record.pictures, noted)
    text = json.dumps(to_dict(written))
    note = json.dumps({"note": text, "sha256": hashlib.sha256(text.encode()).hexdigest()})
    return save(tensors, metadata={NOTE: note})


def load_record(directory: Path) -> StoryRecord:
    """Return the record of the story in a directory; where it is damaged, as far as the takes beside it say.

    Raises:
        InputError: there is no story, it is of another version, or neither the record nor a take can be read.
    """
    try:
        return read_record(directory / RECORD_FILE)
    except DamagedRecordError:
        rebuilt = rebuild_record(directory)
        if rebuilt is None:
            raise
        return rebuilt


def keep_rebuilt(files: StoryFiles, record: StoryRecord) -> None:
    """Write the record that `load_record` returned, where the one on disk is damaged; that one is kept beside it."""
    try:
        read_record(files.record)
    except DamagedRecordError:
        with writing(files.record):
            files.record.replace(files.record.with_suffix(".damaged.json"))
        write_record(files.record, record)
        cast = "; its cast is that of the last take, and who joined later, by the caption at the time"
        _log.warning(
            "%s was damaged and was rebuilt from the takes beside it%s", files.record, cast if record.cast else ""
        )


def rebuild_record(directory: Path) -> StoryRecord | None:
    """Return what the takes in a directory say of their story, standing on the branch of the latest; None without any.

    Where takes of several stories lie there, it is the story of the latest take.
    """
    names = sorted(path for path in directory.iterdir() if _KEY_FRAMES_FILE.fullmatch(path.name))
    notes = sorted((note for note in map(_read_note, names) if note), key=lambda note: note.order)
    if not notes:
        return None
    last = notes[-1]
    takes: dict[tuple[int, int], Take] = {}
    for note in notes:
        take = note.take
        known = take.parent is None if not take.shot else (take.shot - 1, take.parent) in takes
        if note.identity == last.identity and known:
            takes.setdefault((take.shot, take.take), take)
    tree = StoryTree(tuple(takes.values()))
    branches = [branch.takes for branch in tree.branches()]
    newest = max(branches, key=lambda branch: tree.takes.index(takes[len(branch) - 1, branch[-1]]), default=())
    return _with_late_cast(
        StoryRecord(RECORD_VERSION, last.identity, tree.switch(newest), last.cast, last.pictures), StoryFiles(directory)
    )


def _with_late_cast(record: StoryRecord, files: StoryFiles) -> StoryRecord:
    """Return a record with the members of the cast that joined after its last take, so that no take names them."""
    cast, pictures = list(record.cast), list(record.pictures)
    while caption := read_description(files.cast(len(pictures))):
        cast.append(CastMember(len(pictures), caption))
        pictures.append(hash_file(files.cast(len(pictures))))
    return replace(record, cast=tuple(cast), pictures=tuple(pictures))


def put_back(files: StoryFiles, record: StoryRecord, take: Take) -> StoryTree:
    """Put back the takes that were set aside with a damaged one, now that it was made again with the same result.

    Returns the tree with them, on the branch on which they were. Where the result is another, the others stay aside,
    because they go on from frames that are no more. The note beside its key frames may be another, because the story
    may have got another cast.
    """
    for aside in sorted(files.directory.glob("set-aside-*"), reverse=True):
        with suppress(InputError):
            old = read_record(aside / RECORD_FILE)
            same = (replace(one, key_frames_sha256=take.key_frames_sha256) for one in old.tree.takes)
            if take in same and old.identity == record.identity:
                return _with_takes_of(files, record.tree, StoryFiles(aside), old.tree)
    return record.tree


def _with_takes_of(files: StoryFiles, tree: StoryTree, aside: StoryFiles, old: StoryTree) -> StoryTree:
    places = {(take.shot, take.take) for take in tree.takes}
    for take in old.takes:
        if (take.shot - 1, take.parent) in places and (take.shot, take.take) not in places and aside.holds(take):
            places.add((take.shot, take.take))
            tree = StoryTree((*tree.takes, take), tree.branch)
            with writing(files.directory):
                for path in aside.files_of(take):
                    path.rename(files.directory / path.name)
    shots = len(tree.branch)
    if old.branch[:shots] == tree.branch:
        there = next((shot for shot, number in enumerate(old.branch) if (shot, number) not in places), len(old.branch))
        tree = tree.switch(old.branch[: max(shots, there)])
    return tree


def _read_note(path: Path) -> TakeNote | None:
    """Return the note of a file of key frames whose pixels are as they were written; None of any other file."""
    try:
        with safe_open(path, "np") as file:
            told = json.loads((file.metadata() or {}).get(NOTE, "null"))
        if not isinstance(told, dict) or hashlib.sha256(told["note"].encode()).hexdigest() != told["sha256"]:
            return None
        note = from_dict(TakeNote, json.loads(told["note"]), path.name)
        if note.take.key_frames_sha256 != _hash_pixels(path.read_bytes()):
            return None
        return replace(note, take=replace(note.take, key_frames_sha256=hash_file(path)))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _hash_pixels(safetensors: bytes) -> str:
    """Return the SHA-256 of the tensors of a safetensors file, without its header."""
    header = int.from_bytes(safetensors[:8], "little")
    return hashlib.sha256(safetensors[8 + header :]).hexdigest()
