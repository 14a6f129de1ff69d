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
from jaxtyping import Float64, Int64

from shotstream.core.display import Frames, show_frame
from shotstream.core.errors import InputError
from shotstream.core.ffv1 import decode_frames
from shotstream.core.spec import FPS, VideoSize
from shotstream.core.video import DAMAGED, open_video

MAX_SHOT_S = 600
SAME_TIME_S = 1e-6
"""Times that differ by less are one, whichever way they were rounded."""
_SEEKS_BY = {"mov,mp4,m4a,3gp,3g2,mj2": "dts", "matroska,webm": "pts"}
"""Containers that keep an index of key frames, and by which of a packet's times they look one up."""


def strided_frames(length_frames: int, most: int) -> range:
    """Return the frames of a shot to train on: all if there are up to `most`, else every (length // most)th."""
    return range(0, length_frames, max(1, length_frames // most))


def read_times(path: Path) -> Float64[np.ndarray, " times"]:
    """Return the times in seconds at which the frames of a video are shown, and that at which the last one ends.

    There is one time more than there are frames.

    Where the container says how many frames there are, the packets are checked against it and nothing is decoded;
    elsewhere all frames are. Where it keeps no times of frames (AVI), they follow each other at its frame rate.

    Raises:
        InputError: no such file, no video in it, it is cut off or damaged, or it says neither times nor a rate.
    """
    with open_video(path) as (container, stream):
        told, base, rate = stream.frames, stream.time_base, stream.average_rate
        if told:
            units = [packet for packet in container.demux(stream) if packet.size]
            whole = sum(not packet.is_corrupt for packet in units)
            if whole < told:
                raise InputError(f"cannot read {path}: it says {told} frames and holds {whole}; it {DAMAGED}")
            shown = [(packet.pts, packet.duration) for packet in units if not packet.is_discard]
        else:
            shown = [(picture.pts, picture.duration) for picture in decode_frames(container, stream)]
    starts = sorted(start for start, _ in shown if start is not None)
    if base and len(set(starts)) == len(shown):
        last = max((start, length or 0) for start, length in shown)[1] if shown else 0
        typical = float(np.median(np.diff(starts))) if len(starts) > 1 else float(1 / (rate or FPS) / base)
        return np.array([*starts, starts[-1] + (last or typical)] if starts else [0.0]) * float(base)
    if not rate:
        raise InputError(f"cannot read {path}: it says neither the times of its frames nor a rate; encode it again")
    return np.arange(len(shown) + 1) / float(rate)


def resample_frames(times: Float64[np.ndarray, " times"], start: int, end: int) -> Int64[np.ndarray, " m"]:
    """Return which of the frames `start` to `end - 1` are shown at 16 frames a second, so that motion keeps its speed.

    For each sixteenth of a second from the first frame on, it is the frame that a player shows then, or one that comes
    within half a sixteenth and is nearer; of a slower video frames are repeated.

    Raises:
        InputError: the shot lasts longer than `MAX_SHOT_S`.
    """
    seconds = float(times[end] - times[start])
    if seconds > MAX_SHOT_S:
        raise InputError(
            f"expected a shot of at most {MAX_SHOT_S} s, got frames {start} to {end - 1}, which last {seconds:.0f} s; "
            "encode the video again, or keep its frames as they are (source.resample=false)"
        )
    wanted = times[start] + np.arange(max(1, round(seconds * FPS))) / FPS
    before, after = times[start : end - 1], times[start + 1 : end]
    shown_from = np.maximum((before + after) / 2, after - 1 / (2 * FPS))
    return start + np.searchsorted(shown_from, wanted - SAME_TIME_S)


def read_frames(path: Path, indices: Sequence[int], size: VideoSize) -> Frames:
    """Read frames of a video by index (at least one, any order, repeats allowed), uint8 `[f, h, w, 3]`.

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
        raise InputError(
            f"cannot read frame {missing[0]} of {path}: it has no such frame, or is cut off or damaged; "
            "correct the range or copy the file again"
        )
    return np.stack([found[number] for number in indices])


@dataclass(frozen=True)
class _Index:
    """Times of a stream's frames, in the stream's units.

    `times` are those of all frames in the order in which they are shown. Every key frame has its time in `key_times`
    and the place to seek for it in `key_places`.
    """

    times: list[int]
    key_times: list[int]
    key_places: list[int]


def _read_index(path: Path) -> _Index | None:
    """Read the index of a video from its packets; None if only reading from the start is exact."""
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
    """Yield frames with their times, from the container's position to the last one wanted."""
    last = max(wanted)
    for picture in decode_frames(container, stream):
        if picture.pts in wanted:
            yield wanted[picture.pts], picture
        if picture.pts >= last:
            return


def _count(container: Any, stream: Any, wanted: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Wanted frames (numbers rising) with their numbers, counted from the start of the video."""
    for number, picture in enumerate(decode_frames(container, stream)):
        if number in wanted:
            yield number, picture
        if number >= wanted[-1]:
            return
