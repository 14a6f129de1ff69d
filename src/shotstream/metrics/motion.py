"""Measure motion with OpenCV's DIS optical flow, which needs no weights."""

from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from shotstream.core.video import Frames
from shotstream.metrics.availability import require_package
from shotstream.metrics.formulas import FLOW_FPS, flow_magnitude


def flow_magnitudes(frames: Frames, fps: float) -> Float[NDArray, "n"]:
    """Return the flow magnitude (`formulas.flow_magnitude`, in pixels) of each step of a shot at 8 frames a second.

    Raises:
        NotAvailableError: OpenCV is not installed.
    """
    require_package("cv2")
    import cv2

    stride = max(1, round(fps / FLOW_FPS))
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames[::stride]]
    flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    steps = [flow.calc(before, after, None) for before, after in pairwise(grey)]
    return np.array([flow_magnitude(step) for step in steps], dtype=np.float32)
