"""Stories: a pure function of the seed, well formed, even over the traits, and back from plain data."""

from collections import Counter
from itertools import pairwise

import pytest

from shotstream.core.errors import InputError
from shotstream.world.scene import Character, WorldShot, WorldStory
from shotstream.world.stories import MAX_SHOTS, MIN_SHOTS, sample_story
from shotstream.world.traits import ACTIONS, CAMERAS, COLOURS, FRAMINGS, LANDMARKS, PLACES, SPECIES, TIMES

FOX = Character("fox", "red", "hat", "spots")
OWL = Character("owl", "blue", "none", "plain")
SHOT = WorldShot((0,), "wide", "still", "wave", 2)


def test_equal_seeds_give_equal_stories() -> None:
    assert [sample_story(seed) for seed in range(20)] == [sample_story(seed) for seed in range(20)]
    assert len({sample_story(seed) for seed in range(20)}) == 20


def test_a_story_comes_back_from_plain_data() -> None:
    for seed in range(30):
        story = sample_story(seed)
        assert WorldStory.from_dict(story.to_dict()) == story


def test_every_value_is_drawn_about_equally_often() -> None:
    stories = [sample_story(seed) for seed in range(600)]
    shots = [shot for story in stories for shot in story.shots]
    characters = [one for story in stories for one in story.characters]
    drawn = {
        SPECIES: [one.species for one in characters],
        COLOURS: [one.colour for one in characters],
        PLACES: [story.place for story in stories],
        TIMES: [story.time for story in stories],
        FRAMINGS: [shot.framing for shot in shots],
        CAMERAS: [shot.camera for shot in shots],
        ACTIONS: [shot.action for shot in shots],
        LANDMARKS["beach"]: [name for story in stories if story.place == "beach" for name in story.layout],
    }
    for values, seen in drawn.items():
        counts = Counter(seen)
        assert set(counts) == set(values)
        expected = len(seen) / len(values)
        assert all(0.65 * expected < count < 1.35 * expected for count in counts.values()), counts


def test_length_and_cast_are_as_promised() -> None:
    stories = [sample_story(seed) for seed in range(300)]
    assert {len(story.shots) for story in stories} == set(range(MIN_SHOTS, MAX_SHOTS + 1))
    chunks = Counter(shot.chunks for story in stories for shot in story.shots)
    assert set(chunks) == set(range(1, 8))
    assert sum(chunks[count] for count in (2, 3, 4)) > 0.6 * sum(chunks.values())
    assert any(len(shot.cast) == 2 for story in stories for shot in story.shots)
    assert all(shot.frames == 12 * shot.chunks - 3 for story in stories for shot in story.shots)


def test_every_cut_changes_the_cast_or_the_framing() -> None:
    for seed in range(200):
        shots = sample_story(seed).shots
        for before, after in pairwise(shots):
            assert (before.cast, before.framing) != (after.cast, after.framing)


def test_shots_and_chunks_can_be_asked_for() -> None:
    story = sample_story(3, shots=7, chunks=1)
    assert [shot.chunks for shot in story.shots] == [1] * 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"characters": (FOX, Character("fox", "blue", "none", "plain"))}, "different species"),
        ({"characters": (FOX, Character("owl", "red", "none", "plain"))}, "different colours"),
        ({"characters": ()}, "one or two characters"),
        ({"shots": ()}, "at least one shot"),
        ({"shots": (WorldShot((1,), "wide", "still", "wave", 2),), "characters": (FOX,)}, "lacks"),
        ({"layout": ("palm", "oak", "pine")}, "pine, oak, mushroom"),
    ],
)
def test_a_story_that_cannot_be_is_refused(change: dict, message: str) -> None:
    parts = {
        "characters": (FOX, OWL),
        "place": "forest",
        "time": "day",
        "layout": ("oak", "oak", "pine"),
        "shots": (SHOT,),
    }
    with pytest.raises(InputError, match=message):
        WorldStory(**(parts | change))


@pytest.mark.parametrize("cast", [(), (0, 0), (0, 1, 2)])
def test_a_shot_without_one_or_two_different_characters_is_refused(cast: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="cast"):
        WorldShot(cast, "wide", "still", "wave", 2)


def test_an_unknown_value_in_plain_data_is_named() -> None:
    data = sample_story(0).to_dict() | {"place": "moon"}
    with pytest.raises(InputError, match=r"story\.place: expected one of forest"):
        WorldStory.from_dict(data)
