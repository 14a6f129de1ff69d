"""Training videos in the published layout, and samples of their shots.

A CSV has one row a video (`story.published_layout`). Shots stand in order; there may be frames between them.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT, ShotShape, VideoSize
from shotstream.core.video import Frames
from shotstream.data.clips import read_frames, read_times, resample_frames, strided_frames
from shotstream.data.samples import ShotSample, VideoSample, cut_picture, cut_shot
from shotstream.model.config import CaptionChoice
from shotstream.story.captions import compose_caption
from shotstream.story.published_layout import (
    CSV_COLUMNS,
    CsvRow,
    check_cells,
    find_named_file,
    parse_ranges,
    read_row_captions,
    read_table,
)
from shotstream.story.script import Script
from shotstream.story.selectors import FrameRef, PastShot, get_selector
from shotstream.story.shot_spec import ShotSpec

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShotClip:
    """One shot: frames `start` to `end - 1` of a video, and its own caption.

    `length_frames` is how many frames a model is shown: those of 16 a second where `resampled`, else all.
    """

    video: Path
    start: int
    end: int
    caption: str
    length_frames: int
    resampled: bool

    def file_frames(self) -> Sequence[int]:
        """Return the frame of the video for each frame that a model is shown.

        Raises:
            InputError: the video cannot be read.
        """
        if not self.resampled:
            return range(self.start, self.end)
        return resample_frames(_times(self.video), self.start, self.end).tolist()


@dataclass(frozen=True)
class MultiShotVideo:
    """One row of a manifest; `line` is where it ends in the CSV."""

    line: int
    global_caption: str
    shots: tuple[ShotClip, ...]


@dataclass(frozen=True)
class BadRow:
    """A row of a manifest that cannot be used: where it ends in the CSV, the video path in it, and why."""

    line: int
    video_path: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """All videos of a CSV that can be used; `skipped` rows could not.

    `digest` changes with every caption, frame range and way to read them, and with every video's name, size or time of
    writing.
    """

    path: Path
    videos: tuple[MultiShotVideo, ...]
    skipped: int
    digest: str


def read_manifest(path: str | Path, *, skip_bad: bool = False, resample: bool = True) -> Manifest:
    """Return the videos of a CSV in the published layout, every row checked against its files.

    Args:
        path: the CSV.
        skip_bad: leave bad rows out, with a warning each, and count them.
        resample: show the videos at 16 frames a second, by the times of their frames; else every frame counts as one.

    Raises:
        InputError: the CSV cannot be read, lacks a column, or has no row that can be used; without `skip_bad` also a
            row that does not fit its JSON and its video. It names the file and the line.
    """
    path = Path(path)
    videos: list[MultiShotVideo] = []
    skipped = 0
    for row in read_rows(path, resample=resample):
        if isinstance(row, MultiShotVideo):
            videos.append(row)
            continue
        if not skip_bad:
            raise InputError(row.reason)
        _log.warning("%s; left out", row.reason)
        skipped += 1
    if not videos:
        raise InputError(f"{path.name}: expected at least one row that can be used, got none ({skipped} bad); add one")
    return Manifest(path, tuple(videos), skipped, _digest(videos))


def read_rows(path: Path, *, resample: bool = True) -> Iterator[MultiShotVideo | BadRow]:
    """Yield the rows of a CSV in the published layout in order, each checked against its files.

    Args:
        path: the CSV.
        resample: as for `read_manifest`.

    Raises:
        InputError: the CSV cannot be read, or lacks a column.
    """
    for line, row in read_table(path, CSV_COLUMNS[1:]):
        try:
            yield _read_row(row, line, path, resample=resample)
        except InputError as error:
            yield BadRow(line, row.get("video_path") or "", f"{path.name}, line {line}: {error}")


class ManifestShots:
    """A `data.samples.ShotSource` of the shots of a manifest, each as likely as another.

    A shot that is longer than the model's longest is shown with a stride (`clips.strided_frames`); what is remembered
    of it is chosen from all its frames.
    """

    def __init__(
        self,
        manifest: Manifest,
        size: VideoSize,
        context: str = "dynamic",
        captions: CaptionChoice = "per_shot",
        shape: ShotShape = PAPER_SHOT,
    ) -> None:
        """The shots of `manifest`.

        Args:
            manifest: where the shots are.
            size: of the frames; videos of another are scaled and cropped (`clips.read_frames`).
            context: name of the selector of what is remembered.
            captions: what the context attends to (`story.layout.shot_layout`).
            shape: of the model's shots.

        Raises:
            InputError: there is no such selector.
        """
        self._manifest, self._size, self._context = manifest, size, context
        self._captions: CaptionChoice = captions
        self.shape = shape
        self._selector = get_selector(context)
        self._places = [(video, shot) for video in manifest.videos for shot in range(len(video.shots))]
        self._lengths = np.array([_count_frames(video.shots[shot], shape) for video, shot in self._places])

    @property
    def identity(self) -> Mapping[str, object]:
        return {
            "source": "manifest",
            "digest": self._manifest.digest,
            "size": [self._size.height, self._size.width],
            "context": self._context,
            "captions": self._captions,
            **({} if self.shape == PAPER_SHOT else {"shape": asdict(self.shape)}),
        }

    def draw(self, rng: np.random.Generator, chunks: int) -> ShotSample:
        wanted = self.shape.frames_of_chunks(self.shape.check_chunks(chunks))
        long_enough = np.flatnonzero(self._lengths >= wanted)
        if not len(long_enough):
            raise InputError(
                f"{self._manifest.path.name}: expected a shot of {chunks} chunks ({wanted} frames), the longest has "
                f"{self._lengths.max()} frames; ask for fewer chunks or add longer shots"
            )
        video, shot = self._places[rng.choice(long_enough)]
        return cut_shot(
            _Filmed(video, self._size, self.shape), shot, chunks, self.shape, self._selector, rng, self._captions
        )

    def draw_picture(self, rng: np.random.Generator) -> ShotSample:
        video, shot = self._places[rng.integers(len(self._places))]
        return cut_picture(_Filmed(video, self._size, self.shape), shot, self.shape)

    def draw_script(self, rng: np.random.Generator, shots: int) -> Script:
        long_enough = [video for video in self._manifest.videos if len(video.shots) >= shots]
        if not long_enough:
            raise InputError(
                f"{self._manifest.path.name}: expected a video of {shots} shots, the longest has "
                f"{max(len(video.shots) for video in self._manifest.videos)}; ask for fewer shots or add longer videos"
            )
        video = long_enough[rng.integers(len(long_enough))]
        return Script(video.global_caption, tuple(ShotSpec(clip.caption) for clip in video.shots[:shots]))

    def draw_video(self, rng: np.random.Generator, chunks: Sequence[int]) -> VideoSample:
        wanted = [max(self.shape.frames_of_shot(self.shape.check_chunks(count))) for count in chunks]
        places = [
            (video, first)
            for video in self._manifest.videos
            for first in range(len(video.shots) - len(chunks) + 1)
            if all(
                _count_frames(clip, self.shape) >= frames
                for clip, frames in zip(video.shots[first:], wanted, strict=False)
            )
        ]
        if not places:
            raise InputError(
                f"{self._manifest.path.name}: expected a video with {len(chunks)} shots in a row of at least {wanted} "
                "frames, there is none; ask for fewer or shorter shots, or add longer videos"
            )
        video, first = places[rng.integers(len(places))]
        clips = video.shots[first : first + len(chunks)]
        specs = tuple(ShotSpec(clip.caption, count) for clip, count in zip(clips, chunks, strict=True))
        return VideoSample(
            Script(video.global_caption, specs), _Filmed(video, self._size, self.shape), self.shape, first
        )


@dataclass(frozen=True)
class _Filmed:
    """The footage of a video of the manifest."""

    video: MultiShotVideo
    size: VideoSize
    shape: ShotShape

    @cached_property
    def shots(self) -> list[PastShot]:
        return [PastShot(index, shot.length_frames, shot.caption) for index, shot in enumerate(self.video.shots)]

    def context_frames(self, references: Sequence[FrameRef]) -> Frames:
        frames = {shot: self.video.shots[shot].file_frames() for shot in {one.shot for one in references}}
        return read_frames(self.video.shots[0].video, [frames[one.shot][one.frame] for one in references], self.size)

    def shot_frames(self, shot: int, frames: int) -> Frames:
        clip = self.video.shots[shot]
        chosen = strided_frames(clip.length_frames, self.shape.max_frames)[:frames]
        own = clip.file_frames()
        return read_frames(clip.video, [own[frame] for frame in chosen], self.size)

    def subjects(self, shot: int, frames: int) -> None:
        """Return None: a video does not say what it shows where."""

    def caption(self, shot: int) -> str:
        return compose_caption(self.video.global_caption, shot, self.video.shots[shot].caption)


def _count_frames(clip: ShotClip, shape: ShotShape) -> int:
    """Return how many frames of a shot are shown."""
    return len(strided_frames(clip.length_frames, shape.max_frames))


_times = lru_cache(maxsize=256)(read_times)
"""Times of the frames of the videos that were read last: a shot's frames are asked for several times."""


