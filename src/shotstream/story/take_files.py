"""Name the files of takes and cast in a story's directory, and check that they are as they were written."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from shotstream.core.atomic_files import hash_file, make_directory, writing
from shotstream.core.errors import InputError
from shotstream.story.record import RECORD_FILE, StoryRecord, write_record
from shotstream.story.take_tree import Take

TAKE_NAME = r"shot-\d{3,}(\.take-\d+)?"
"""Pattern of the names of a take's files, up to the suffix."""
_STORY_FILE = re.compile(rf"{TAKE_NAME}\.(mkv|safetensors)|cast-\d{{3,}}\.png", re.ASCII)


@dataclass(frozen=True)
class StoryFiles:
    """The files of a story: the first take of a shot has its plain name, later ones are numbered."""

    directory: Path

    @property
    def record(self) -> Path:
        """Return the file of the story's record."""
        return self.directory / RECORD_FILE

    def video(self, shot: int, take: int) -> Path:
        """Return the path of a take's lossless video."""
        name = f"shot-{shot:03d}.take-{take}" if take else f"shot-{shot:03d}"
        return self.directory / f"{name}.mkv"

    def key_frames(self, shot: int, take: int) -> Path:
        """Return the file of a take's exact key frames."""
        return self.video(shot, take).with_suffix(".safetensors")

    def cast(self, member: int) -> Path:
        """Return the file of the picture of a member of the cast, in the story's size."""
        return self.directory / f"cast-{member:03d}.png"

    def holds(self, take: Take) -> bool:
        """Return whether a take is there as it was written."""
        video, exact = (file(take.shot, take.take) for file in (self.video, self.key_frames))
        return _is(video, take.sha256) and _is(exact, take.key_frames_sha256)

    def holds_cast(self, member: int, sha256: str) -> bool:
        """Return whether the picture of a member of the cast is there as it was written."""
        return _is(self.cast(member), sha256)

    def check_cast(self, pictures: Sequence[str]) -> None:
        """Raise InputError if a picture of the cast, by its hash, is not there as it was written."""
        for member, sha256 in enumerate(pictures):
            if not self.holds_cast(member, sha256):
                raise InputError(f"{self.cast(member)} is missing or damaged; put it back or begin anew")

    def files_of(self, take: Take) -> list[Path]:
        """Return the files of a take that are there: its videos and key frames, and no file of anybody else's."""
        video = self.video(take.shot, take.take)
        return [path for path in map(video.with_suffix, (".mkv", ".mp4", ".safetensors")) if path.is_file()]

    def set_aside(self, takes: Iterable[Take], record: StoryRecord) -> Path:
        """Move the files of some takes into a new directory `set-aside-NNN`, and return it.

        The record that names them goes with them: with the missing files all of it can be put back, and the story is
        as it was.

        Raises:
            InputError: they cannot be moved.
        """
        names = (self.directory / f"set-aside-{number:03d}" for number in count())
        aside = make_directory(next(path for path in names if not path.exists()))
        write_record(aside / RECORD_FILE, record)
        with writing(aside):
            for path in (path for take in takes for path in self.files_of(take)):
                path.rename(aside / path.name)
        return aside


def remove_story_files(directory: Path) -> None:
    """Remove a story's record, shots and cast from a directory, and leave what else lies there.

    Raises:
        InputError: they cannot be removed.
    """
    with writing(directory):
        for path in directory.iterdir():
            if path.name == RECORD_FILE or _STORY_FILE.fullmatch(path.name):
                path.unlink()


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and hash_file(path) == sha256
