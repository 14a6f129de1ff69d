"""Training videos in the published layout, and samples of their shots.

A CSV has one row a video: `shot_num_from_caption` (how many shots), `json_path` and `video_path` (relative to the
directory of the CSV), and `frame_number`, a list of `[start, end]` a shot. As `world.dataset` writes it, `end` is not
part of the shot: frames `start` to `end - 1` of the video. Shots stand in order; there may be frames between them. The
JSON holds `global_caption` and `shot1` .. `shotN`.
"""

import csv
import hashlib
import io
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from shotstream.core.config import check_keys
from shotstream.core.errors import InputError
from shotstream.core.spec import VideoSize, check_chunks, frames_of_chunks
from shotstream.core.video import Frames
from shotstream.data.clips import count_frames, read_frames, strided_frames
from shotstream.data.samples import ShotSample, cut_picture, cut_shot
from shotstream.model.config import CaptionChoice
from shotstream.story.captions import compose_caption
from shotstream.story.script import Script
from shotstream.story.script_files import parse_json, read_text
from shotstream.story.selectors import FrameRef, PastShot, get_selector
from shotstream.story.shot_spec import ShotSpec

COLUMNS = ("shot_num_from_caption", "json_path", "video_path", "frame_number")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShotClip:
    """One shot: frames `start` to `end - 1` of a video, and its own caption."""

    video: Path
    start: int
    end: int
    caption: str

    @property
    def length_frames(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class MultiShotVideo:
    """One row of a manifest; `line` is where it ends in the CSV."""

    line: int
    global_caption: str
    shots: tuple[ShotClip, ...]


@dataclass(frozen=True)
class Manifest:
    """All videos of a CSV that can be used; `skipped` rows could not.

    `digest` changes with every caption and frame range, and with every video's name, size or time of writing.
    """

    path: Path
    videos: tuple[MultiShotVideo, ...]
    skipped: int
    digest: str


def read_manifest(path: str | Path, *, skip_bad: bool = False) -> Manifest:
    """The videos of a CSV in the published layout, every row checked against its files.

    Args:
        path: the CSV.
        skip_bad: leave bad rows out, with a warning each, and count them.

    Raises:
        InputError: the CSV cannot be read, lacks a column, or has no row that can be used; without `skip_bad` also a
            row that does not fit its JSON and its video. It names the file and the line.
    """
    path = Path(path)
    videos: list[MultiShotVideo] = []
    skipped = 0
    for line, row in _rows(path):
        try:
            videos.append(_read_row(row, line, path.parent))
        except InputError as error:
            if not skip_bad:
                raise InputError(f"{path.name}, line {line}: {error}") from error
            _log.warning("%s, line %d: %s; left out", path.name, line, error)
            skipped += 1
    if not videos:
        raise InputError(f"{path.name}: expected at least one row that can be used, got none ({skipped} bad); add one")
    return Manifest(path, tuple(videos), skipped, _digest(videos))


class ManifestShots:
    """A `data.samples.ShotSource` of the shots of a manifest, each as likely as another.

    A shot of more than 81 frames is shown with a stride (`clips.strided_frames`); what is remembered of it is chosen
    from all its frames.
    """

    def __init__(
        self, manifest: Manifest, size: VideoSize, context: str = "dynamic", captions: CaptionChoice = "per_shot"
    ) -> None:
        """The shots of `manifest`.

        Args:
            manifest: where the shots are.
            size: of the frames; videos of another are scaled and cropped (`clips.read_frames`).
            context: name of the selector of what is remembered.
            captions: what the context attends to (`story.layout.shot_layout`).

        Raises:
            InputError: there is no such selector.
        """
        self._manifest, self._size, self._context = manifest, size, context
        self._captions: CaptionChoice = captions
        self._selector = get_selector(context)
        self._places = [(video, shot) for video in manifest.videos for shot in range(len(video.shots))]
        self._lengths = np.array([len(strided_frames(video.shots[shot].length_frames)) for video, shot in self._places])

    @property
    def identity(self) -> Mapping[str, object]:
        return {
            "source": "manifest",
            "digest": self._manifest.digest,
            "size": [self._size.height, self._size.width],
            "context": self._context,
            "captions": self._captions,
        }

    def draw(self, rng: np.random.Generator, chunks: int) -> ShotSample:
        wanted = frames_of_chunks(check_chunks(chunks))
        long_enough = np.flatnonzero(self._lengths >= wanted)
        if not len(long_enough):
            raise InputError(
                f"{self._manifest.path.name}: expected a shot of {chunks} chunks ({wanted} frames), the longest has "
                f"{self._lengths.max()} frames; ask for fewer chunks or add longer shots"
            )
        video, shot = self._places[rng.choice(long_enough)]
        return cut_shot(_Filmed(video, self._size), shot, chunks, self._selector, rng, self._captions)

    def draw_picture(self, rng: np.random.Generator) -> ShotSample:
        video, shot = self._places[rng.integers(len(self._places))]
        return cut_picture(_Filmed(video, self._size), shot)

    def draw_script(self, rng: np.random.Generator, shots: int) -> Script:
        long_enough = [video for video in self._manifest.videos if len(video.shots) >= shots]
        if not long_enough:
            raise InputError(
                f"{self._manifest.path.name}: expected a video of {shots} shots, the longest has "
                f"{max(len(video.shots) for video in self._manifest.videos)}; ask for fewer shots or add longer videos"
            )
        video = long_enough[rng.integers(len(long_enough))]
        return Script(video.global_caption, tuple(ShotSpec(clip.caption) for clip in video.shots[:shots]))


@dataclass(frozen=True)
class _Filmed:
    """The footage of a video of the manifest."""

    video: MultiShotVideo
    size: VideoSize

    @cached_property
    def shots(self) -> list[PastShot]:
        return [PastShot(index, shot.length_frames, shot.caption) for index, shot in enumerate(self.video.shots)]

    def context_frames(self, references: Sequence[FrameRef]) -> Frames:
        clips = self.video.shots
        return read_frames(clips[0].video, [clips[one.shot].start + one.frame for one in references], self.size)

    def shot_frames(self, shot: int, frames: int) -> Frames:
        clip = self.video.shots[shot]
        chosen = strided_frames(clip.length_frames)[:frames]
        return read_frames(clip.video, [clip.start + frame for frame in chosen], self.size)

    def caption(self, shot: int) -> str:
        return compose_caption(self.video.global_caption, shot, self.video.shots[shot].caption)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str | None, Any]]]:
    """The rows of the CSV with the line each ends on."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: expected UTF-8 text ({error}); save the file in that encoding") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_columns(reader.fieldnames or [], path.name)
        yield from ((reader.line_num, row) for row in reader)
    except csv.Error as error:
        raise InputError(f"{path.name}, line {reader.line_num}: no CSV ({error}); check the quotes") from error


def _check_columns(columns: Sequence[str], name: str) -> None:
    check_keys(dict.fromkeys(columns), COLUMNS, f"{name}, line 1")
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise InputError(f"{name}, line 1: missing column '{missing[0]}'; expected {', '.join(COLUMNS)}")


def _read_row(row: Mapping[str | None, Any], line: int, directory: Path) -> MultiShotVideo:
    if None in row or any(value is None for value in row.values()):
        raise InputError("expected as many values as columns; quote values that hold a comma")
    json_path, video = directory / row["json_path"], directory / row["video_path"]
    script = parse_json(read_text(json_path), json_path.name)
    ranges = _parse_ranges(row["frame_number"])
    counts = (row["shot_num_from_caption"].strip(), str(len(script.shots)), str(len(ranges)))
    if len(set(counts)) > 1:
        raise InputError(
            f"expected one number of shots, got {counts[0] or 'none'} in shot_num_from_caption, {counts[1]} in "
            f"{json_path.name} and {counts[2]} in frame_number; make them agree"
        )
    _check_ranges(ranges, count_frames(video), video.name)
    clips = (ShotClip(video, start, end, shot.text) for (start, end), shot in zip(ranges, script.shots, strict=True))
    return MultiShotVideo(line, script.global_caption, tuple(clips))


def _parse_ranges(text: str) -> list[tuple[int, int]]:
    try:
        ranges = [(start, end) for start, end in json.loads(text)]
    except (RecursionError, TypeError, ValueError) as error:
        raise InputError(f"expected frame_number as [[start, end], ...], got {text[:80]!r}; one pair a shot") from error
    if any(type(number) is not int for pair in ranges for number in pair):
        raise InputError(f"expected whole numbers in frame_number, got {text[:80]!r}; count frames from 0")
    return ranges


def _check_ranges(ranges: Sequence[tuple[int, int]], frames: int, name: str) -> None:
    """Raises InputError where a shot is empty, begins before the one in front of it ends, or leaves the video."""
    for start, end in ranges:
        if start >= end:
            raise InputError(f"expected shots of at least one frame, got [{start}, {end}]; the end is not part of it")
        if start < 0 or end > frames:
            raise InputError(f"expected frames within 0 to {frames} of {name}, got [{start}, {end}]; correct the range")
    for before, after in pairwise(ranges):
        if after[0] < before[1]:
            raise InputError(f"expected shots in order, got {list(after)} after {list(before)}; they overlap")


def _digest(videos: Sequence[MultiShotVideo]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for video in videos:
        path = video.shots[0].video
        stat = path.stat()
        shots = [[shot.start, shot.end, shot.caption] for shot in video.shots]
        record = [video.line, video.global_caption, shots, path.name, stat.st_size, stat.st_mtime_ns]
        digest.update(json.dumps(record).encode())
    return digest.hexdigest()
