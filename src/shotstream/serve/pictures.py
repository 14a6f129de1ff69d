"""Frames as JPEG, and pictures that people send, through FFmpeg."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from shotstream.core.video import Frame
from shotstream.serve.errors import RequestError

QUALITY = 3
"""FFmpeg's scale from 2 (best) to 31."""
MAX_PIXELS = 2**24
_DECODERS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "mjpeg"}


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


def read_picture(data: bytes) -> Frame:
    """The picture in a PNG or JPEG that somebody sent, uint8 `[h, w, 3]`. No other reader of FFmpeg is ever asked.

    Raises:
        RefusedError: it is none, is damaged, or has more than `MAX_PIXELS`.
    """
    name = next((name for magic, name in _DECODERS.items() if data.startswith(magic)), None)
    if name is None:
        raise RequestError("invalid", "expected a PNG or JPEG, got another kind of file; convert the picture")
    decoder: Any = av.CodecContext.create(name, "r")
    decoder.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "explode"}
    try:
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    except av.error.FFmpegError as error:
        raise RequestError("invalid", f"expected a sound picture of at most {MAX_PIXELS} pixels, got none") from error
    if not frames:
        raise RequestError("invalid", "expected a picture, got a file without one; send it again")
    return frames[0].to_ndarray(format="rgb24")
