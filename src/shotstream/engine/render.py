"""A script to files: every shot on disk as soon as it is done, the whole at the end, and a way to go on after a stop.

Beside `out.mp4` stands `out.shots/` with, for every finished shot, `shot-NNN.mp4` to play, `shot-NNN.mkv` without loss
(the story's history), and `story.json`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from shotstream.core.atomic_files import check_target, make_directory, writing
from shotstream.core.checksums import CHECKSUMS_FILE, is_as_written, write_checksum
from shotstream.core.errors import InputError
from shotstream.core.images import read_image, write_gif, write_png
from shotstream.core.spec import FPS
from shotstream.core.video import (
    Frame,
    Frames,
    VideoWriter,
    concat_videos,
    write_video,
)
from shotstream.engine.story import Story
from shotstream.model.device import within_memory
from shotstream.story.cast import fit_picture
from shotstream.story.history import History
from shotstream.story.record import RECORD_FILE, StoryRecord
from shotstream.story.repair import load_record
from shotstream.story.script import Script
from shotstream.story.shot_spec import ShotSpec
from shotstream.story.take_files import TAKE_NAME, remove_story_files

Mode = Literal["new", "resume", "overwrite"]
_FRAME_FILE = re.compile(r"frame-\d{5,}\.png", re.ASCII)
_SHOT_FILE = re.compile(rf"{TAKE_NAME}\.mp4", re.ASCII)


@runtime_checkable
class Watcher(Protocol):
    """Follows a production."""

    def kept(self, frames: int) -> None:
        """Report a shot of that many frames that was there already."""
        ...

    def made(self, shot_index: int, frames: int) -> None:
        """Report a chunk of that many frames that was made."""
        ...


Begin = Callable[[Path], Story]
"""Begins a story whose shots live in a directory, or goes on with the one there."""


@dataclass(frozen=True)
class Outputs:
    """Output files of a story: the video, and optionally a directory of PNG frames and a GIF."""

    video: Path
    frames: Path | None = None
    gif: Path | None = None

    @property
    def shots(self) -> Path:
        """Return the directory of the story's shots."""
        return self.video.with_suffix(".shots")

    def numbered(self, number: int) -> "Outputs":
        """Return the paths for one story of several: `out-000.mp4`, `frames/000`, `out-000.gif`."""
        return replace(
            self,
            video=self.video.with_stem(f"{self.video.stem}-{number:03d}"),
            frames=self.frames and self.frames / f"{number:03d}",
            gif=self.gif and self.gif.with_stem(f"{self.gif.stem}-{number:03d}"),
        )

    def check(self, mode: Mode) -> None:
        """Raise InputError where the story could not be written, or would overwrite something it must not."""
        for path, suffix in ((self.video, ".mp4"), (self.gif, ".gif")):
            if path is None:
                continue
            if path.suffix.lower() != suffix:
                raise InputError(f"expected an output ending in {suffix}, got {path.name}; rename it")
            check_target(path)
            if mode == "new" and path.exists():
                raise InputError(f"{path} exists already; --overwrite replaces it, --resume goes on with it")
        with writing(self.shots):
            self._check_directories(mode)

    def _check_directories(self, mode: Mode) -> None:
        record = self.shots / RECORD_FILE
        begun = mode != "overwrite" and record.exists() and load_record(self.shots).begun
        if mode == "new" and begun:
            raise InputError(f"{self.shots} holds a story; --resume goes on with it, --overwrite begins anew")
        if mode == "resume" and self.video.exists() and not begun:
            raise InputError(f"{self.shots} holds no story to go on with, and {self.video} exists; use --overwrite")
        if self.frames and self.frames.exists():
            if not self.frames.is_dir():
                raise InputError(f"cannot write frames into {self.frames}: it is a file; name a directory")
            if mode != "overwrite" and not begun and any(self.frames.iterdir()):
                raise InputError(f"{self.frames} is not empty; --overwrite replaces the frames in it")


def produce(begin: Begin, script: Script, outputs: Outputs, *, mode: Mode = "new", watch: Watcher | None = None) -> int:
    """Make a story, or what is missing of it, and write all its files.

    Args:
        begin: the model's part; called with the directory of the shots.
        mode: `new` refuses to touch what exists, `resume` goes on after the last finished shot, `overwrite` begins
            anew.

    Returns the number of frames of the whole story.

    Raises:
        InputError: an output cannot be written or must not be overwritten, a picture of the cast cannot be read, the
            story there is another one, or a shot of its size needs more memory than there is.
    """
    outputs.check(mode)
    pictures = [read_image(entry.image) for entry in script.cast]
    if mode == "overwrite" and outputs.shots.is_dir():
        _remove_shots(outputs.shots)
    elif (outputs.shots / RECORD_FILE).exists():
        _check_same_script(load_record(outputs.shots), script, outputs.shots)
    with begin(outputs.shots) as story:
        _make_cast(story, script, pictures)
        for index, shot in enumerate(script.shots):
            _make_shot(story, index, shot, _shot_video(story.history, index), watch)
        concat_videos([_shot_video(story.history, index) for index in range(len(script.shots))], outputs.video)
        _write_extras(story.history, outputs)
        return sum(story.history.lengths)


