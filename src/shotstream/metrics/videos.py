"""Find the videos of a directory with their scripts, and cut them into shots."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from shotstream.core.errors import InputError
from shotstream.core.spec import FPS, frames_of_chunks
from shotstream.core.video import Frame, Frames, iter_video, probe_video
from shotstream.data.manifest import MultiShotVideo, read_manifest
from shotstream.story.characters import read_characters
from shotstream.story.script_files import load_scripts

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi")
VIDEO_SCRIPT_SUFFIXES = (".json", ".yaml", ".yml")
MIN_SHOT_FRAMES = 2
MAX_SHOT_FRAMES_READ = 2000
"""A longer shot is refused, because all frames of one shot are in memory at once."""


@dataclass(frozen=True)
class ScoredVideo:
    """A video, its captions, and the half-open frame range of every shot.

    `ranges_from` says where the ranges come from: "csv", "script" or "equal split". `characters` names who is in each
    shot, where a file says so. `notes` are warnings that belong into the report.
    """

    name: str
    path: Path
    global_caption: str
    captions: tuple[str, ...]
    ranges: tuple[tuple[int, int], ...]
    fps: float
    ranges_from: str
    characters: tuple[tuple[str, ...], ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def cuts(self) -> list[int]:
        """The frames at which the script wants a new shot to begin, counted from the first shot's first frame."""
        return [start - self.ranges[0][0] for start, _ in self.ranges[1:]]

    @property
    def lengths(self) -> list[int]:
        """Frames of each shot."""
        return [end - start for start, end in self.ranges]

    def iter_shots(self) -> Iterator[Frames]:
        """Decode the video once and yield the frames `[n, h, w, 3]` of each shot.

        Raises:
            InputError: the video cannot be read to its end, or a shot is too long for memory.
        """
        frames = enumerate(iter_video(self.path))
        for start, end in self.ranges:
            if end - start > MAX_SHOT_FRAMES_READ:
                raise InputError(
                    f"{self.path.name}: expected shots of at most {MAX_SHOT_FRAMES_READ} frames, got {end - start}; "
                    "give the script's real cuts"
                )
            shot: list[Frame] = []
            for index, frame in frames:
                if index >= start:
                    shot.append(frame)
                if index == end - 1:
                    break
            if len(shot) < end - start:
                raise InputError(
                    f"{self.path.name}: expected frames {start} to {end - 1} of a shot, but the video ends"
                )
            yield np.stack(shot)


@dataclass(frozen=True)
class UnreadableVideo:
    """A video that cannot be scored, and why."""

    name: str
    reason: str


def find_videos(directory: Path) -> Iterator[ScoredVideo | UnreadableVideo]:
    """Yield every video of a directory, in order of its name; a video that cannot be scored comes with its reason.

    A `.csv` in the directory (the published layout) names the videos and their frame ranges. Without one, each video
    needs a script of the same name beside it (`a.mp4` and `a.json` or `a.yaml`). `a.characters.json` may say who is in
    each shot: `{"shot1": ["Mara"], ...}`.

    Raises:
        InputError: no such directory, or no video in it.
    """
    if not directory.is_dir():
        raise InputError(f"expected a directory of videos, got {directory}; check the path")
    tables = sorted(directory.glob("*.csv"))
    if tables:
        return (
            _check(video.shots[0].video.stem, partial(_from_manifest, video))
            for video in read_manifest(tables[0], resample=False).videos
        )
    paths = sorted(path for path in directory.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not paths:
        raise InputError(f"expected videos ({', '.join(VIDEO_SUFFIXES)}) with scripts in {directory}, found none")
    return (_check(path.stem, partial(_from_script, path)) for path in paths)


def _check(name: str, read: Callable[[], ScoredVideo]) -> ScoredVideo | UnreadableVideo:
    try:
        video = read()
        info = probe_video(video.path)
        if video.ranges[-1][1] > info.frames:
            raise InputError(f"its shots end at frame {video.ranges[-1][1]} and it has {info.frames}")
        short = min(video.lengths)
        if short < MIN_SHOT_FRAMES:
            raise InputError(f"expected at least {MIN_SHOT_FRAMES} frames a shot, got a shot of {short}")
        notes = (*video.notes, *([f"{info.fps:g} frames a second, not {FPS}"] if info.fps != FPS else []))
        return replace(video, fps=info.fps, notes=notes, characters=read_characters(video.path, len(video.ranges)))
    except InputError as error:
        return UnreadableVideo(name, str(error))


def _from_manifest(video: MultiShotVideo) -> ScoredVideo:
    path = video.shots[0].video
    if any(shot.video != path for shot in video.shots):
        raise InputError("expected all shots of a story in one video file")
    return ScoredVideo(
        path.stem,
        path,
        video.global_caption,
        tuple(shot.caption for shot in video.shots),
        tuple((shot.start, shot.end) for shot in video.shots),
        FPS,
        "csv",
    )


def _from_script(path: Path) -> ScoredVideo:
    scripts = [path.with_suffix(suffix) for suffix in VIDEO_SCRIPT_SUFFIXES if path.with_suffix(suffix).is_file()]
    if not scripts:
        raise InputError(f"no script beside it: expected {path.stem}.json or {path.stem}.yaml")
    script = load_scripts(scripts[0])[0]
    frames, count = probe_video(path).frames, len(script.shots)
    if frames < MIN_SHOT_FRAMES * count:
        raise InputError(f"its script names {count} shots and it has {frames} frames")
    wanted = [frames_of_chunks(shot.chunks) for shot in script.shots]
    equal = [frames * (index + 1) // count - frames * index // count for index in range(count)]
    fits = sum(wanted) == frames
    notes = () if fits else (f"{frames} frames, not the script's {sum(wanted)}: shots taken as equally long",)
    return ScoredVideo(
        path.stem,
        path,
        script.global_caption,
        tuple(shot.text for shot in script.shots),
        tuple(pairwise(accumulate(wanted if fits else equal, initial=0))),
        FPS,
        "script" if fits else "equal split",
        notes=notes,
    )
