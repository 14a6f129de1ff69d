"""Exact frames out of long videos, at the size a model sees, without decoding what lies before them.

Frame i of a video is the i-th that a player shows: the order of presentation times, less what an edit list cuts off.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from shotstream.core.display import Frames, show_frame
from shotstream.core.errors import InputError
from shotstream.core.spec import MAX_SHOT_FRAMES, VideoSize
from shotstream.core.video import open_video

_SEEKS_BY = {"mov,mp4,m4a,3gp,3g2,mj2": "dts", "matroska,webm": "pts"}
"""Containers that keep an index of key frames, and by which of a packet's times they look one up."""


def strided_frames(length_frames: int) -> range:
    """Which frames of a shot of that many are shown: all of up to 81, every (length // 81)th of more."""
    return range(0, length_frames, max(1, length_frames // MAX_SHOT_FRAMES))


def count_frames(path: Path) -> int:
    """How many frames a video has.

    Where the container says it, the packets are checked against it and nothing is decoded; elsewhere all frames are.

    Raises:
        InputError: no such file, no video in it, or it is cut off or damaged.
    """
    with open_video(path) as (container, stream):
        told = stream.frames
        if not told:
            return sum(1 for _ in container.decode(stream))
        packets = [packet for packet in container.demux(stream) if packet.size]
        whole = sum(not packet.is_corrupt for packet in packets)
    if whole < told:
        raise InputError(f"cannot read {path}: it says {told} frames and holds {whole}; it is cut off or damaged")
    return sum(not packet.is_discard for packet in packets)


def read_frames(path: Path, indices: Sequence[int], size: VideoSize) -> Frames:
    """Frames of a video by index (at least one, any order, repeats allowed), uint8 `[f, h, w, 3]`.

    Frames are decoded from the key frame before them. A video of another size is scaled (bicubic, by swscale, in the
    pass that turns YUV into RGB) until it covers `size`, then cropped around its centre.

    Raises:
        InputError: no such file, no video in it, no such frame, or it is cut off or damaged.
    """
    wanted = sorted(set(indices))
    index = _read_index(path)
    with open_video(path) as (container, stream):
        pictures = _seek(container, stream, wanted, index) if index else _count(container, stream, wanted)
        found = {
            number: show_frame(picture, stream.sample_aspect_ratio, (size.height, size.width))
            for number, picture in pictures
            if not picture.is_corrupt
        }
    missing = [number for number in wanted if number not in found]
    if missing:
        raise InputError(f"cannot read frame {missing[0]} of {path}: it has no such frame, or is cut off or damaged")
    return np.stack([found[number] for number in indices])


@dataclass(frozen=True)
class _Index:
    """Where frames are, in the stream's units of time: `times` of all frames in the order in which they are shown,
    and of every key frame its time in `key_times` and where to seek for it in `key_places`."""

    times: list[int]
    key_times: list[int]
    key_places: list[int]


def _read_index(path: Path) -> _Index | None:
    """The index of a video, from its packets; None where it must be read from the start to be exact."""
    with open_video(path) as (container, stream):
        by = _SEEKS_BY.get(container.format.name)
        if by is None:
            return None
        packets = [packet for packet in container.demux(stream) if packet.size]
    if any(packet.pts is None for packet in packets):
        return None
    times = sorted(packet.pts for packet in packets if not packet.is_discard)
    keys = sorted((packet.pts, getattr(packet, by)) for packet in packets if packet.is_keyframe)
    if not times or not keys or times[0] < keys[0][0] or len(set(times)) < len(times):
        return None
    return _Index(times, [time for time, _ in keys], [time if place is None else place for time, place in keys])


def _seek(container: Any, stream: Any, wanted: Sequence[int], index: _Index) -> Iterator[tuple[int, Any]]:
    """Wanted frames (numbers rising) with their numbers, each run of them from its key frame."""
    known = [number for number in wanted if 0 <= number < len(index.times)]
    for key, run in groupby(known, key=lambda number: bisect_right(index.key_times, index.times[number]) - 1):
        container.seek(index.key_places[key], stream=stream)
        yield from _until(container, stream, {index.times[number]: number for number in run})


def _until(container: Any, stream: Any, wanted: Mapping[int, int]) -> Iterator[tuple[int, Any]]:
    """Frames by their time, from where the container stands to the last one wanted."""
    last = max(wanted)
    for picture in container.decode(stream):
        if picture.pts in wanted:
            yield wanted[picture.pts], picture
        if picture.pts >= last:
            return


def _count(container: Any, stream: Any, wanted: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Wanted frames (numbers rising) with their numbers, counted from the start of the video."""
    for number, picture in enumerate(container.decode(stream)):
        if number in wanted:
            yield number, picture
        if number >= wanted[-1]:
            return
