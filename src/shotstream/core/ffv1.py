"""Decode a video's frames, and check the checksums that FFV1 keeps in every frame: FFmpeg only logs where one fails."""

import zlib
from collections.abc import Iterator
from typing import Any

import av.error

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Every byte with its bits in reverse: FFV1's CRC takes the highest bit first, zlib's the lowest."""
_LENGTH, _CHECKED = 3, 8
"""Bytes behind a slice: 3 of its length; in files with checksums also 1 of its state and 4 of its CRC."""


def decode_frames(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the decoded frames of a stream, from where the container stands.

    Raises:
        av.FFmpegError: FFmpeg cannot decode it, or a checksum of FFV1 does not fit.
    """
    if stream.codec_context.name != "ffv1":
        yield from container.decode(stream)
        return
    for packet in container.demux(stream):
        yield from decode_packet(packet)


def decode_packet(packet: Any) -> list[Any]:
    """Decode the frames of one packet of FFV1.

    Raises:
        av.FFmpegError: FFmpeg cannot decode it, or its checksum does not fit.
    """
    has_slices = bool(packet.stream.codec_context.extradata)  # not so in versions 0 and 1
    if has_slices and not is_intact(bytes(packet)):
        raise av.error.InvalidDataError(1, "a checksum of its frames does not fit")
    return packet.decode()


def is_intact(packet: bytes) -> bool:
    """Return whether a packet is a chain of slices whose CRCs fit, or one without CRCs, which the format allows too.

    Source: RFC 9043, sections 4.9.1 to 4.9.3.
    """
    slices = _split(packet, _CHECKED)
    if slices is not None:
        return all(_crc(one) == 0 for one in slices)
    return _split(packet, _LENGTH) is not None


def _split(packet: bytes, trailer: int) -> list[bytes] | None:
    """Cut a packet into slices, from its end, because each ends with its length; None where the lengths do not fit."""
    slices, end = [], len(packet)
    while end:
        begin = end - trailer - int.from_bytes(packet[max(0, end - trailer) :][:_LENGTH], "big")
        if begin < 0:
            return None
        slices.append(packet[begin:end])
        end = begin
    return slices


def _crc(data: bytes) -> int:
    """Compute the CRC-32 with the polynomial 0x04C11DB7, from 0 on; it is 0 of data with their own CRC behind them."""
    return zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
