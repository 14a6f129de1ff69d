"""Compute the pose of an action at each frame. Every action repeats after eight frames, so any nine show it whole."""

import math
from dataclasses import dataclass

from shotstream.world.traits import Action

PERIOD_FRAMES = 8


@dataclass(frozen=True)
class Pose:
    """One drawing of a character: lengths in units (a pixel of a wide shot), angles in degrees from hanging down."""

    turn: float = 0.0
    """Turn of the face to the right (negative: left)."""
    arms: tuple[float, float] = (20.0, 20.0)
    """Left and right as seen."""
    stride: float = 0.0
    """Spread of the legs, -1 to 1."""
    lean: float = 0.0
    """Offset of the top of the head to the right of the feet."""
    drop: float = 0.0
    """Drop of the head."""
    eyes_open: bool = True
    mouth_open: bool = False
    sitting: bool = False
    melon: bool = False
    dreams: int = 0
    """Number of letters Z beside the head."""


def pose_at(action: Action, frame: int, facing: int, blinking: bool, sway_units: float) -> Pose:
    """Return the pose at a frame.

    Args:
        action: what is done.
        frame: when.
        facing: -1 or 1; a walk looks where it goes.
        blinking: whether the eyes are shut for a moment.
        sway_units: how far a dancer's head sways to either side.
    """
    late = frame % PERIOD_FRAMES >= PERIOD_FRAMES // 2
    turning = 2 * math.pi * (frame % PERIOD_FRAMES) / PERIOD_FRAMES
    across, along = math.sin(turning), math.cos(turning)
    eyes_open = not blinking
    if action in ("walk left", "walk right"):
        side = 1 if action == "walk right" else -1
        arms = (20.0 + 40 * along, 20.0 - 40 * along)
        return Pose(turn=2.6 * side, arms=arms, stride=along, lean=1.0 * side, eyes_open=eyes_open)
    if action == "jump":
        return Pose(turn=facing, arms=(128.0, 128.0), stride=0.6, eyes_open=eyes_open, mouth_open=True)
    if action == "wave":
        raised = 138.0 + 22.0 * across
        arms = (raised, 20.0) if facing < 0 else (20.0, raised)
        return Pose(turn=facing, arms=arms, eyes_open=eyes_open)
    if action == "sleep":
        return Pose(turn=facing, arms=(12.0, 12.0), drop=1.5, eyes_open=False, sitting=True, dreams=1 + late)
    if action == "dance":
        arms = (105.0 - 45 * across, 105.0 + 45 * across)
        return Pose(arms=arms, stride=0.5 * across, lean=sway_units * across, eyes_open=eyes_open, mouth_open=True)
    return Pose(turn=facing, eyes_open=eyes_open, mouth_open=not late, drop=0.6 * late, melon=True)


def lift_px(action: Action, frame: int, height_px: int) -> int:
    """Return how far a character is above the ground, in pixels; `height_px` is how high it jumps."""
    step = frame % PERIOD_FRAMES
    if action == "jump":
        return round(height_px * (0.0, 0.3, 0.6, 0.9, 1.0, 0.9, 0.6, 0.3)[step])
    if action in ("walk left", "walk right"):
        return max(1, height_px // 6) * (step // 2 % 2)
    return 0
