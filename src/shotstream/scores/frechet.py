"""Measure how far the distribution of made shots is from that of true ones: Fréchet distance of features.

Source: Heusel et al. 2017 (FID), here over the trait reader's features of StoryWorld shots.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from shotstream.core.video import Frames
from shotstream.world.trait_reader import TraitReader

Features = Float[NDArray, "n d"]


@dataclass(frozen=True)
class Frechet:
    """The Fréchet distance of made shots from true renders of the same stories.

    `other_stories` is, for scale, the distance of true renders of as many other stories; with few stories it is large,
    because places and characters differ. `shots` is the number of made shots.
    """

    distance: float
    other_stories: float
    shots: int

    @classmethod
    def of(cls, made: Features, true: Features, others: Features) -> "Frechet":
        """Return the distances of features of made shots, of true renders, and of true renders of other stories."""
        return cls(frechet_distance(made, true), frechet_distance(others, true), len(made))


def frechet_distance(one: Float[NDArray, "n d"], other: Float[NDArray, "m d"]) -> float:
    """Return the Fréchet distance between normal distributions with the features' means and covariances."""
    means = [features.mean(axis=0, dtype=np.float64) for features in (one, other)]
    first, second = (np.atleast_2d(np.cov(features.astype(np.float64), rowvar=False)) for features in (one, other))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    distance = np.square(means[0] - means[1]).sum() + np.trace(first) + np.trace(second) - 2 * cross
    return max(0.0, float(distance))


def shot_features(reader: TraitReader, stories: Iterable[Sequence[Frames]]) -> Features:
    """Return the trait reader's features of every shot of some stories."""
    return np.stack([reader.summarise(shot) for shots in stories for shot in shots])
