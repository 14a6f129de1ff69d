"""Read a story from an uploaded zip. Nothing in it is trusted.

No name of the archive becomes a path: the record says which files there are, and their names are ours. Sizes are
counted while they are unpacked. Videos and pictures must begin as what they are called, so that no other reader of
FFmpeg is ever asked; exact key frames are safetensors of the one shape they can have.
"""

import lzma
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from shotstream.core.atomic_files import make_directory, writing
from shotstream.core.errors import InputError
from shotstream.core.spec import VideoSize, made_of_chunks
from shotstream.core.video import holds_frames, probe_video
from shotstream.model.config import MAX_GUIDANCE
from shotstream.serve.errors import RequestError
from shotstream.serve.exports import story_files
from shotstream.serve.limits import Limits
from shotstream.serve.messages import MOST
from shotstream.serve.store import StoryRow, begin_row
from shotstream.story.record import RECORD_FILE, StoryIdentity, StoryRecord, read_record
from shotstream.story.relevance import check_selector
from shotstream.story.shot_spec import check_seed, check_text
from shotstream.story.take_files import StoryFiles
from shotstream.story.take_tree import Take

MAGIC = {".mkv": b"\x1a\x45\xdf\xa3", ".png": b"\x89PNG\r\n\x1a\n", ".safetensors": b""}
RECORD_BYTES = 16 * 2**20
MAX_SIDE = 2048
_PIECE = 2**20
_DAMAGES = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError, EOFError, OSError)
"""Errors that the readers of a damaged zip raise; NotImplementedError: one of a compression that they do not know."""


def unpack(archive: Path, directory: Path, limits: Limits) -> StoryRow:
    """Unpack a story's zip into a new directory, check its files, and return a row for the story.

    Raises:
        InputError: it is no such zip, holds too much, or its files are not what its record says.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            return _unpack(source, make_directory(directory), limits)
    except _DAMAGES as error:
        raise RequestError("invalid", "This file is no story's zip, or is damaged. Export the story again.") from error


def _unpack(source: zipfile.ZipFile, directory: Path, limits: Limits) -> StoryRow:
    budget = _Budget(limits.import_bytes)
    budget.copy(source, RECORD_FILE, directory / RECORD_FILE, RECORD_BYTES)
    record = _read(directory / RECORD_FILE)
    row = _row(record, limits)
    for path in story_files(directory, record):
        budget.copy(source, path.name, path, limits.import_bytes)
        with path.open("rb") as file:
            begins = file.read(8).startswith(MAGIC[path.suffix])
        if not begins:
            raise RequestError("invalid", f"{path.name} is not what its name says; export the story again")
    _check_files(directory, record)
    return row


def _read(path: Path) -> StoryRecord:
    try:
        return read_record(path)
    except InputError as error:
        reason = str(error).replace(f"{path.parent}/", "")
        raise RequestError("invalid", f"the zip holds no story that can be read ({reason}); export it again") from error


def _row(record: StoryRecord, limits: Limits) -> StoryRow:
    identity, takes = record.identity, record.tree.takes
    check_selector(identity.context)
    VideoSize(identity.height, identity.width)
    members = [*record.cast, *(member for take in takes for member in take.cast)]
    texts = [identity.global_caption, *(take.spec.text for take in takes), *(member.caption for member in members)]
    texts += [identity.negative_prompt] if identity.negative_prompt else []
    texts += [steer.text for take in takes for steer in take.spec.steers]
    if any(len(check_text(text, "a caption")) > limits.text for text in texts):
        raise RequestError("too_large", f"A caption in it is longer than {limits.text} characters. Shorten it.")
    if max(identity.height, identity.width) > MAX_SIDE or max(len(takes), len(record.pictures)) > limits.shots:
        raise RequestError("too_large", f"It can have {limits.shots} shots, and {MAX_SIDE} pixels a side. Send less.")
    if any(take.spec.chunks > limits.chunks for take in takes):
        raise RequestError("too_large", f"A shot in it is longer than {limits.chunks} chunks. Send shorter ones.")
    pictured = all(0 <= member.number < len(record.pictures) for member in members)
    if not pictured or not all(map(_is_sound, takes)):
        raise RequestError("invalid", "The takes in the zip are not numbered as takes are. Export the story again.")
    current = record.tree.current
    row = begin_row(
        identity.global_caption, check_seed(identity.seed), identity.context, identity.height, identity.width
    )
    row = replace(row, guidance=_guidance(identity), negative_prompt=identity.negative_prompt)
    return replace(row, shots=len(current), frames=sum(take.length_frames for take in current))


def _guidance(identity: StoryIdentity) -> float:
    """Return the scale of guidance that a story was made with.

    Raises:
        RequestError: it is no such number.
    """
    scale = identity.sampler.get("guidance", 1.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 1 <= scale <= MAX_GUIDANCE:
        raise RequestError("invalid", "the story's guidance is no number from 1 to 30; export the story again")
    return float(scale)


def _is_sound(take: Take) -> bool:
    """Return whether a take has a seed, and numbers and a length that a finished shot can have."""
    counted = all(0 <= number <= MOST for number in (take.shot, take.take, take.spec.chunks, take.length_frames))
    return counted and take.spec.seed is not None and made_of_chunks(take.length_frames, take.spec.chunks)


class _Budget:
    """Limit on the bytes of an import that are unpacked."""

    def __init__(self, most: int) -> None:
        self._left = most

    def copy(self, source: zipfile.ZipFile, name: str, target: Path, most: int) -> None:
        """Unpack one file, at most `most` bytes; the bytes are counted, the size that the zip states is not trusted.

        Raises:
            RequestError: the zip lacks the file, or it is too large.
        """
        try:
            entry = source.open(name)
        except KeyError as error:
            raise RequestError("invalid", f"The zip lacks {name}. Export the story again.") from error
        with entry, writing(target), target.open("xb") as file:
            self._copy(entry, file, min(most, self._left))

    def _copy(self, entry: IO[bytes], file: IO[bytes], most: int) -> None:
        while piece := entry.read(_PIECE):
            most, self._left = most - len(piece), self._left - len(piece)
            if most < 0:
                raise RequestError("too_large", "the zip unpacks to more than is allowed; send a shorter story")
            file.write(piece)


def _check_files(directory: Path, record: StoryRecord) -> None:
    """Check that every file has the hash given in the record, and the size of the story."""
    files, shape = StoryFiles(directory), (record.identity.height, record.identity.width)
    sound = all(files.holds(take) for take in record.tree.takes) and all(
        files.holds_cast(number, sha256) for number, sha256 in enumerate(record.pictures)
    )
    if not sound:
        raise RequestError("invalid", "a file of the zip is damaged; export the story again")
    for take in record.tree.takes:
        video = files.video(take.shot, take.take)
        info = probe_video(video)
        if not holds_frames(video, take.length_frames):
            raise RequestError("invalid", f"{video.name} has another length than its story says; export it again")
        exact = _key_frames(files.key_frames(take.shot, take.take))
        if (info.height, info.width) != shape or any(
            pixels.dtype != np.float32 or pixels.shape != (3, *shape) for pixels in exact
        ):
            raise RequestError("invalid", "a file of the zip has another size than its story; export it again")


def _key_frames(path: Path) -> list[np.ndarray]:
    try:
        return list(load_file(path).values())
    except SafetensorError as error:
        raise RequestError("invalid", f"{path.name} cannot be read; export the story again") from error
