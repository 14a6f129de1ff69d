"""Where a video cuts: by what changes from frame to frame beyond the shot's own motion.

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
REACH_PX = 3
"""How far a block may have moved since the frame before."""
NEIGHBOURS = 8
"""How many frame steps on either side tell the shot's own motion: a period of every action."""
LEAST_CHANGE = 1.5
"""A cut changes at least that much (mean grey levels that no motion explains)."""
LEAST_RATIO = 1.8
"""And at least so many times as much as the liveliest steps around it."""
LIVELY_QUANTILE = 0.85


def detect_cuts(frames: NDArray[np.uint8]) -> list[int]:
    """Indices of the frames that begin a new shot (never 0), from frames `[n, h, w, 3]`."""
    change = unexplained_change(frames)
    return [index + 1 for index in range(len(change)) if _stands_out(change, index)]


def unexplained_change(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """For each frame but the first: how much of it motion does not explain, in grey levels, `[n - 1]`.

    Each 8x8 block is compared with the frame before at every displacement of up to three pixels; the best one counts.
    """
    grey = (frames @ GREY_WEIGHTS).astype(np.uint8)
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
    return float(best.mean()) / BLOCK_PX**2


def _stands_out(change: NDArray[np.float32], index: int) -> bool:
    """Whether a step is a cut: large, larger than the steps beside it, far above the shot's own motion."""
    first, last = max(0, index - NEIGHBOURS), min(len(change), index + NEIGHBOURS + 1)
    around = np.delete(change[first:last], index - first)
    lively = float(np.quantile(around, LIVELY_QUANTILE)) if len(around) else 0.0
    nearest = change[max(0, index - 1) : index + 2].max()
    return bool(change[index] >= max(LEAST_CHANGE, LEAST_RATIO * lively) and change[index] == nearest)
