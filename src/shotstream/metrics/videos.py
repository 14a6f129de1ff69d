"""Find the videos of a directory with their scripts, and cut them into shots."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, count, pairwise
from pathlib import Path

import numpy as np

from shotstream.core.errors import InputError
from shotstream.core.spec import FPS, PAPER_SHOT
from shotstream.core.video import Frame, Frames, iter_video, probe_video
from shotstream.data.manifest import BadRow, MultiShotVideo, read_rows
from shotstream.story.characters import read_characters
from shotstream.story.script_files import load_scripts

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi")
VIDEO_SCRIPT_SUFFIXES = (".json", ".yaml", ".yml")
MIN_SHOT_FRAMES = 2
MIN_SIDE = 16
"""Of a frame, in pixels; optical flow cannot be computed of much less."""
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
        """Return the frame numbers at which the script wants new shots to begin, from 0 at the first shot's start."""
        return [start - self.ranges[0][0] for start, _ in self.ranges[1:]]

    @property
    def lengths(self) -> list[int]:
        """Return the number of frames of each shot."""
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


def find_videos(source: Path) -> Iterator[ScoredVideo | UnreadableVideo]:
    """Yield every video of a directory, in order of its name; a video that cannot be scored comes with its reason.

    A `.csv` in the directory (the published layout), or given in its place, names the videos and their frame ranges.
    Without one, each video needs a script of the same name beside it (`a.mp4` and `a.json` or `a.yaml`).
    `a.characters.json` may say who is in each shot: `{"shot1": ["Mara"], ...}`. A name that comes again is numbered.

    Raises:
        InputError: no such directory, no video in it, or more than one CSV.
    """
    if source.suffix.lower() == ".csv" and source.is_file():
        return _numbered(_of_table(source))
    if not source.is_dir():
        raise InputError(f"expected a directory of videos, or a CSV that names them, got {source}; check the path")
    tables = sorted(source.glob("*.csv"))
    if len(tables) > 1:
        found = ", ".join(table.name for table in tables)
        raise InputError(f"expected one CSV that names the videos of {source}, found {found}; give the path of one")
    if tables:
        return _numbered(_of_table(tables[0]))
    paths = sorted(path for path in source.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not paths:
        raise InputError(f"expected videos ({', '.join(VIDEO_SUFFIXES)}) with scripts in {source}, found none")
    return _numbered(_check(path.stem, partial(_from_script, path)) for path in paths)


def _of_table(table: Path) -> Iterator[ScoredVideo | UnreadableVideo]:
    for row in read_rows(table, resample=False):
        if isinstance(row, BadRow):
            yield UnreadableVideo(Path(row.video_path).stem or f"line {row.line}", row.reason)
        else:
            yield _check(row.shots[0].video.stem, partial(_from_manifest, row))


def _numbered(videos: Iterable[ScoredVideo | UnreadableVideo]) -> Iterator[ScoredVideo | UnreadableVideo]:
    """Give every video a name of its own, because its features are kept under it: a, a-2, a-3."""
    taken: set[str] = set()
    for video in videos:
        names = (video.name if number == 1 else f"{video.name}-{number}" for number in count(1))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        yield replace(video, name=name)


def _check(name: str, read: Callable[[], ScoredVideo]) -> ScoredVideo | UnreadableVideo:
    try:
        video = read()
        info = probe_video(video.path)
        if video.ranges[-1][1] > info.frames:
            raise InputError(f"its shots end at frame {video.ranges[-1][1]} and it has {info.frames}")
        if min(info.height, info.width) < MIN_SIDE:
            raise InputError(f"expected frames of at least {MIN_SIDE}x{MIN_SIDE}, got {info.width}x{info.height}")
        short = min(video.lengths)
        if short < MIN_SHOT_FRAMES:
            raise InputError(f"expected at least {MIN_SHOT_FRAMES} frames a shot, got a shot of {short}")
        notes = (*video.notes, *([f"{info.fps:g} frames a second, not {FPS}"] if info.fps != FPS else []))
        return replace(video, fps=info.fps, notes=notes, characters=read_characters(video.path, len(video.ranges)))
    except InputError as error:
        return UnreadableVideo(name, str(error))


def _from_manifest(video: MultiShotVideo) -> ScoredVideo:
    path = video.shots[0].video
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
    frames, shots = probe_video(path).frames, len(script.shots)
    if frames < MIN_SHOT_FRAMES * shots:
        raise InputError(
            f"expected at least {MIN_SHOT_FRAMES} frames a shot: its script names {shots} "
            f"{'shot' if shots == 1 else 'shots'} and it has {frames} {'frame' if frames == 1 else 'frames'}"
        )
    chunks = [shot.chunks for shot in script.shots]
    plans = [PAPER_SHOT.frames_of_shots(chunks, one_stream=one_stream) for one_stream in (False, True)]
    equal = [frames * (index + 1) // shots - frames * index // shots for index in range(shots)]
    wanted = next((plan for plan in plans if sum(plan) == frames), None)
    totals = " or ".join(str(total) for total in dict.fromkeys(map(sum, plans)))
    notes = () if wanted else (f"{frames} frames, not the script's {totals}: shots taken as equally long",)
    return ScoredVideo(
        path.stem,
        path,
        script.global_caption,
        tuple(shot.text for shot in script.shots),
        tuple(pairwise(accumulate(wanted or equal, initial=0))),
        FPS,
        "script" if wanted else "equal split",
        notes=notes,
    )
