"""Cuts: found at the right frame, also inside one place, and none where there is only motion."""

import numpy as np
import pytest

from shotstream.world.cuts import detect_cuts
from shotstream.world.dataset import frame_ranges
from shotstream.world.render import render_story
from shotstream.world.scene import Character, WorldShot, WorldStory
from shotstream.world.stories import sample_story

SAME_PLACE = WorldStory(
    (Character("fox", "red", "none", "plain"), Character("owl", "blue", "hat", "spots")),
    "village",
    "dusk",
    ("house", "church", "house"),
    (
        WorldShot((0,), "wide", "still", "walk left", 1),
        WorldShot((1,), "wide", "still", "dance", 2),
        WorldShot((0, 1), "wide", "still", "jump", 1),
        WorldShot((0,), "medium", "push in", "wave", 1),
    ),
)


def wanted(story: WorldStory) -> list[int]:
    return [start for start, _ in frame_ranges(story)][1:]


@pytest.mark.parametrize("story", [SAME_PLACE, sample_story(21, chunks=1), sample_story(22, chunks=2)])
def test_every_cut_is_found_at_its_frame(story: WorldStory) -> None:
    assert detect_cuts(np.concatenate(list(render_story(story)))) == wanted(story)


def test_cuts_are_found_under_noise() -> None:
    frames = np.concatenate(list(render_story(SAME_PLACE))).astype(float)
    noisy = frames + np.random.default_rng(0).normal(0, 5, frames.shape)
    assert detect_cuts(np.clip(noisy, 0, 255).astype(np.uint8)) == wanted(SAME_PLACE)


def test_a_shot_has_no_cut() -> None:
    for seed in (31, 32):
        story = sample_story(seed, chunks=3)
        assert detect_cuts(next(render_story(story))) == []


def test_no_frames_have_no_cuts() -> None:
    assert detect_cuts(np.zeros((1, 80, 128, 3), dtype=np.uint8)) == []
