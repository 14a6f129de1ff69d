"""The directory of a study: its systems, its stories and copies of their videos, so that it can be moved as a whole."""

import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from shotstream.core.atomic_files import make_directory, write_json, writing
from shotstream.core.config import from_dict
from shotstream.core.errors import InputError
from shotstream.core.video import holds_frames, open_video
from shotstream.metrics.videos import ScoredVideo, UnreadableVideo, find_videos

STUDY_FILE = "study.json"
VIDEOS = "videos"
MIN_SYSTEMS, MAX_SYSTEMS = 2, 6
PLAYED = {".mp4": ("h264", "av1"), ".webm": ("vp8", "vp9", "av1")}
"""Codecs that every browser plays, by the suffix of the file."""


@dataclass(frozen=True)
class Question:
    """One question, asked of every story: its key in the votes, its heading in the report, and its words."""

    key: str
    title: str
    text: str


QUESTIONS = (
    Question(
        "consistency",
        "Visual consistency",
        "In which video do people, animals, things and places stay the same from shot to shot?",
    ),
    Question("prompt", "Prompt adherence", "Which video shows best what the captions say, shot by shot?"),
    Question("quality", "Visual quality", "Which video looks best: sharp, without faults, with natural motion?"),
)
"""The three aspects that the paper asks about; the phrasing is ours."""


@dataclass(frozen=True)
class StudyStory:
    """One story: its script, the seconds at which its shots begin, and a video of each system, in their order."""

    name: str
    global_caption: str
    captions: tuple[str, ...]
    starts_s: tuple[float, ...]
    videos: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """A study. `left_out` has the reason for every story that is not shown."""

    id: str
    systems: tuple[str, ...]
    stories: tuple[StudyStory, ...]
    questions: tuple[Question, ...] = QUESTIONS
    left_out: tuple[UnreadableVideo, ...] = field(default=())


def make_study(systems: Mapping[str, Path], output: Path) -> Study:
    """Copy the videos of the stories that all systems have into a new directory, and write `study.json`.

    Args:
        systems: the directory of each system's videos, by the name for the report; as `evaluate videos` takes them.
        output: a directory that does not exist yet or is empty.

    Raises:
        InputError: too few or too many systems, the output is in use, or no story can be shown.
    """
    if not MIN_SYSTEMS <= len(systems) <= MAX_SYSTEMS:
        raise InputError(f"expected {MIN_SYSTEMS} to {MAX_SYSTEMS} directories of videos, got {len(systems)}")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"cannot make a study in {output}: it is not empty; choose another directory")
    found = [{one.name: one for one in find_videos(directory)} for directory in systems.values()]
    names = list(systems)
    reasons = {story: _why_not(story, names, found) for story in sorted(set().union(*found))}
    shown = [story for story, reason in reasons.items() if not reason]
    left_out = tuple(UnreadableVideo(story, reason) for story, reason in reasons.items() if reason)
    if not shown:
        told = "; ".join(f"{one.name}: {one.reason}" for one in left_out[:3])
        raise InputError(f"expected a story that all systems show, found none of {len(left_out)} ({told})")
    stories = tuple(_copy_story([of[story] for of in found], output) for story in shown)
    study = Study(secrets.token_hex(8), tuple(names), stories, left_out=left_out)
    write_json(output / STUDY_FILE, asdict(study))
    return study


def _why_not(story: str, names: Sequence[str], found: Sequence[Mapping[str, ScoredVideo | UnreadableVideo]]) -> str:
    """Return why a story cannot be shown, or nothing."""
    videos = []
    for name, of in zip(names, found, strict=True):
        video = of.get(story)
        if video is None:
            return f"{name} has no video of it"
        if isinstance(video, UnreadableVideo):
            return f"{name}: {video.reason}"
        if problem := _unplayable(video.path):
            return f"{name}: {problem}"
        videos.append(video)
    scripts = {(video.global_caption, video.captions) for video in videos}
    return "" if len(scripts) == 1 else "the systems' scripts of it differ"


def _unplayable(path: Path) -> str:
    """Return why a browser cannot play a video to its end, or nothing."""
    with open_video(path) as (_, stream):
        codec, frames = stream.codec_context.name, stream.frames
    if frames and not holds_frames(path, frames):
        return f"{path.name} is cut off or damaged; copy or encode it again"
    if any(codec.endswith(known) or known in codec for known in PLAYED.get(path.suffix.lower(), ())):
        return ""
    return f"{path.name} has {codec} video, which not every browser plays; convert it to H.264 in .mp4"


def _copy_story(videos: Sequence[ScoredVideo | UnreadableVideo], output: Path) -> StudyStory:
    copied = []
    scored = [video for video in videos if isinstance(video, ScoredVideo)]
    for number, video in enumerate(scored):
        target = Path(VIDEOS) / str(number) / video.path.name
        make_directory((output / target).parent)
        with writing(output / target):
            shutil.copyfile(video.path, output / target)
        copied.append(target.as_posix())
    first = scored[0]
    starts = tuple(round((start - first.ranges[0][0]) / first.fps, 3) for start, _ in first.ranges)
    return StudyStory(first.name, first.global_caption, first.captions, starts, tuple(copied))


def read_study(directory: Path) -> Study:
    """Read a study and check that all its videos are there.

    Raises:
        InputError: there is no study, or it is damaged, or videos are missing: named and counted.
    """
    path = directory / STUDY_FILE
    if not path.is_file():
        raise InputError(
            f"expected {STUDY_FILE} of 'shotstream study make' in {directory}, found none; if it was moved, name where"
        )
    try:
        study = from_dict(Study, json.loads(path.read_text(encoding="utf8")), str(path))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a study as 'shotstream study make' wrote it: {error}") from error
    videos = [name for story in study.stories for name in story.videos]
    missing = [name for name in videos if not (directory / name).is_file()]
    if missing:
        told = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(f"{directory}: {len(missing)} of {len(videos)} videos are missing ({told}); copy them there")
    return study
