"""Frames as they are sent: a JPEG behind a header of fixed length (`docs/protocol.md`).

JPEG, because it is the one lossy picture that every browser decodes natively and off its main thread, and because it is
encoded many times faster than WebP: one core keeps up with many viewers.
"""

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from shotstream.serve.errors import RequestError

PROTOCOL = 1
JPEG = 1
_HEADER = struct.Struct(">2sBB8sIIII")
_MAGIC = b"SF"


class FrameKey(NamedTuple):
    """Identity of a frame: shot, take and frame, each from 0."""

    shot: int
    take: int
    frame: int

    def __str__(self) -> str:
        return f"{self.shot}.{self.take}.{self.frame}"

    @classmethod
    def parse(cls, text: str | None) -> "FrameKey | None":
        """Parse the text SHOT.TAKE.FRAME; None stays None.

        Raises:
            RequestError: the text has another form.
        """
        if text is None:
            return None
        parts = text.split(".")
        if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
            raise RequestError("invalid", "a frame is SHOT.TAKE.FRAME, three whole numbers, as in 0.0.12")
        return cls(*map(int, parts))


@dataclass(frozen=True)
class FramePacket:
    """One frame as it is sent. `time_ms` is its time in the video of its branch."""

    story: str
    key: FrameKey
    time_ms: int
    picture: bytes

    @cached_property
    def packed(self) -> bytes:
        """Return header and picture, as bytes that are made once for all viewers."""
        place = (self.key.shot, self.key.take, self.key.frame, self.time_ms)
        return _HEADER.pack(_MAGIC, PROTOCOL, JPEG, bytes.fromhex(self.story), *place) + self.picture

    @classmethod
    def unpack(cls, data: bytes) -> "FramePacket":
        """Parse the bytes of a packet, as `packed` makes them.

        Raises:
            RequestError: the bytes are no packet.
        """
        if len(data) < _HEADER.size or data[:4] != _MAGIC + bytes((PROTOCOL, JPEG)):
            raise RequestError("invalid", f"These bytes are no frame of protocol {PROTOCOL}.")
        *_, story, shot, take, index, time_ms = _HEADER.unpack_from(data)
        return cls(story.hex(), FrameKey(shot, take, index), time_ms, data[_HEADER.size :])