def _read_row(cells: CsvRow, line: int, path: Path, *, resample: bool) -> MultiShotVideo:
    row = check_cells(cells)
    ranges = parse_ranges(row["frame_number"])
    captions = read_row_captions(row, path, ranges, f"{path.name}, line {line}")
    video = find_named_file(row["video_path"], path)
    times = _times(video)
    _check_ranges(ranges, len(times) - 1, video.name)
    clips = []
    for (start, end), text in zip(ranges, captions.shots, strict=True):
        length = len(resample_frames(times, start, end)) if resample else end - start
        clips.append(ShotClip(video, start, end, text, length, resample))
    return MultiShotVideo(line, captions.global_caption, tuple(clips))


def _check_ranges(ranges: Sequence[tuple[int, int]], frames: int, name: str) -> None:
    """Raise InputError where a shot begins before the one in front of it ends, or leaves the video."""
    for start, end in ranges:
        if start < 0 or end > frames:
            raise InputError(f"expected frames within 0 to {frames} of {name}, got [{start}, {end}]; correct the range")
    for before, after in pairwise(ranges):
        if after[0] < before[1]:
            raise InputError(f"expected shots in order, got {list(after)} after {list(before)}; correct one")


def _digest(videos: Sequence[MultiShotVideo]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for video in videos:
        path = video.shots[0].video
        stat = path.stat()
        shots = [[shot.start, shot.end, shot.caption, shot.resampled] for shot in video.shots]
        record = [video.line, video.global_caption, shots, path.name, stat.st_size, stat.st_mtime_ns]
        digest.update(json.dumps(record).encode())
    return digest.hexdigest()
