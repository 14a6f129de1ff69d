"""Data sets on disk: the published layout, the frames, and the ground truth come back."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from shotstream.core.errors import InputError
from shotstream.core.video import iter_video
from shotstream.world.dataset import INDEX_COLUMNS, frame_ranges, read_dataset, write_dataset
from shotstream.world.render import render_shot
from shotstream.world.stories import sample_story

STORIES = [sample_story(seed, shots=2 + seed, chunks=1) for seed in range(2)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(STORIES, tmp_path_factory.mktemp("dataset") / "made").parent


def test_the_layout_is_the_published_one(directory: Path) -> None:
    with (directory / "stories.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == INDEX_COLUMNS
    assert rows[1]["shot_num_from_caption"] == "3"
    assert json.loads(rows[1]["frame_number"]) == [[0, 9], [9, 18], [18, 27]]
    captions = json.loads((directory / rows[1]["json_path"]).read_text())
    assert list(captions) == ["global_caption", "shot1", "shot2", "shot3"]


def test_stories_come_back(directory: Path) -> None:
    entries = read_dataset(directory)
    assert [entry.truth for entry in entries] == STORIES
    assert [entry.frame_ranges for entry in entries] == [frame_ranges(story) for story in STORIES]
    assert [len(entry.shot_captions) for entry in entries] == [2, 3]


def test_videos_show_the_shots_where_the_ranges_say(directory: Path) -> None:
    entry = read_dataset(directory)[1]
    video = np.stack(list(iter_video(entry.video_path))).astype(float)
    assert len(video) == entry.frame_ranges[-1][1]
    for shot_index, (start, end) in enumerate(entry.frame_ranges):
        errors = [
            np.abs(video[start:end] - render_shot(entry.truth, other)).mean()
            for other in range(len(entry.frame_ranges))
        ]
        assert int(np.argmin(errors)) == shot_index
        assert errors[shot_index] < 8, errors


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected stories\.csv"):
        read_dataset(tmp_path)
    (tmp_path / "stories.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="expected the columns"):
        read_dataset(tmp_path)
