"""Frames: a pure function of the story, the same in part as in whole, moving as the ground truth says."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from shotstream.core.errors import InputError
from shotstream.world.framing import PAN_SPEED
from shotstream.world.palette import Ink, palette_of
from shotstream.world.render import character_masks, head_positions, render_frames, render_shot, visible_slots
from shotstream.world.scene import Character, WorldShot, WorldStory
from shotstream.world.stories import sample_story
from shotstream.world.traits import (
    ACCESSORIES,
    ACTIONS,
    COLOURS,
    FRAMINGS,
    LANDMARKS,
    PATTERNS,
    PLACES,
    SPECIES,
    TIMES,
    Action,
    Camera,
    Framing,
)

OWL = Character("owl", "blue", "none", "plain")


def one_shot(framing: Framing, camera: Camera = "still", action: Action = "sleep", chunks: int = 3) -> WorldStory:
    return WorldStory(
        (OWL,), "forest", "day", ("pine", "oak", "mushroom"), (WorldShot((0,), framing, camera, action, chunks),)
    )


@pytest.mark.parametrize("seed", range(6))
def test_some_frames_are_the_frames_of_the_whole(seed: int) -> None:
    story = sample_story(seed)
    for shot_index in range(len(story.shots)):
        whole = render_shot(story, shot_index)
        assert whole.shape == (story.shots[shot_index].frames, 80, 128, 3)
        assert whole.dtype == np.uint8
        chosen = sorted({0, len(whole) - 1, len(whole) // 2, 3})
        assert np.array_equal(render_frames(story, shot_index, chosen), whole[chosen])


def test_the_same_story_is_drawn_the_same_and_another_otherwise() -> None:
    assert np.array_equal(render_shot(sample_story(4), 0), render_shot(sample_story(4), 0))
    other_scenery = replace(sample_story(4), seed=5)
    assert not np.array_equal(render_frames(sample_story(4), 0, [0]), render_frames(other_scenery, 0, [0]))


def test_a_still_camera_leaves_what_does_not_move_exactly_as_it_is() -> None:
    frames = render_shot(one_shot("wide", action="jump"), 0)
    assert (frames == frames[:1]).all(axis=(0, 3)).mean() > 0.85


@pytest.mark.parametrize(("camera", "sign"), [("pan left", -1), ("pan right", 1)])
def test_a_pan_moves_the_ground_steadily(camera: Camera, sign: int) -> None:
    frames = render_frames(one_shot("wide", camera), 0, [0, 16, 32])
    moved = round(16 * PAN_SPEED)
    for before, after in ((frames[0], frames[1]), (frames[1], frames[2])):
        before, after = (before, after) if sign > 0 else (after, before)
        assert np.array_equal(before[58:, 2 + moved : -2], after[58:, 2 : -2 - moved])


def coat_pixels(story: WorldStory, frame: int) -> np.ndarray:
    """Rows and columns of the coat: what changes when the character has another colour."""
    other = replace(story, characters=(replace(OWL, species=story.characters[0].species, colour="red"),))
    pictures = [render_frames(one, 0, [frame])[0].astype(int) for one in (story, other)]
    return np.argwhere(np.abs(pictures[0] - pictures[1]).sum(axis=2) > 150)


def test_a_push_in_enlarges_the_character() -> None:
    story = one_shot("wide", "push in", "wave")
    first, last = (len(coat_pixels(story, frame)) for frame in (0, 32))
    assert 1.2 * first < last < 1.5 * first


@pytest.mark.parametrize("framing", ["wide", "medium"])
@pytest.mark.parametrize(("action", "sign"), [("walk left", -1), ("walk right", 1)])
def test_a_walk_crosses_a_quarter_of_the_frame_within_33_frames(framing: Framing, action: Action, sign: int) -> None:
    story = one_shot(framing, "pan right", action)
    columns = [head_positions(story, 0, frame)[0][1] for frame in (0, 32)]
    assert sign * (columns[1] - columns[0]) >= 128 / 4


@pytest.mark.parametrize("action", ["jump", "walk right", "sleep"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_heads_are_where_they_are_said_to_be(framing: Framing, action: Action) -> None:
    story = one_shot(framing, "push in", action)
    row, column = head_positions(story, 0, 20)[0]
    pixels = coat_pixels(story, 20)
    width = np.ptp(pixels[:, 1])
    assert abs(np.median(pixels[:, 1]) - column) < 0.2 * width
    assert pixels[:, 0].min() < row < pixels[:, 0].min() + 0.75 * width


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("species", SPECIES)
def test_hidden_traits_show_on_every_species_in_every_framing(framing: Framing, species: str) -> None:
    pictures = []
    story = one_shot(framing, action="wave")
    for accessory in ACCESSORIES:
        for pattern in PATTERNS:
            dressed = replace(story, characters=(Character(species, "green", accessory, pattern),))  # type: ignore[arg-type]
            pictures.append(render_frames(dressed, 0, [0])[0].astype(int))
    least = {"wide": 10, "medium": 22, "close-up": 100}[framing]
    for one, other in combinations(pictures, 2):
        assert (np.abs(one - other).sum(axis=2) > 60).sum() >= least


@pytest.mark.parametrize("framing", FRAMINGS)
def test_any_nine_frames_tell_actions_apart(framing: Framing) -> None:
    clips = {
        action: render_frames(one_shot(framing, action=action), 0, range(12, 21)).astype(int) for action in ACTIONS
    }
    for one, other in combinations(ACTIONS, 2):
        changed = (np.abs(clips[one] - clips[other]).sum(axis=3) > 60).sum(axis=(1, 2))
        assert (changed > {"wide": 30, "medium": 60, "close-up": 200}[framing]).sum() >= 5, (one, other)


def test_landmarks_of_a_place_differ() -> None:
    for place in PLACES:
        pictures = [
            render_frames(replace(one_shot("wide"), place=place, layout=(name,) * 3), 0, [0])[0].astype(int)
            for name in LANDMARKS[place]
        ]
        for one, other in combinations(pictures, 2):
            assert (np.abs(one - other).sum(axis=2) > 60).mean() > 0.05


def test_the_layout_is_seen_in_wide_and_medium_and_partly_in_close_ups() -> None:
    shares = {framing: [] for framing in FRAMINGS}
    for seed in range(6):
        story = sample_story(seed)
        for shot_index, shot in enumerate(story.shots):
            shares[shot.framing].append(np.mean(visible_slots(story, shot_index)))
    assert np.mean(shares["wide"]) > 0.95
    assert np.mean(shares["medium"]) > 0.9
    assert 0.3 < np.mean(shares["close-up"]) < 0.9


@pytest.mark.parametrize("time", TIMES)
def test_colours_of_coats_stay_apart_at_every_time(time: str) -> None:
    coats = []
    for colour in COLOURS:
        story = replace(one_shot("wide"), time=time, characters=(Character("owl", colour, "none", "plain"),))  # type: ignore[arg-type]
        coats.append(palette_of(story)[Ink.BODY].astype(int))
    assert min(np.abs(one - other).sum() for one, other in combinations(coats, 2)) > 110


def test_a_shot_or_frame_that_is_not_there_is_refused() -> None:
    story = one_shot("wide")
    for shot_index in (-1, 1):
        with pytest.raises(InputError, match="shot index"):
            render_shot(story, shot_index)
    with pytest.raises(InputError, match="frame indices from 0"):
        render_frames(story, 0, [3, -1])


@pytest.mark.parametrize("framing", FRAMINGS)
def test_masks_show_where_characters_are(framing: Framing) -> None:
    story = one_shot(framing)
    frames, (mask,) = render_shot(story, 0), character_masks(story, 0, [4])
    row, column = (round(value) for value in head_positions(story, 0, 4)[0])
    assert mask[row, column]
    assert 0.01 < mask.mean() < 0.7
    other = replace(story, characters=tuple(replace(one, colour="red") for one in story.characters))
    differs = (render_shot(other, 0)[4] != frames[4]).any(-1)
    assert differs.any()
    grown = np.zeros_like(mask)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            grown |= np.roll(mask, (down, right), (0, 1))
    assert not (differs & ~grown).any(), "another coat changes no pixel beyond the characters and their softened edge"
