"""Sizes, positions and speeds of each framing and camera move, in pixels.

The world is built of tiles of 16 pixels, as in many games: a character stands on a mark when a shot begins, and
landmarks stand in the middle between two tiles. What stands on a mark is always drawn with the same pixels.
"""

from dataclasses import dataclass

from shotstream.core.spec import PAPER_SHOT
from shotstream.world.traits import Action, Camera, Framing

HEIGHT, WIDTH = 80, 128
TILE_PX = 16
SLOT_DISTANCE_PX = 3 * TILE_PX
"""Distance of landmarks from each other, in pixels."""


@dataclass(frozen=True)
class Lens:
    """The picture of one framing."""

    character_scale: float
    """Pixels a unit of a character when it is alone."""
    pair_scale: float
    """Pixels a unit when two share the shot."""
    marks: tuple[int, ...]
    """Starting positions of one character, in tiles from the left edge."""
    pair_marks: tuple[int, ...]
    """Starting positions of the left one of two characters, in tiles."""
    walk_marks: tuple[int, int]
    """Start of a walk to the right: of one character, and of the left one of two. Walks to the left mirror it."""
    pair_distance: int
    """Distance of two characters, in tiles."""
    foot_row: int
    """The row the feet of a lone character stand on (below the picture in a close-up)."""
    pair_foot_row: int
    horizon_row: int
    """Row of the picture at which the ground begins."""
    scenery_scale: float
    """Pixels a unit of a landmark."""
    jump_px: int
    sway_units: float
    """Largest sideways movement of a dancer's head, to either side."""
    walk_speed: float
    """Pixels a frame."""
    zoom_speed: float
    """Growth of the zoom a frame, when the camera pushes in."""
    zoom_row: int
    """The row a push in goes to."""


LENSES: dict[Framing, Lens] = {
    "wide": Lens(1.0, 1.0, (3, 4, 5), (2, 3, 4), (1, 1), 2, 71, 71, 46, 0.95, 8, 4.5, 1.0, 0.005, 52),
    "medium": Lens(1.5, 1.45, (3, 4, 5), (2, 3), (1, 1), 3, 77, 77, 50, 1.15, 10, 3.5, 1.0, 0.005, 46),
    "close-up": Lens(3.3, 2.7, (4,), (2,), (3, 2), 4, 103, 90, 57, 1.45, 10, 1.8, 0.5, 0.004, 42),
}

PAN_SPEED = 0.5
"""Speed of the ground, in pixels a frame. Distant hills move at half of it."""
PAN_START_PX = -TILE_PX
"""Position of the camera at the start of a pan to the right, from the middle of the place."""
PAN_LIMIT_PX = 32
"""Longest way of a pan; the camera stops there in longer shots."""


def pan_offset(camera: Camera, frame: int) -> float:
    """Return how far the camera is right of the middle of the place, in pixels of the ground."""
    if camera not in ("pan left", "pan right"):
        return 0.0
    direction = 1 if camera == "pan right" else -1
    return direction * min(PAN_START_PX + PAN_SPEED * frame, PAN_LIMIT_PX)


def zoom_at(lens: Lens, camera: Camera, frame: int) -> float:
    """Return the zoom relative to the start of the shot."""
    return 1.0 + lens.zoom_speed * min(frame, PAPER_SHOT.max_frames) if camera == "push in" else 1.0


def walk_px(lens: Lens, action: Action, frame: int) -> int:
    """Return how far a walker is right of its start, in pixels."""
    if action not in ("walk left", "walk right"):
        return 0
    return int(lens.walk_speed * frame) * (1 if action == "walk right" else -1)
