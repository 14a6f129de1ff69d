"""Encode frames as JPEG; decode the pictures that people send."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from shotstream.core.display import Frame
from shotstream.core.errors import InputError
from shotstream.core.images import decode_image
from shotstream.serve.errors import RequestError

QUALITY = 3
"""FFmpeg's scale from 2 (best) to 31."""
MAX_UPLOAD_PIXELS = 2**24


class JpegEncoder:
    """Encodes frames of one size, each by itself. For one thread."""

    def __init__(self, height: int, width: int) -> None:
        self._codec: Any = av.CodecContext.create("mjpeg", "w")
        self._codec.height, self._codec.width = height, width
        self._codec.pix_fmt, self._codec.time_base = "yuvj444p", Fraction(1, 16)
        self._codec.options = {"flags": "+qscale", "global_quality": str(QUALITY * 118), "huffman": "default"}

    def encode(self, frame: Frame) -> bytes:
        """Encode a frame, uint8 RGB `[h, w, 3]`, as JPEG."""
        picture: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
            format="yuvj444p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG
        )
        return b"".join(bytes(packet) for packet in self._codec.encode(picture))


def read_picture(data: bytes) -> Frame:
    """Decode an uploaded PNG, JPEG or WebP to uint8 RGB `[h, w, 3]`; no other format is tried.

    Raises:
        RequestError: it is none, is damaged, or has more than `MAX_UPLOAD_PIXELS`.
    """
    try:
        return decode_image(data, ("PNG", "JPEG", "WEBP"), MAX_UPLOAD_PIXELS)
    except InputError as error:
        raise RequestError("invalid", str(error)) from error
