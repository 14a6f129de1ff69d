"""The metrics' formulas on recorded features: pure functions, so that every reported number can be computed again.

Sources: VBench (subject and background consistency, dynamic degree, aesthetic quality), the ShotStream paper
(inter-shot consistency over all pairs of shots), HoloCine (over pairs of shots that show the same character).
"""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

FLOW_FPS = 8
"""VBench measures motion between frames 1/8 s apart."""
FLOW_TOP_SHARE = 0.05
FLOW_THRESHOLD, FLOW_SIDE = 6.0, 256
"""A step moves if its fastest 5% of pixels move more than 6 px, for a shorter side of 256 px."""
MOVING_STEPS, FLOW_FRAMES = 4, 16
"""A shot is dynamic if 4 steps of 16 frames move, in proportion to its length."""


def normalise(features: Float[NDArray, "n d"]) -> Float[NDArray, "n d"]:
    """Return the rows scaled to length 1; a zero row stays zero."""
    norms = np.linalg.norm(features, axis=-1, keepdims=True)
    return features / np.where(norms > 0, norms, 1)


def intra_shot_consistency(frames: Float[NDArray, "n d"]) -> float:
    """Return the consistency of one shot's frame features, n >= 2 (VBench subject and background consistency).

    For each frame after the first: the mean of its cosine similarity with the frame before and with the first frame,
    negative values as 0; then the mean over frames.
    """
    unit = normalise(frames)
    previous = np.clip(np.sum(unit[1:] * unit[:-1], axis=1), 0, None)
    first = np.clip(unit[1:] @ unit[0], 0, None)
    return float(np.mean((previous + first) / 2))


def inter_shot_consistency(
    shots: Sequence[Float[NDArray, "_n d"] | None], characters: Sequence[Sequence[str]] | None = None
) -> float:
    """Return the mean similarity of pairs of shots; NaN without a pair.

    Args:
        shots: features of each shot (one row or a few); None where the shot shows nothing to compare. The similarity
            of two shots is the mean cosine over all pairs of their rows.
        characters: who is in each shot; then only pairs of shots with a character in common count (HoloCine). None
            counts all pairs (ShotStream).
    """
    units = [None if shot is None or not len(shot) else normalise(shot) for shot in shots]
    found = []
    for a, b in combinations(range(len(units)), 2):
        one, other = units[a], units[b]
        together = characters is None or set(characters[a]) & set(characters[b])
        if one is not None and other is not None and together:
            found.append(float(np.mean(one @ other.T)))
    return float(np.mean(found)) if found else math.nan


def text_alignment(shots: Float[NDArray, "n d"], captions: Float[NDArray, "n d"]) -> float:
    """Return the mean cosine similarity of each shot's video features with its caption's text features."""
    return float(np.mean(np.sum(normalise(shots) * normalise(captions), axis=1)))


def aesthetic_quality(ratings: Float[NDArray, "n"]) -> float:
    """Return the mean of aesthetic ratings (0 to 10) of frames, scaled to [0, 1]."""
    return float(np.mean(ratings)) / 10


def flow_magnitude(flow: Float[NDArray, "h w 2"]) -> float:
    """Return the mean length of the fastest 5% of an optical flow field's vectors, in pixels."""
    lengths = np.sort(np.linalg.norm(flow, axis=-1), axis=None)
    return float(np.mean(lengths[-max(1, int(len(lengths) * FLOW_TOP_SHARE)) :]))


def is_dynamic(magnitudes: Float[NDArray, "n"], height: int, width: int) -> bool:
    """Tell whether a shot moves, from the flow magnitudes of its steps at 8 fps (VBench dynamic degree)."""
    threshold = FLOW_THRESHOLD * min(height, width) / FLOW_SIDE
    wanted = round(MOVING_STEPS * (len(magnitudes) + 1) / FLOW_FRAMES)
    return int(np.sum(magnitudes > threshold)) >= max(1, wanted)
