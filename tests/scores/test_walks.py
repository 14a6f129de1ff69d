"""The measured way of walkers: that of true renders, and none for those who stand."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from shotstream.scores.story_scores import held_out_stories
from shotstream.scores.walks import (
    MEASURED_WITHIN,
    QUARTER,
    WALKS,
    Walk,
    crossing,
    mean_gap,
    measure_walk,
    standing,
    walked,
)
from shotstream.world.framing import WIDTH
from shotstream.world.render import head_positions, render_shot
from shotstream.world.scene import WorldStory
from shotstream.world.trait_reader import TraitReader
from shotstream.world.traits import CAMERAS, FRAMINGS


def walking_shots(stories: int) -> Iterator[tuple[WorldStory, int]]:
    """Shots of four or more chunks in which somebody is to walk."""
    for story in held_out_stories(stories, first=60_000):
        for index, shot in enumerate(story.shots):
            if shot.action in WALKS and shot.chunks > 3:
                yield story, index


@cache
def measured(*, stand: bool) -> list[Walk]:
    """Walks of true renders; or of renders in which everybody waves instead, read as if they walked."""
    reader, walks = TraitReader.load(), []
    for story, index in walking_shots(60):
        shown = replace(story, shots=tuple(replace(one, action="wave") for one in story.shots)) if stand else story
        frames = render_shot(shown, index)
        walk = measure_walk(reader, reader.read(frames), frames, story, index)
        assert walk is not None
        walks.append(walk)
    return walks


def test_true_walks_are_measured_within_what_is_stated() -> None:
    walks = measured(stand=False)
    assert len(walks) > 20
    assert np.mean([abs(walk.made - walk.true) <= MEASURED_WITHIN for walk in walks]) >= 0.95
    assert mean_gap(walks) * WIDTH < 2.5
    share = crossing(walks)
    assert share.total >= 5
    assert share.right == share.total


def test_who_stands_does_not_walk_whatever_the_camera_does() -> None:
    walks = measured(stand=True)
    assert crossing(walks).total >= 5
    assert crossing(walks).right == 0
    assert max(walk.made for walk in walks) < QUARTER / 2


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_who_stands_is_where_the_camera_puts_them(camera, framing) -> None:
    story = held_out_stories(1)[0]
    shot = replace(story.shots[0], cast=(0,), camera=camera, framing=framing, action="eat", chunks=7)
    story = replace(story, shots=(shot,))
    (_, start), (_, end) = (head_positions(story, 0, frame)[0] for frame in (4, 76))
    assert standing(shot, (4, start), 76) == pytest.approx(end, abs=1e-6)
    walk = replace(shot, action="walk right")
    assert walked(walk, (4, start), (76, end)) <= 1e-6
    assert walked(walk, (4, 20.0), (76, 20.0 - 32)) < 0, "the wrong way"


def test_nobody_walks_where_nobody_should_or_can() -> None:
    story, index = next(walking_shots(20))
    reader = TraitReader.load()
    frames = render_shot(story, index)
    reading = reader.read(frames)
    still = replace(story, shots=tuple(replace(one, action="sleep") for one in story.shots))
    assert measure_walk(reader, reading, frames, still, index) is None
    assert measure_walk(reader, reading, frames[:9], story, index) is None


def test_a_walker_who_is_not_there_gets_nowhere() -> None:
    story, index = next(walking_shots(20))
    reader = TraitReader.load()
    frames = render_shot(story, index)
    reading = replace(reader.read(frames), characters=())
    walk = measure_walk(reader, reading, frames, story, index)
    assert walk is not None
    assert walk.made == 0
    assert walk.true > 0
