"""Data sets on disk: the published layout, the frames, and the ground truth come back."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from shotstream.core.video import iter_video
from shotstream.world.dataset import INDEX_COLUMNS, frame_ranges, write_dataset
from shotstream.world.render import render_shot
from shotstream.world.scene import WorldStory
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


def test_the_ground_truth_comes_back(directory: Path) -> None:
    truths = [json.loads(path.read_text()) for path in sorted(directory.glob("*.truth.json"))]
    assert [WorldStory.from_dict(truth) for truth in truths] == STORIES


def test_videos_show_the_shots_where_the_ranges_say(directory: Path) -> None:
    video = np.stack(list(iter_video(directory / "story000001.mp4"))).astype(float)
    ranges = frame_ranges(STORIES[1])
    assert len(video) == ranges[-1][1]
    for shot_index, (start, end) in enumerate(ranges):
        errors = [np.abs(video[start:end] - render_shot(STORIES[1], other)).mean() for other in range(len(ranges))]
        assert int(np.argmin(errors)) == shot_index
        assert errors[shot_index] < 8, errors
