"""Detect cuts in StoryWorld videos by frame changes beyond the shot's own motion.

A learned detector finds a change of place with ease, but is unsure of a cut inside one place. StoryWorld's pictures
are flat and its motion is small, so most of a frame can be found in the one before it, a few pixels aside; after a cut
it cannot.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

GREY_WEIGHTS = np.array([0.45, 0.35, 0.2], dtype=np.float32)
"""Of red, green and blue: unlike those of brightness, they keep the colours of coats apart."""
BLOCK_PX = 8
STRANGE_LEVELS = 10
"""A block counts as new from that mean difference in grey levels on."""
REACH_PX = 3
"""Largest movement of a block since the frame before, in pixels."""
NEIGHBOURS = 8
"""Frame steps on either side that give the shot's own motion: a period of every action."""
LEAST_CHANGE_PERCENT = 10.5
"""A cut makes at least that share of the picture new."""
LEAST_RATIO = 1.75
"""And at least so many times as much as the liveliest steps around it."""
LIVELY_QUANTILE = 0.85
LEAST_LASTING = 0.5
"""And of that change at least this share stays: no frame soon after is like the one before."""


def detect_cuts(frames: NDArray[np.uint8]) -> list[int]:
    """Return the indices of frames that begin a new shot (never 0), from frames `[n, h, w, 3]`.

    A cut changes much more than the shot's own motion does, over a larger part of the picture, and for good:
    a blink or a wave comes back.
    """
    grey = _grey(frames)
    change = _changes(grey)
    return [i + 1 for i in range(len(change)) if _stands_out(change, i) and _lasts(grey, change, i)]


def _grey(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return (frames @ GREY_WEIGHTS).astype(np.uint8)


def _changes(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the share of each frame after the first that motion does not explain, in percent, `[n - 1]`.

    Each 8x8 block is compared with the frame before at every displacement of up to three pixels; the best one counts.
    """
    return np.array([_residual(before, after) for before, after in pairwise(grey)], dtype=np.float32)


def _residual(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    if np.array_equal(before, after):
        return 0.0
    height, width = (size // BLOCK_PX * BLOCK_PX for size in after.shape)
    after = after[:height, :width]
    padded = np.pad(before, REACH_PX, mode="edge")
    best = np.full((height // BLOCK_PX, width // BLOCK_PX), 255 * BLOCK_PX**2, dtype=np.uint16)
    for down in range(2 * REACH_PX + 1):
        for right in range(2 * REACH_PX + 1):
            other = padded[down : down + height, right : right + width]
            difference = np.maximum(after, other) - np.minimum(after, other)
            rows = np.add.reduceat(difference, np.arange(0, height, BLOCK_PX), axis=0, dtype=np.uint16)
            np.minimum(best, rows.reshape(len(rows), -1, BLOCK_PX).sum(axis=2, dtype=np.uint16), out=best)
    return 100 * float((best > STRANGE_LEVELS * BLOCK_PX**2).mean())


def _stands_out(change: NDArray[np.float32], index: int) -> bool:
    """Tell whether a step may be a cut: large, larger than the steps beside it, far above the shot's own motion."""
    first, last = max(0, index - NEIGHBOURS), min(len(change), index + NEIGHBOURS + 1)
    around = np.delete(change[first:last], index - first)
    lively = float(np.quantile(around, LIVELY_QUANTILE)) if len(around) else 0.0
    nearest = change[max(0, index - 1) : index + 2].max()
    return bool(change[index] >= max(LEAST_CHANGE_PERCENT, LEAST_RATIO * lively) and change[index] == nearest)


def _lasts(grey: NDArray[np.uint8], change: NDArray[np.float32], index: int) -> bool:
    """Tell whether no frame soon after the step is like the one before it, nor one soon before like the one after."""
    following = grey[index + 2 : index + 1 + NEIGHBOURS]
    preceding = grey[max(0, index + 1 - NEIGHBOURS) : index]
    pairs = [(grey[index], later) for later in following] + [(earlier, grey[index + 1]) for earlier in preceding]
    return all(_residual(before, after) >= LEAST_LASTING * change[index] for before, after in pairs)
