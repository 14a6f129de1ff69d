"""Export a story as files: videos and stills, its script, and a zip of everything that `imports` reads back."""

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from shotstream.core.atomic_files import make_directory, replacing, write_bytes, writing
from shotstream.serve.edit import Edit, ExportOptions
from shotstream.serve.errors import RequestError
from shotstream.serve.films import SENT, add_soundtrack, write_animation, write_mp4, write_still, write_webm
from shotstream.story.cast import CastMember
from shotstream.story.history import History
from shotstream.story.record import RECORD_FILE, StoryRecord, record_to_dict, write_record
from shotstream.story.repair import load_record
from shotstream.story.script import CastEntry, Script, ScriptExport, format_script
from shotstream.story.shot_spec import ShotSpec
from shotstream.story.take_files import StoryFiles
from shotstream.story.take_tree import Take

FilmKind = Literal["mp4", "webm"]
Kind = Literal["mp4", "webm", "gif", "png", "yaml", "zip"]
SCRIPT_FILE, VIDEO_FILE = "script.yaml", "story.mp4"
_FILMS: Mapping[str, Callable[[Edit, Path], None]] = {
    "mp4": write_mp4,
    "webm": write_webm,
    "gif": write_animation,
    "png": write_still,
}


def export(directory: Path, kind: Kind, target: Path, options: ExportOptions, title: str = "") -> Kind:
    """Write the current branch of a story, or a part of it, as a file (a zip has all branches).

    Returns the kind of the file: the script of a story with a cast is a zip, in which the pictures that it names lie
    beside it.

    Args:
        directory: the story's.
        kind: mp4 is H.264, webm VP9, png a still.
        target: ends in `kind`.
        options: which part, and how it looks; a script or zip has none.
        title: the story's, for its script.

    Raises:
        InputError: the story has no such shot, an option does not fit, or the file cannot be written.
    """
    history = _open(directory)
    if kind in _FILMS:
        if options.frame is not None and kind != "png":
            raise RequestError("invalid", "Only a still has a frame. Take png, or leave frame out.")
        _FILMS[kind](Edit(history, options), target)
        return kind
    if not len(history):
        raise RequestError("conflict", "This branch has no shot yet. Make one first.")
    if options != ExportOptions():
        raise RequestError("invalid", f"A {kind} has the whole story. Leave out shot, scale and fade.")
    if kind == "yaml" and script_cast(history):
        _write_script_with_cast(history, target, title)
        return "zip"
    (_write_script if kind == "yaml" else _write_zip)(history, target, title)
    return kind


def export_with_sound(directory: Path, target: Path, options: ExportOptions, audio: Path, name: str = SENT) -> None:
    """Write a video like `export`, with a soundtrack under it, which refusals call `name`; `target` ends in its kind.

    Raises:
        InputError: as for `export`, or the audio cannot be read.
    """
    kind: FilmKind = "mp4" if target.suffix == ".mp4" else "webm"
    silent = target.with_name(f"{target.stem}-silent.{kind}")
    try:
        export(directory, kind, silent, options)
        add_soundtrack(silent, audio, target, name)
    finally:
        silent.unlink(missing_ok=True)


def finish_video(directory: Path, target: Path, wanted: ScriptExport) -> None:
    """Write the video of a story's current branch as its script wants it.

    Raises:
        InputError: a shot is too short for the fade, the soundtrack cannot be read, or the file cannot be written.
    """
    options = ExportOptions(wanted.scale, wanted.filter, wanted.fade)
    if wanted.soundtrack is None:
        export(directory, "mp4", target, options)
    else:
        export_with_sound(directory, target, options, Path(wanted.soundtrack), wanted.soundtrack)


def _open(directory: Path) -> History:
    if not (directory / RECORD_FILE).exists():
        raise RequestError("conflict", "This story has no shot yet. Make one first.")
    return History(directory, load_record(directory))


def script_cast(history: History) -> list[CastMember]:
    """Return the cast of a branch's script: members that are there or that a shot of it knew, under each caption."""
    known = {*history.cast, *(member for take in history.records for member in take.cast)}
    return sorted(known, key=lambda member: (member.number, member.caption))


def script_of(history: History, title: str) -> Script:
    """Return the script that tells the current branch again."""
    members = script_cast(history)
    shots = tuple(_script_shot(take, history, members) for take in history.records)
    cast = tuple(CastEntry(StoryFiles(Path()).cast(member.number).name, member.caption) for member in members)
    identity = history.identity
    guidance = identity.sampler.get("guidance")
    return Script(identity.global_caption, shots, identity.seed, cast, guidance, identity.negative_prompt, title)


def _script_shot(take: Take, history: History, cast: Sequence[CastMember]) -> ShotSpec:
    spec, known = take.spec, tuple(cast.index(member) for member in take.cast)
    return replace(
        spec,
        seed=None if spec.seed == history.identity.seed else spec.seed,
        cast=None if len(known) == len(cast) else known,
    )


def _write_script(history: History, target: Path, title: str) -> None:
    write_bytes(target, format_script(script_of(history, title)).encode())


def _write_script_with_cast(history: History, target: Path, title: str) -> None:
    with replacing(target) as partial, writing(target), zipfile.ZipFile(partial, "w") as archive:
        archive.writestr(SCRIPT_FILE, format_script(script_of(history, title)))
        files = StoryFiles(history.directory)
        for path in sorted({files.cast(member.number) for member in script_cast(history)}):
            archive.write(path, path.name)


def _write_zip(history: History, target: Path, title: str) -> None:
    """Write all of a story: the record and its files and, for people, the script and a video."""
    video = target.with_name(f"{target.stem}-video.mp4")
    try:
        write_mp4(Edit(history, ExportOptions()), video)
        with replacing(target) as partial, writing(target), zipfile.ZipFile(partial, "w") as archive:
            archive.writestr(RECORD_FILE, json.dumps(record_to_dict(history.record), ensure_ascii=False))
            archive.writestr(SCRIPT_FILE, format_script(script_of(history, title)))
            archive.write(video, VIDEO_FILE)
            for path in story_files(history.directory, history.record):
                archive.write(path, path.name)
    finally:
        video.unlink(missing_ok=True)


def story_files(directory: Path, record: StoryRecord) -> list[Path]:
    """Return the files that a record needs."""
    files = StoryFiles(directory)
    takes = [file(take.shot, take.take) for take in record.tree.takes for file in (files.video, files.key_frames)]
    return takes + [files.cast(number) for number in range(len(record.pictures))]


def copy_story(directory: Path, target: Path) -> None:
    """Copy a story with all its branches and its cast into a new directory; nothing where nothing has been made.

    Raises:
        InputError: its record or a file cannot be read, or the disk is full.
    """
    if not (directory / RECORD_FILE).exists():
        return
    record = load_record(directory)
    make_directory(target)
    for path in story_files(directory, record):
        with writing(target / path.name):
            shutil.copyfile(path, target / path.name)
    write_record(target / RECORD_FILE, record)


def clear(directory: Path) -> Path:
    """Empty a directory of temporary files, or make it, and return it; files that a killed server left are removed.

    Raises:
        InputError: it cannot be made.
    """
    with writing(directory):
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir(parents=True)
    return directory
