"""Write StoryWorld stories as files, in the layout of the published test scripts.

`stories.csv` has one row a story: `shot_num_from_caption` (how many shots), `json_path` and `video_path` (relative to
the directory of the CSV) and `frame_number`, a list of `[start, end]` a shot: frames `start` to `end - 1` of the
video. The JSON beside each video holds `global_caption` and `shot1` .. `shotN`; `*.truth.json` is the ground truth,
hidden traits included.
"""

import csv
import io
import json
from collections.abc import Iterable
from itertools import accumulate, pairwise
from pathlib import Path

from shotstream.core.atomic_files import make_directory, write_bytes, write_json
from shotstream.core.spec import FPS
from shotstream.core.video import write_video
from shotstream.world.captions import story_captions
from shotstream.world.render import render_story
from shotstream.world.scene import WorldStory

INDEX_NAME = "stories.csv"
INDEX_COLUMNS = ("shot_num_from_caption", "json_path", "video_path", "frame_number")


def write_dataset(
    stories: Iterable[WorldStory],
    directory: str | Path,
    caption_variant: int | None = None,
) -> Path:
    """Render stories into a directory and return the path of its CSV, which is written last.

    Args:
        stories: what to render, in order.
        directory: made where it is missing.
        caption_variant: phrasing of the captions (0 is the plain one); None gives each story another.

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
    path = directory / INDEX_NAME
    write_bytes(path, rows.getvalue().encode())
    return path


def frame_ranges(story: WorldStory) -> tuple[tuple[int, int], ...]:
    """Return start (inclusive) and end (exclusive) frame of every shot in the story's video."""
    return tuple(pairwise(accumulate((shot.frames for shot in story.shots), initial=0)))


def _write_story(story: WorldStory, directory: Path, name: str, variant: int) -> None:
    global_caption, shots = story_captions(story, variant)
    captions = {"global_caption": global_caption} | {f"shot{i}": text for i, text in enumerate(shots, start=1)}
    write_video(directory / f"{name}.mp4", render_story(story), FPS)
    write_json(directory / f"{name}.json", captions)
    write_json(directory / f"{name}.truth.json", story.to_dict())
