"""Keep a story's finished shots on disk without loss: any frame of any shot can be read back exactly.

A directory holds one `shot-NNN.mkv` a shot, `shot-NNN.safetensors` with the exact pixels of its key frames (the only
ones that can become context, which 8 bits a channel would change), and `story.json`, which says what made them. Further
takes of a shot are `shot-NNN.take-N.mkv`, members of the cast `cast-NNN.png` with their captions in it. A take counts
once `story.json` names it, which also says on which branch the story stands: a process killed at any moment leaves the
takes before it and the branch it was on. Nothing of a frame stays in memory: a story may have any number of shots.
Takes of which a file is missing or damaged are set aside with all that goes on from them, in `set-aside-NNN`; nothing
is removed. When such a take is made again and is the same, those that go on from it are put back. A damaged record is
rebuilt (`story.repair`).
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from shotstream.core.atomic_files import hash_file, make_directory, remove_partials, write_bytes
from shotstream.core.background_writer import BackgroundVideoWriter
from shotstream.core.errors import InputError
from shotstream.core.images import read_image, write_png
from shotstream.core.spec import FPS
from shotstream.core.video import Frame, Frames, check_frames, iter_video, read_video
from shotstream.story.cast import CastMember, fit_picture
from shotstream.story.record import (
    RECORD_FILE,
    RECORD_VERSION,
    StoryIdentity,
    StoryRecord,
    write_record,
)
from shotstream.story.repair import keep_rebuilt, load_record, pack_key_frames, put_back
from shotstream.story.selectors import FrameRef, PastShot
from shotstream.story.shot_spec import ShotSpec
from shotstream.story.take_files import StoryFiles
from shotstream.story.take_tree import StoryTree, Take

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinishedShot:
    """A shot that is made and not yet in the history.

    Attributes:
        index: the shot's number in the story, from 0.
        spec: what it was made from; its `chunks` and `steers` are those that were really made.
        frames: uint8 `[n, h, w, 3]`, in one piece or several, or a video that is being written (`History.film`).
        key_frames: by frame, the float32 pixels `[3, h, w]` in [-1, 1] of every frame that may become context.
        cast: the members of the cast that it knew.
    """

    index: int
    spec: ShotSpec
    frames: Frames | Iterable[Frames] | BackgroundVideoWriter
    key_frames: Mapping[int, NDArray[np.float32]]
    cast: tuple[CastMember, ...] = ()


class History:
    """The shots of one story, in order. Made by `create`, `open` or `open_or_create`; a context manager.

    Shots are those of the branch that the story stands on, unless said otherwise.
    """

    def __init__(
        self,
        directory: Path,
        record: StoryRecord,
        temporary: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.directory = directory
        self._files = StoryFiles(directory)
        self.record = record
        self._temporary = temporary
        self.lost: tuple[Take, ...] = ()
        """Takes of the branch that were set aside when the story was opened."""

    @classmethod
    def create(cls, identity: StoryIdentity, directory: str | Path | None = None) -> Self:
        """Create a history without shots.

        Args:
            identity: what makes the story.
            directory: where it lives, made where it is missing; None: a temporary one, removed by `close`.

        Raises:
            InputError: the directory holds a story already, or cannot be written.
        """
        record = StoryRecord(RECORD_VERSION, identity)
        if directory is None:
            temporary = tempfile.TemporaryDirectory(prefix="shotstream-")
            return cls(Path(temporary.name), record, temporary)
        path = make_directory(Path(directory))
        if (path / RECORD_FILE).exists():
            raise InputError(f"{path} holds a story already; go on with it, or remove it first")
        history = cls(path, record)
        history._write(record)
        return history

    @classmethod
    def open(cls, directory: str | Path) -> Self:
        """Open the story in a directory. Damaged takes and those after them are set aside and reported.

        Raises:
            InputError: there is no story, its record cannot be read, a member of its cast is missing or damaged, or
                takes cannot be set aside.
        """
        path = Path(directory)
        return cls._opened(path, load_record(path))

    @classmethod
    def open_or_create(cls, identity: StoryIdentity, directory: str | Path | None = None) -> Self:
        """Open the story in a directory, which must be this one, or create it where there is none or nothing in it yet.

        Raises:
            InputError: the story there has another identity (says in what), or the directory cannot be used.
        """
        if directory is None or not (Path(directory) / RECORD_FILE).exists():
            return cls.create(identity, directory)
        path = Path(directory)
        record = load_record(path)
        difference = identity.difference(record.identity)
        if difference and not record.begun:
            record = StoryRecord(RECORD_VERSION, identity)
            write_record(path / RECORD_FILE, record)
        elif difference:
            raise InputError(f"{directory} holds another story ({difference}); make it anew or use another directory")
        return cls._opened(path, record)

    @classmethod
    def _opened(cls, path: Path, record: StoryRecord) -> Self:
        remove_partials(path)
        history = cls(path, record)
        keep_rebuilt(history._files, record)
        history._files.check_cast(record.pictures)
        history._set_damaged_aside()
        return history

    @property
    def identity(self) -> StoryIdentity:
        """Return the story's identity: captions, seed, size, sampler and model."""
        return self.record.identity

    @property
    def records(self) -> tuple[Take, ...]:
        """Return the take of every shot of the current branch."""
        return self.tree.current

    @property
    def lengths(self) -> list[int]:
        """Return the number of frames of every shot."""
        return [take.length_frames for take in self.records]

    @property
    def past(self) -> list[PastShot]:
        """Return the shots as a context selector sees them."""
        return [PastShot.of(take.shot, take.length_frames, take.spec) for take in self.records]

    @property
    def cast(self) -> tuple[CastMember, ...]:
        """Return the cast that shots to come may know, which is the same on every branch."""
        return self.record.cast

    @property
    def pictures(self) -> int:
        """Return how many pictures of the cast are kept, with those of members that were removed."""
        return len(self.record.pictures)

    @property
    def tree(self) -> StoryTree:
        """Return all takes of all shots, and the branch that the story stands on."""
        return self.record.tree

    @property
    def branch(self) -> tuple[int, ...]:
        """Return the take of every shot, of the branch that the story stands on."""
        return self.tree.branch

    def switch(self, branch: Sequence[int]) -> None:
        """Go to another branch, or to the beginning of one; nothing is made or removed.

        Raises:
            InputError: there is no such branch, or the directory cannot be written.
        """
        self._write(replace(self.record, tree=self.tree.switch(branch)))

    def __len__(self) -> int:
        """Number of finished shots."""
        return len(self.branch)

    def shot_file(self, shot_index: int) -> Path:
        """Return the lossless video of a shot, or the one that the next shot will have."""
        take = self.branch[shot_index] if shot_index < len(self) else self.tree.next_take()
        return self._files.video(shot_index, take)

    def take_file(self, take: Take) -> Path:
        """Return the lossless video of any take, whatever branch it is on."""
        return self._files.video(take.shot, take.take)

    def key_frames_file(self, shot_index: int) -> Path:
        """Return the file of a shot's exact key frames."""
        return self.shot_file(shot_index).with_suffix(".safetensors")

    def film(self) -> BackgroundVideoWriter:
        """Begin the lossless video of the next shot, which is filled while the shot is made and then added with it."""
        return BackgroundVideoWriter(self.shot_file(len(self)), FPS)

    def add(self, shot: FinishedShot) -> None:
        """Append a shot to the current branch. It is kept whole or not at all.

        Raises:
            InputError: it is not the next shot, its frames have another size than the story, or the disk is full.
        """
        if shot.index != len(self):
            raise InputError(f"expected shot {len(self)} of the story, got shot {shot.index}; add shots in order")
        path, exact = self.shot_file(shot.index), self.key_frames_file(shot.index)
        film = (
            shot.frames
            if isinstance(shot.frames, BackgroundVideoWriter)
            else self.film().extend(map(self._check_size, shot.frames))
        )
        length_frames, tree = film.finish(), self.tree
        parent = tree.branch[-1] if tree.branch else None
        take = Take(shot.index, tree.next_take(), parent, shot.spec, length_frames, hash_file(path), "", shot.cast)
        pixels = {str(frame): values for frame, values in shot.key_frames.items()}
        write_bytes(exact, pack_key_frames(pixels, self.record, take))
        take = replace(take, key_frames_sha256=hash_file(exact))
        record = replace(self.record, tree=tree.add(take))
        self._write(replace(record, tree=put_back(self._files, record, take)))

    def add_cast(self, image: Frame, caption: str) -> int:
        """Add a picture, scaled and cropped to the story's size, to the cast, and return its number.

        Raises:
            InputError: it is no uint8 RGB picture `[h, w, 3]`, or the directory cannot be written.
        """
        number, path = self.pictures, self._files.cast(self.pictures)
        write_png(path, fit_picture(image, self.identity.height, self.identity.width), caption)
        pictures, cast = (*self.record.pictures, hash_file(path)), (*self.cast, CastMember(number, caption))
        self._write(replace(self.record, pictures=pictures, cast=cast))
        return number

    def set_cast(self, cast: Iterable[CastMember]) -> None:
        """Have these members in the cast, of all that it ever had; takes that were made keep theirs.

        Raises:
            InputError: the directory cannot be written.
        """
        ordered = tuple(sorted(cast, key=lambda member: member.number))
        assert all(0 <= member.number < self.pictures for member in ordered), "every member has a picture"
        self._write(replace(self.record, cast=ordered))

    def frames(self, shot_index: int, frame_indices: Sequence[int] | None = None) -> Frames:
        """Read frames of a shot as they were added, `[n, h, w, 3]`; None: all of them.

        Raises:
            InputError: there is no such shot or frame, or the file was damaged meanwhile.
        """
        return read_video(self.shot_file(self._check_shot(shot_index)), frame_indices)

    def iter_frames(self, shot_index: int) -> Iterator[Frames]:
        """Yield all frames of a shot, one after another, each `[1, h, w, 3]`: memory does not grow with its length.

        Raises:
            InputError: there is no such shot, or the file was damaged meanwhile.
        """
        return (frame[None] for frame in iter_video(self.shot_file(self._check_shot(shot_index))))

    def cast_frames(self, members: Sequence[int]) -> list[Frame]:
        """Read the pictures of members of the cast, in the story's size."""
        return [read_image(self._files.cast(member)) for member in members]

    def read_key_frames(self, refs: Sequence[FrameRef]) -> NDArray[np.float32]:
        """Read the pixels in [-1, 1] of the frames that a context selector chose, in its order, `[n, 3, h, w]`.

        Raises:
            InputError: there is no such shot, or the frame is not a key frame of it.
        """
        found = []
        for ref in refs:
            with safe_open(self.key_frames_file(self._check_shot(ref.shot)), "np") as file:
                if str(ref.frame) not in file.keys():  # noqa: SIM118 (a safetensors file is no mapping)
                    kept = ", ".join(sorted(file.keys(), key=int))
                    raise InputError(
                        f"shot {ref.shot}: expected one of its key frames {kept}, got {ref.frame}; "
                        "only these are kept exactly"
                    )
                found.append(file.get_tensor(str(ref.frame)))
        return np.stack(found)

    def all_frames(self) -> Iterator[Frames]:
        """Yield the whole story, frame by frame, each `[1, h, w, 3]`."""
        return (frame for index in range(len(self)) for frame in self.iter_frames(index))

    def close(self) -> None:
        """Remove a temporary directory; a story in a directory of its own stays."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_shot(self, shot_index: int) -> int:
        if not 0 <= shot_index < len(self):
            raise InputError(f"expected a shot from 0 to {len(self) - 1}, got {shot_index}; shots count from 0")
        return shot_index

    def _check_size(self, frames: Frame | Frames) -> Frames:
        frames, height, width = check_frames(frames), self.identity.height, self.identity.width
        if frames.shape[1:3] != (height, width):
            raise InputError(
                f"expected frames of {width}x{height}, got {frames.shape[2]}x{frames.shape[1]}; resize them"
            )
        return frames

    def _set_damaged_aside(self) -> None:
        """Go on without takes whose files are not as they were written, and without all that goes on from them."""
        before = self.tree
        tree = before.without(take for take in before.takes if not self._files.holds(take))
        stale = [take for take in before.takes if take not in tree.takes]
        if not stale:
            return
        self.lost = before.current[len(tree.branch) :]
        aside = self._files.set_aside(stale, self.record)
        self._write(replace(self.record, tree=tree))
        _log.warning(
            "takes set aside, because a file of theirs or of one before is missing or damaged: %d, in %s",
            len(stale),
            aside,
        )

    def _write(self, record: StoryRecord) -> None:
        write_record(self._files.record, record)
        self.record = record
