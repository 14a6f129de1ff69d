"""StoryWorld as files, in the layout the published test scripts use.

`stories.csv` has one row a story: `shot_num_from_caption` (how many shots), `json_path` and `video_path` (relative to
the directory of the CSV) and `frame_number`, a list of `[start, end]` a shot: frames `start` to `end - 1` of the
video. The JSON beside each video holds `global_caption` and `shot1` .. `shotN`; `*.truth.json` is the ground truth,
hidden traits included.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from shotstream.core.atomic_files import make_directory, write_bytes, write_json
from shotstream.core.errors import InputError
from shotstream.core.spec import FPS
from shotstream.core.video import write_video
from shotstream.world.captions import story_captions
from shotstream.world.render import render_story
from shotstream.world.scene import WorldStory

INDEX_NAME = "stories.csv"
INDEX_COLUMNS = ("shot_num_from_caption", "json_path", "video_path", "frame_number")


@dataclass(frozen=True)
class Entry:
    """One story on disk: its files, its captions, the half-open frame range of every shot, its ground truth."""

    json_path: Path
    video_path: Path
    global_caption: str
    shot_captions: tuple[str, ...]
    frame_ranges: tuple[tuple[int, int], ...]
    truth: WorldStory


def write_dataset(
    stories: Iterable[WorldStory],
    directory: str | Path,
    caption_variant: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Renders stories into a directory and returns the path of its CSV, which is written last.

    Args:
        stories: what to render, in order.
        directory: made where it is missing.
        caption_variant: phrasing of the captions (0 is the plain one); None gives each story another.
        progress: called with the number of stories done after each.

    Raises:
        InputError: the directory cannot be written.
    """
    directory = make_directory(Path(directory))
    rows = io.StringIO()
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(INDEX_COLUMNS)
    for number, story in enumerate(stories):
        name = f"story{number:06d}"
        variant = number + 1 if caption_variant is None else caption_variant
        _write_story(story, directory, name, variant)
        ranges = json.dumps([list(pair) for pair in frame_ranges(story)])
        table.writerow((len(story.shots), f"{name}.json", f"{name}.mp4", ranges))
        if progress:
            progress(number + 1)
    path = directory / INDEX_NAME
    write_bytes(path, rows.getvalue().encode())
    return path


def frame_ranges(story: WorldStory) -> tuple[tuple[int, int], ...]:
    """Start (in) and end (out) of every shot in the story's video."""
    return tuple(pairwise(accumulate((shot.frames for shot in story.shots), initial=0)))


def read_dataset(directory: str | Path) -> list[Entry]:
    """The stories of a directory that `write_dataset` made.

    Raises:
        InputError: it is not such a directory.
    """
    directory = Path(directory)
    path = directory / INDEX_NAME
    if not path.is_file():
        raise InputError(f"expected {INDEX_NAME} in {directory}; make one with 'shotstream world dataset'")
    with path.open(newline="") as file:
        return [_read_entry(directory, row) for row in csv.DictReader(file)]


def _write_story(story: WorldStory, directory: Path, name: str, variant: int) -> None:
    global_caption, shots = story_captions(story, variant)
    captions = {"global_caption": global_caption} | {f"shot{i}": text for i, text in enumerate(shots, start=1)}
    write_video(directory / f"{name}.mp4", render_story(story), FPS)
    write_json(directory / f"{name}.json", captions)
    write_json(directory / f"{name}.truth.json", story.to_dict())


def _read_entry(directory: Path, row: dict[str, str]) -> Entry:
    if any(row.get(column) is None for column in INDEX_COLUMNS):
        raise InputError(
            f"expected the columns {', '.join(INDEX_COLUMNS)} in {directory / INDEX_NAME}; got {sorted(row)}"
        )
    json_path = directory / row["json_path"]
    captions = json.loads(json_path.read_text())
    truth = json_path.with_suffix(".truth.json")
    count = int(row["shot_num_from_caption"])
    return Entry(
        json_path=json_path,
        video_path=directory / row["video_path"],
        global_caption=captions["global_caption"],
        shot_captions=tuple(captions[f"shot{number}"] for number in range(1, count + 1)),
        frame_ranges=tuple((start, end) for start, end in json.loads(row["frame_number"])),
        truth=WorldStory.from_dict(json.loads(truth.read_text()), truth.name),
    )
