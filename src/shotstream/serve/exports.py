"""A story as files to take away: videos, its script, and a zip of everything that `imports` reads back."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from shotstream.core.atomic_files import make_directory, replacing, write_bytes, writing
from shotstream.core.config import to_dict
from shotstream.core.images import write_gif
from shotstream.core.spec import FPS, MAX_CHUNKS
from shotstream.core.video import Frames, VideoWriter
from shotstream.serve.errors import RequestError
from shotstream.story.history import History
from shotstream.story.record import RECORD_FILE, VERSION, StoryRecord, read_record, write_record
from shotstream.story.script import CastEntry, Script, format_script
from shotstream.story.shot_spec import ShotSpec
from shotstream.story.take_files import StoryFiles
from shotstream.story.take_tree import Take

Kind = Literal["mp4", "webm", "gif", "yaml", "zip"]
SCRIPT_FILE, VIDEO_FILE = "script.yaml", "story.mp4"
GIF_FRAMES = 2000
"""A GIF's palette needs all its frames in memory."""
_VP9_OPTIONS = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6"}


def export(directory: Path, kind: Kind, target: Path) -> Kind:
    """Writes the current branch of a story as a file (a zip has all branches).

    Returns what it is: the script of a story with a cast is a zip, in which the pictures that it names lie beside it.

    Args:
        directory: the story's.
        kind: mp4 is H.264, webm VP9.
        target: ends in `kind`.

    Raises:
        InputError: the story has no shot, or the file cannot be written.
    """
    if not (directory / RECORD_FILE).exists():
        raise RequestError("conflict", "expected a story with at least one shot, got none; make a shot first")
    history = History(directory, read_record(directory / RECORD_FILE))
    if not len(history):
        raise RequestError("conflict", "expected a branch with at least one shot, got none; make a shot first")
    if kind == "yaml" and history.cast:
        _write_script_with_cast(history, target)
        return "zip"
    _WRITERS[kind](history, target)
    return kind


def script_of(history: History) -> Script:
    """The script that tells the current branch again."""
    shots = tuple(_script_shot(take, history) for take in history.records)
    cast = tuple(
        CastEntry(StoryFiles(Path()).cast(number).name, member.caption) for number, member in enumerate(history.cast)
    )
    return Script(history.identity.global_caption, shots, history.identity.seed, cast)


def _script_shot(take: Take, history: History) -> ShotSpec:
    spec = take.spec
    return replace(
        spec,
        extend=spec.chunks > MAX_CHUNKS,
        seed=None if spec.seed == history.identity.seed else spec.seed,
        cast=None if spec.cast == len(history.cast) else spec.cast,
    )


def _write_mp4(history: History, target: Path) -> None:
    with VideoWriter(target, FPS) as writer:
        for frames in history.all_frames():
            writer.add(frames)


def _write_webm(history: History, target: Path) -> None:
    identity = history.identity
    with replacing(target) as partial, writing(target), av.open(f"file:{partial}", "w", format="webm") as output:
        stream: Any = output.add_stream("libvpx-vp9", rate=Fraction(FPS), options=_VP9_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = identity.width, identity.height, "yuv420p"
        for frame in _each(history.all_frames()):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        output.mux(stream.encode(None))


def _write_gif(history: History, target: Path) -> None:
    frames = sum(history.lengths)
    if frames > GIF_FRAMES:
        raise RequestError("too_large", f"expected at most {GIF_FRAMES} frames for a GIF, got {frames}; take the mp4")
    write_gif(target, history.all_frames(), FPS)


def _write_script(history: History, target: Path) -> None:
    write_bytes(target, format_script(script_of(history)).encode())


def _write_script_with_cast(history: History, target: Path) -> None:
    with replacing(target) as partial, writing(target), zipfile.ZipFile(partial, "w") as archive:
        archive.writestr(SCRIPT_FILE, format_script(script_of(history)))
        for path in _cast_files(history.directory, len(history.cast)):
            archive.write(path, path.name)


def _write_zip(history: History, target: Path) -> None:
    """Everything: the record and its files, and for people the script and a video."""
    video = target.with_name(f"{target.stem}-video.mp4")
    try:
        _write_mp4(history, video)
        with replacing(target) as partial, writing(target), zipfile.ZipFile(partial, "w") as archive:
            archive.writestr(RECORD_FILE, json.dumps(to_dict(_record(history)), ensure_ascii=False))
            archive.writestr(SCRIPT_FILE, format_script(script_of(history)))
            archive.write(video, VIDEO_FILE)
            for path in story_files(history.directory, _record(history)):
                archive.write(path, path.name)
    finally:
        video.unlink(missing_ok=True)


def _record(history: History) -> StoryRecord:
    return StoryRecord(VERSION, history.identity, history.tree, history.cast)


def story_files(directory: Path, record: StoryRecord) -> list[Path]:
    """The files that a record needs."""
    files = StoryFiles(directory)
    takes = [file(take.shot, take.take) for take in record.tree.takes for file in (files.video, files.key_frames)]
    return takes + _cast_files(directory, len(record.cast))


def copy_story(directory: Path, target: Path) -> None:
    """Copy a story with all its branches and its cast into a new directory; nothing where nothing has been made.

    Raises:
        InputError: its record or a file cannot be read, or the disk is full.
    """
    if not (directory / RECORD_FILE).exists():
        return
    record = read_record(directory / RECORD_FILE)
    make_directory(target)
    for path in story_files(directory, record):
        with writing(target / path.name):
            shutil.copyfile(path, target / path.name)
    write_record(target / RECORD_FILE, record)


def _cast_files(directory: Path, members: int) -> list[Path]:
    return [StoryFiles(directory).cast(number) for number in range(members)]


def _each(shots: Iterable[Frames]) -> Iterable[Any]:
    return (frame for frames in shots for frame in frames)


_WRITERS: Mapping[Kind, Callable[[History, Path], None]] = {
    "mp4": _write_mp4,
    "webm": _write_webm,
    "gif": _write_gif,
    "yaml": _write_script,
    "zip": _write_zip,
}


def clear(directory: Path) -> Path:
    """An empty directory for what is on its way out or in; whatever a killed server left there is removed.

    Raises:
        InputError: it cannot be made.
    """
    with writing(directory):
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir(parents=True)
    return directory
