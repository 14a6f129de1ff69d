"""Frames as JPEG, through FFmpeg."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from shotstream.core.media import Frame

QUALITY = 3
"""FFmpeg's scale from 2 (best) to 31."""


class JpegEncoder:
    """Encodes frames of one size, each by itself. For one thread."""

    def __init__(self, height: int, width: int) -> None:
        self._codec: Any = av.CodecContext.create("mjpeg", "w")
        self._codec.height, self._codec.width = height, width
        self._codec.pix_fmt, self._codec.time_base = "yuvj444p", Fraction(1, 16)
        self._codec.options = {"flags": "+qscale", "global_quality": str(QUALITY * 118), "huffman": "default"}

    def encode(self, frame: Frame) -> bytes:
        """A JPEG of uint8 RGB `[h, w, 3]`."""
        picture: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
            format="yuvj444p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG
        )
        return b"".join(bytes(packet) for packet in self._codec.encode(picture))
