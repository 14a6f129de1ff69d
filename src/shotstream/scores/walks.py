"""Measure how far walkers get from frames: a walk must cross the picture, not only move its legs.

The trait reader finds heads in the fifth frame of a shot and in the fifth from its end. What stands in the world moves
across the picture too when the camera does; so a walk is as long as it is across the picture or over the
ground, whichever is less, in the direction that the caption names. How the camera moves is taken from the caption.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shotstream.core.video import Frames
from shotstream.scores.intervals import Share
from shotstream.world.framing import LENSES, WIDTH, pan_offset, zoom_at
from shotstream.world.render import head_positions
from shotstream.world.scene import WorldShot, WorldStory
from shotstream.world.trait_reader import ShotReading, TraitReader
from shotstream.world.trait_reader_network import READER_FRAMES
from shotstream.world.traits import SPECIES

QUARTER = 0.25
MEASURED_WITHIN = 4 / WIDTH
"""True renders are measured to this share of the width in 19 walks of 20 or more (`tests/evaluate/test_walking.py`)."""
WALKS = {"walk left": -1, "walk right": 1}


@dataclass(frozen=True)
class Walk:
    """The mean distance of a shot's walkers as a share of the picture's width, generated and in the true render.

    A walker that is not found gets nowhere.
    """

    made: float
    true: float


def measure_walk(
    reader: TraitReader, reading: ShotReading, frames: Frames, story: WorldStory, shot_index: int
) -> Walk | None:
    """Measure the walk of a shot from its frames; None where there is nothing to measure.

    Characters that leave the picture in the true render are left out. None where nobody is to walk, where all leave, or
    where the shot has a single chunk.
    """
    shot, (first, last) = story.shots[shot_index], measured_frames(len(frames))
    if shot.action not in WALKS or first == last:
        return None
    columns = reader.head_columns(frames, (first, last))
    heads = [head_positions(story, shot_index, frame) for frame in (first, last)]
    made, true = [], []
    for one, (_, start), (_, end) in zip(story.cast_of(shot_index), *heads, strict=True):
        if 0 <= start < WIDTH and 0 <= end < WIDTH:
            found, seen = reading.of_species(one.species), columns[:, SPECIES.index(one.species)].tolist()
            made.append(walked(shot, (first, seen[0]), (last, seen[1])) if found else 0.0)
            true.append(walked(shot, (first, start), (last, end)))
    return Walk(float(np.mean(made)), float(np.mean(true))) if true else None


def measured_frames(frames: int) -> tuple[int, int]:
    """Return the first and the last frame of a shot that have four others on either side."""
    return READER_FRAMES // 2, frames - 1 - READER_FRAMES // 2


def walked(shot: WorldShot, start: tuple[int, float], end: tuple[int, float]) -> float:
    """Return the distance from one (frame, column) to another as a share of the width; negative is the wrong way."""
    across, ground = end[1] - start[1], end[1] - standing(shot, start, end[0])
    side = WALKS[shot.action]
    return min(side * across, side * ground) / WIDTH


def standing(shot: WorldShot, start: tuple[int, float], frame: int) -> float:
    """Return the column of a standing character in a later frame, moved by the camera alone."""
    lens, middle, (first, column) = LENSES[shot.framing], WIDTH / 2, start
    zooms = [zoom_at(lens, shot.camera, at) for at in (first, frame)]
    drift = np.floor(pan_offset(shot.camera, first)) - np.floor(pan_offset(shot.camera, frame))
    return float(middle + ((column - middle) / zooms[0] + drift) * zooms[1])


def crossing(walks: Sequence[Walk]) -> Share:
    """Return the share of walks that cross a quarter of the picture, among those that clearly do in the true render."""
    return Share.of([walk.made >= QUARTER for walk in walks if walk.true >= QUARTER + MEASURED_WITHIN])


def mean_gap(walks: Sequence[Walk]) -> float:
    """Return the mean absolute difference of generated and true walks; for true renders, the measurement error."""
    return float(np.mean([abs(walk.made - walk.true) for walk in walks]))