def _make_shot(story: Story, index: int, shot: ShotSpec, video: Path, watch: Watcher | None) -> None:
    """Make a shot and its video; of a finished shot only the video, if it is damaged."""
    if index < len(story.history):
        length = story.history.lengths[index]
        if not is_as_written(video):
            write_video(video, story.history.iter_frames(index), FPS)
            write_checksum(video)
        if watch:
            watch.kept(length)
        return
    size = f"{story.history.identity.width}x{story.history.identity.height}"
    with within_memory(f"a story of {size}"), VideoWriter(video, FPS) as writer:
        for frames in _directed(story, shot):
            writer.add(frames)
            if watch:
                watch.made(index, len(frames))
    write_checksum(video)


def _directed(story: Story, shot: ShotSpec) -> Iterator[Frames]:
    """Yield the frames of a shot, steered as its script says."""
    texts = {steer.at: steer.text for steer in shot.steers}
    being_made = story.shot(shot.text, shot.chunks, extend=shot.extend, seed=shot.seed, cast=shot.cast)
    for chunk in range(shot.chunks):
        if chunk in texts:
            being_made.steer(texts[chunk])
        yield next(being_made)
    being_made.cut()


def _make_cast(story: Story, script: Script, pictures: Sequence[Frame]) -> None:
    """Add the script's cast, or what of it the story does not have yet.

    Raises:
        InputError: a picture is another than the story has.
    """
    history = story.history
    for number, (entry, image) in enumerate(zip(script.cast, pictures, strict=True)):
        if number < len(history.cast):
            fitted = fit_picture(image, history.identity.height, history.identity.width)
            if not np.array_equal(fitted, history.cast_frames([number])[0]):
                raise InputError(f"{entry.image} is another image than the story was begun with; put that one back")
        else:
            story.add_cast(image, entry.caption)


def _check_same_script(record: StoryRecord, script: Script, directory: Path) -> None:
    """Raise InputError where the shots that are written down, damaged or not, are not the script's first ones."""
    takes = record.tree.current
    if len(takes) > len(script.shots):
        raise InputError(
            f"{directory} holds {len(takes)} shots, the story has {len(script.shots)}; use --overwrite to begin anew"
        )
    there_cast, here_cast = [[entry.caption for entry in cast] for cast in (record.cast, script.cast)]
    if there_cast != (here_cast if takes else here_cast[: len(there_cast)]):
        raise InputError(
            f"{directory} holds another story (cast: {there_cast} there, {here_cast} here); "
            "use --overwrite to begin anew"
        )
    for number, (take, shot) in enumerate(zip(takes, script.shots, strict=False), start=1):
        for what, there, here in (
            ("text", take.spec.text, shot.text),
            ("chunks", take.spec.chunks, shot.chunks),
            ("seed", take.spec.seed, record.identity.seed if shot.seed is None else shot.seed),
            ("cast", take.spec.cast, shot.cast),
            ("steer", take.spec.steers, shot.steers),
        ):
            if there != here:
                raise InputError(
                    f"{directory} holds another story (shot {number}, {what}: {there!r} there, {here!r} here); "
                    "use --overwrite to begin anew"
                )


def _write_extras(history: History, outputs: Outputs) -> None:
    if outputs.frames:
        make_directory(outputs.frames)
        _remove(outputs.frames, _FRAME_FILE)
        pictures = (frame for frames in history.all_frames() for frame in frames)
        for number, frame in enumerate(pictures):
            write_png(outputs.frames / f"frame-{number:05d}.png", frame)
    if outputs.gif:
        write_gif(outputs.gif, history.all_frames(), FPS)


def _remove_shots(directory: Path) -> None:
    remove_story_files(directory)
    _remove(directory, _SHOT_FILE)
    (directory / CHECKSUMS_FILE).unlink(missing_ok=True)


def _remove(directory: Path, name: re.Pattern[str]) -> None:
    with writing(directory):
        for path in directory.iterdir():
            if name.fullmatch(path.name):
                path.unlink()


def _shot_video(history: History, index: int) -> Path:
    return history.shot_file(index).with_suffix(".mp4")
