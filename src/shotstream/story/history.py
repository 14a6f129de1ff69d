"""What a story has made so far, on disk and without loss: any frame of any shot can be read back exactly.

A directory holds one `shot-NNN.mkv` a shot, `shot-NNN.safetensors` with the exact pixels of its key frames (the only
ones that can become context, which 8 bits a channel would change), and `story.json`, which says what made them. A shot
counts once `story.json` names it, so that a process killed at any moment leaves the shots before it. Nothing of a
frame stays in memory: a story may have any number of shots.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from shotstream.core.config import from_dict, to_dict
from shotstream.core.errors import InputError
from shotstream.core.files import make_directory, remove_partials, write_bytes, write_json, writing
from shotstream.core.media import Frames, check_frames, read_video, write_video
from shotstream.core.spec import FPS
from shotstream.story.context import FrameRef, PastShot

RECORD_FILE = "story.json"


@dataclass(frozen=True)
class StoryIdentity:
    """All that, beside its shots' captions and lengths, decides what a story looks like.

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
class FinishedShot:
    """A shot as it was made: `caption` is its own text, `seed` that of its noise, `frames` uint8 `[n, h, w, 3]`.

    `key_frames` has, by frame, the float32 pixels `[3, h, w]` in [-1, 1] of all frames that may become context.
    """

    index: int
    caption: str
    seed: int
    chunks: int
    frames: Frames
    key_frames: Mapping[int, NDArray[np.float32]]


@dataclass(frozen=True)
class ShotRecord:
    """What is written down of a finished shot; the hashes are of its files."""

    caption: str
    seed: int
    chunks: int
    length_frames: int
    sha256: str
    key_frames_sha256: str


@dataclass(frozen=True)
class _StoryRecord:
    version: int
    identity: StoryIdentity
    shots: tuple[ShotRecord, ...]


VERSION = 1


