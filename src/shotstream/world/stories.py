"""Sample stories: a pure function of the seed, uniform over the traits."""

import numpy as np

from shotstream.core.rng import derive_seed
from shotstream.core.spec import PAPER_SHOT
from shotstream.world.scene import Character, WorldShot, WorldStory
from shotstream.world.traits import (
    ACCESSORIES,
    ACTIONS,
    CAMERAS,
    COLOURS,
    FRAMINGS,
    LANDMARKS,
    PATTERNS,
    PLACES,
    SLOTS,
    SPECIES,
    TIMES,
)

MIN_SHOTS, MAX_SHOTS = 2, 5
CHUNK_WEIGHTS = (1, 4, 5, 4, 2, 1, 1)
"""Relative frequencies of shots of 1, 2, ... 7 chunks."""
PAIR_PROBABILITY = 0.6
"""Probability that a story has two characters."""
TOGETHER_PROBABILITY = 0.45
"""Probability that a shot of a story with two characters shows both."""


def sample_story(seed: int, shots: int | None = None, chunks: int | None = None) -> WorldStory:
    """Return the story of a seed.

    Args:
        seed: any integer; equal seeds give equal stories.
        shots: how many shots; None draws 2 to 5.
        chunks: length of every shot in chunks; None draws 1 to 7, mostly 2 to 4.
    """
    rng = np.random.default_rng(derive_seed("storyworld", seed))
    characters = _sample_characters(rng)
    place = PLACES[rng.integers(len(PLACES))]
    left, centre, right = (LANDMARKS[place][rng.integers(3)] for _ in SLOTS)
    time = TIMES[rng.integers(len(TIMES))]
    count = int(rng.integers(MIN_SHOTS, MAX_SHOTS + 1)) if shots is None else shots
    made: list[WorldShot] = []
    while len(made) < count:
        shot = _sample_shot(rng, len(characters), chunks)
        if not made or _is_a_new_view(made[-1], shot):
            made.append(shot)
    return WorldStory(characters, place, time, (left, centre, right), tuple(made), seed)


def _sample_characters(rng: np.random.Generator) -> tuple[Character, ...]:
    count = 2 if rng.random() < PAIR_PROBABILITY else 1
    species = rng.choice(len(SPECIES), count, replace=False)
    colours = rng.choice(len(COLOURS), count, replace=False)
    return tuple(
        Character(
            SPECIES[kind],
            COLOURS[colour],
            ACCESSORIES[rng.integers(len(ACCESSORIES))],
            PATTERNS[rng.integers(len(PATTERNS))],
        )
        for kind, colour in zip(species, colours, strict=True)
    )


def _sample_shot(rng: np.random.Generator, characters: int, chunks: int | None) -> WorldShot:
    weights = np.array(CHUNK_WEIGHTS) / sum(CHUNK_WEIGHTS)
    drawn_chunks = int(rng.choice(np.arange(1, PAPER_SHOT.max_chunks + 1), p=weights))
    together = characters == 2 and rng.random() < TOGETHER_PROBABILITY
    cast = (0, 1) if together else (int(rng.integers(characters)),)
    return WorldShot(
        cast=cast,
        framing=FRAMINGS[rng.integers(len(FRAMINGS))],
        camera=CAMERAS[rng.integers(len(CAMERAS))],
        action=ACTIONS[rng.integers(len(ACTIONS))],
        chunks=drawn_chunks if chunks is None else chunks,
        seed=int(rng.integers(2**31)),
    )


def _is_a_new_view(before: WorldShot, after: WorldShot) -> bool:
    """Tell whether a cut between two shots can be seen: other characters, or another framing."""
    return (before.cast, before.framing) != (after.cast, after.framing)
