"""Stills and GIFs: one frame as PNG, many as a contact sheet, a clip as an animated picture for a README."""

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
import numpy as np
from jaxtyping import UInt8

from shotstream.core.atomic_files import replacing, write_bytes, writing
from shotstream.core.errors import InputError
from shotstream.core.video import Frame, Frames, check_frames


def write_png(path: str | Path, frame: Frame) -> None:
    """Writes one frame as PNG.

    Raises:
        InputError: no single uint8 frame, or the file cannot be written.
    """
    if check_frames(frame).shape[0] != 1:
        raise InputError(f"expected one frame for {path}, got {len(frame)}; write one file a frame")
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(check_frames(frame)[0]), format="rgb24")
    encoder: Any = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "rgb24"
    encoder.time_base = Fraction(1)
    packets = [*encoder.encode(picture), *encoder.encode(None)]
    write_bytes(Path(path), b"".join(bytes(packet) for packet in packets))


def contact_sheet(frames: Frames, columns: int, scale: int = 1, gap: int = 2) -> UInt8[np.ndarray, "H W 3"]:
    """Frames side by side, row by row, on white: `[n, h, w, 3]` to one picture.

    Args:
        frames: what to show, in reading order.
        columns: pictures a row.
        scale: whole-number enlargement without smoothing, for pixel art.
        gap: pixels between pictures.
    """
    frames = check_frames(frames).repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width = frames.shape[:3]
    rows, columns = math.ceil(count / columns), min(columns, count)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for index, frame in enumerate(frames):
        y, x = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[y : y + height, x : x + width] = frame
    return sheet


def write_gif(path: str | Path, frames: Iterable[Frame | Frames], fps: float) -> None:
    """Writes an endless GIF with a palette of its own, and no dither (flat colours stay flat, the file small).

    The palette needs every frame, so the clip is held in memory.

    Raises:
        InputError: there is not one frame, or the file cannot be written.
    """
    path, rate = Path(path), Fraction(fps).limit_denominator(1001)
    graph: Any = None
    for count, frame in enumerate(one for some in frames for one in check_frames(some)):
        picture: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts, picture.time_base = count, 1 / rate
        graph = graph or _palette_graph(picture)
        graph.push(picture)
    if graph is None:
        raise InputError(f"cannot write {path}: there is not one frame")
    graph.push(None)
    with replacing(path) as partial, writing(path), av.open(f"file:{partial}", "w", format="gif") as output:
        stream = output.add_stream("gif", rate=rate)
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "pal8"
        for coloured in _drain(graph):
            output.mux(stream.encode(coloured))
        output.mux(stream.encode(None))


def _palette_graph(picture: Any) -> Any:
    graph: Any = av.filter.Graph()
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
    )
    split, palette = graph.add("split"), graph.add("palettegen", "stats_mode=full")
    paint, sink = graph.add("paletteuse", "dither=none:diff_mode=rectangle"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(palette, 0, 0)
    split.link_to(paint, 1, 0)
    palette.link_to(paint, 0, 1)
    paint.link_to(sink)
    graph.configure()
    return graph


def _drain(graph: Any) -> Iterable[Any]:
    while True:
        try:
            yield graph.pull()
        except (av.error.EOFError, av.error.BlockingIOError):
            return