class History:
    """The shots of one story, in order. Made by `create`, `open` or `open_or_create`; a context manager."""

    def __init__(
        self,
        identity: StoryIdentity,
        directory: Path,
        records: Sequence[ShotRecord],
        temporary: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.identity = identity
        self.directory = directory
        self.dropped = 0
        self._records = list(records)
        self._temporary = temporary

    @classmethod
    def create(cls, identity: StoryIdentity, directory: str | Path | None = None) -> Self:
        """A history without shots.

        Args:
            identity: what makes the story.
            directory: where it lives, made where it is missing; None: a temporary one, removed by `close`.

        Raises:
            InputError: the directory holds a story already, or cannot be written.
        """
        if directory is None:
            temporary = tempfile.TemporaryDirectory(prefix="shotstream-")
            return cls(identity, Path(temporary.name), [], temporary)
        path = make_directory(Path(directory))
        if (path / RECORD_FILE).exists():
            raise InputError(f"{path} holds a story already; go on with it, or remove it first")
        history = cls(identity, path, [])
        history._write_record()
        return history

    @classmethod
    def open(cls, directory: str | Path) -> Self:
        """The story in a directory. Shots from the first missing or damaged one on are dropped (`dropped` counts them).

        Raises:
            InputError: there is no story, or its record cannot be read.
        """
        path = Path(directory)
        record = _read_record(path / RECORD_FILE)
        remove_partials(path)
        history = cls(record.identity, path, record.shots)
        whole = next(
            (index for index in range(len(record.shots)) if not history._is_whole(index)),
            len(record.shots),
        )
        history.dropped = len(record.shots) - whole
        history.truncate(whole)
        return history

    @classmethod
    def open_or_create(cls, identity: StoryIdentity, directory: str | Path | None = None) -> Self:
        """The story in a directory, which must be this one, or a new one where there is none.

        Raises:
            InputError: the story there has another identity (says in what), or the directory cannot be used.
        """
        if directory is None or not (Path(directory) / RECORD_FILE).exists():
            return cls.create(identity, directory)
        history = cls.open(directory)
        difference = identity.difference(history.identity)
        if difference:
            raise InputError(f"{directory} holds another story ({difference}); make it anew or use another directory")
        return history

    @property
    def records(self) -> tuple[ShotRecord, ...]:
        """What is known of every shot."""
        return tuple(self._records)

    @property
    def lengths(self) -> list[int]:
        """Frames of every shot."""
        return [record.length_frames for record in self._records]

    @property
    def past(self) -> list[PastShot]:
        """The shots as a context selector sees them."""
        return [PastShot(index, record.length_frames, record.caption) for index, record in enumerate(self._records)]

    def __len__(self) -> int:
        """Number of finished shots."""
        return len(self._records)

    def shot_file(self, shot_index: int) -> Path:
        """The lossless video of a shot."""
        return self.directory / f"shot-{shot_index:03d}.mkv"

    def key_frames_file(self, shot_index: int) -> Path:
        """The exact key frames of a shot."""
        return self.shot_file(shot_index).with_suffix(".safetensors")

    def add(self, shot: FinishedShot) -> None:
        """Appends a shot. It is kept whole or not at all.

        Raises:
            InputError: it is not the next shot, its frames have another size than the story, or the disk is full.
        """
        if shot.index != len(self):
            raise InputError(f"expected shot {len(self)} of the story, got shot {shot.index}; add shots in order")
        frames = check_frames(shot.frames)
        height, width = self.identity.height, self.identity.width
        if frames.shape[1:3] != (height, width):
            raise InputError(
                f"expected frames of {width}x{height}, got {frames.shape[2]}x{frames.shape[1]}; resize them"
            )
        path = self.shot_file(shot.index)
        write_video(path, frames, FPS, lossless=True)
        exact = self.key_frames_file(shot.index)
        write_bytes(exact, save({str(frame): np.ascontiguousarray(p) for frame, p in shot.key_frames.items()}))
        hashes = (_hash(path), _hash(exact))
        self._records.append(ShotRecord(shot.caption, shot.seed, shot.chunks, len(frames), *hashes))
        try:
            self._write_record()
        except BaseException:
            self._records.pop()
            raise

    def frames(self, shot_index: int, frame_indices: Sequence[int] | None = None) -> Frames:
        """Frames of a shot as they were added, `[n, h, w, 3]`; None: all of them.

        Raises:
            InputError: there is no such shot or frame, or the file was damaged meanwhile.
        """
        if not 0 <= shot_index < len(self):
            raise InputError(f"expected a shot from 0 to {len(self) - 1}, got {shot_index}")
        return read_video(self.shot_file(shot_index), frame_indices)

    def read_key_frames(self, refs: Sequence[FrameRef]) -> NDArray[np.float32]:
        """The pixels in [-1, 1] of the frames that a context selector chose, in its order, `[n, 3, h, w]`.

        Raises:
            InputError: there is no such shot, or the frame is not a key frame of it.
        """
        found = []
        for ref in refs:
            if not 0 <= ref.shot < len(self):
                raise InputError(f"expected a shot from 0 to {len(self) - 1}, got {ref.shot}")
            with safe_open(self.key_frames_file(ref.shot), "np") as file:
                if str(ref.frame) not in file.keys():  # noqa: SIM118 (a safetensors file is no mapping)
                    kept = ", ".join(sorted(file.keys(), key=int))
                    raise InputError(f"shot {ref.shot}: expected one of its key frames {kept}, got {ref.frame}")
                found.append(file.get_tensor(str(ref.frame)))
        return np.stack(found)

    def all_frames(self) -> Iterator[Frames]:
        """The whole story, shot by shot."""
        return (self.frames(index) for index in range(len(self)))

    def truncate(self, shots: int) -> None:
        """Keeps the first `shots` shots and removes all later ones (to take a shot back, or to make it again).

        Raises:
            InputError: the directory cannot be written.
        """
        if shots >= len(self):
            return
        files = (self.shot_file, self.key_frames_file)
        stale = [file(index) for index in range(shots, len(self)) for file in files]
        del self._records[shots:]
        self._write_record()
        for path in stale:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Removes a temporary directory; a story in a directory of its own stays."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_whole(self, shot_index: int) -> bool:
        record = self._records[shot_index]
        files = {self.shot_file(shot_index): record.sha256, self.key_frames_file(shot_index): record.key_frames_sha256}
        return all(path.is_file() and _hash(path) == wanted for path, wanted in files.items())

    def _write_record(self) -> None:
        record = _StoryRecord(VERSION, self.identity, self.records)
        write_json(self.directory / RECORD_FILE, to_dict(record))


def remove_story(directory: Path) -> None:
    """Removes a story's record and shots from a directory, and leaves what else lies there.

    Raises:
        InputError: they cannot be removed.
    """
    with writing(directory):
        shots = (sorted(directory.glob(f"shot-[0-9][0-9][0-9]*{suffix}")) for suffix in (".mkv", ".safetensors"))
        for path in (directory / RECORD_FILE, *chain.from_iterable(shots)):
            path.unlink(missing_ok=True)


def _read_record(path: Path) -> _StoryRecord:
    try:
        data = json.loads(path.read_bytes())
        if isinstance(data, dict) and data.get("version") != VERSION:
            raise InputError(f"{path}: expected version {VERSION}, got {data.get('version')!r}; make the story anew")
    except OSError as error:
        raise InputError(f"{path.parent} holds no story that can be read ({error.strerror}); check the path") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is damaged and holds no story; make the story anew") from error
    return from_dict(_StoryRecord, data, str(path))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
