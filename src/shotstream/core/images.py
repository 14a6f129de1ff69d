"""Pictures: read any still as a viewer shows it; write PNG, contact sheets and GIFs. Frames are uint8 RGB."""

import io
import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias, cast

import av
import av.filter
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile, PngInfo

from shotstream.core.atomic_files import replacing, write_bytes, writing
from shotstream.core.display import GROUND, Frame, Frames, on_ground
from shotstream.core.errors import InputError
from shotstream.core.video import DAMAGED, check_frames, check_readable, iter_video, open_video

Picture: TypeAlias = str | Path | Image.Image | NDArray[Any]
"""Types that are accepted as a picture; see `as_frame`."""
MAX_PIXELS = 2**26
"""Largest picture that is decoded, in pixels: 8192 x 8192."""
SHEET_GAP_PX = 2
_DESCRIPTION = "Description"
"""Keyword of the PNG specification for what a picture shows."""
_READ_BY_PILLOW = ("png_pipe", "apng", "jpeg_pipe", "mjpeg", "gif", "gif_pipe", "tiff_pipe", "bmp_pipe", "webp_pipe")
"""FFmpeg's names of kinds that it must not be asked for, because it shows what is left of a damaged picture."""
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes of one channel with more than 8 bits."""


def read_image(path: str | Path) -> Frame:
    """Read a picture as a viewer shows it, uint8 RGB `[h, w, 3]`.

    It is turned as its EXIF orientation says, laid on white where it is transparent, and converted to sRGB from its
    colour profile. Of an animation or a video the first frame is read.

    Raises:
        InputError: no such file, no picture or video, damaged, over 67 million pixels, or HEIC.
    """
    path = Path(path)
    check_readable(path)
    try:
        return _decode(path, None, MAX_PIXELS, f"cannot read {path}")
    except UnidentifiedImageError as error:
        with open_video(path) as (container, _):
            if container.format.name in _READ_BY_PILLOW:
                raise InputError(f"cannot read {path}: it begins as a picture and {DAMAGED}") from error
        return next(iter_video(path))


def decode_image(data: bytes, formats: tuple[str, ...], max_pixels: int = MAX_PIXELS) -> Frame:
    """Decode a picture that somebody sent, like `read_image`, but only one of the given formats of Pillow ("PNG").

    Raises:
        InputError: it is of another format, damaged, or has more than `max_pixels`.
    """
    try:
        return _decode(io.BytesIO(data), formats, max_pixels, "cannot read the picture")
    except UnidentifiedImageError as error:
        known = " or ".join(formats)
        raise InputError(f"expected a picture as {known}, got another kind of file; convert it to {known}") from error


def as_frame(image: object) -> Frame:
    """Return the frame of what a caller hands in as a picture: a path, a PIL image, or uint8 RGB `[h, w, 3]`.

    Raises:
        InputError: it is none of these, or the file cannot be read.
    """
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        with _as_input_error("cannot read the picture"):
            return _to_rgb(image)
    if not isinstance(image, np.ndarray):
        raise InputError(
            f"expected a picture as a path, a PIL image or a uint8 array [h, w, 3], got {type(image).__name__}; "
            "convert it to one of these"
        )
    frames = check_frames(image)
    if len(frames) != 1:
        raise InputError(f"expected one picture [h, w, 3], got {len(frames)}; add them one by one")
    return frames[0]


def write_png(path: str | Path, frame: Frame, description: str = "") -> None:
    """Write one frame as PNG, with a description of what it shows if any (`read_description`).

    Raises:
        InputError: no single uint8 frame, or the file cannot be written.
    """
    if check_frames(frame).shape[0] != 1:
        raise InputError(f"expected one frame for {path}, got {len(frame)}; write one file a frame")
    data = encode_png(frame)
    write_bytes(Path(path), _describe_png(data, description) if description else data)


def _describe_png(data: bytes, description: str) -> bytes:
    """Return a PNG with PNG's text `Description` in it."""
    info, described = PngInfo(), io.BytesIO()
    info.add_itxt(_DESCRIPTION, description)
    with Image.open(io.BytesIO(data)) as picture:
        picture.save(described, "PNG", pnginfo=info)
    return described.getvalue()


def read_description(path: Path) -> str | None:
    """Return what a PNG says that it shows; None where it says nothing, or is no PNG as it was written."""
    unreadable = (InputError, UnidentifiedImageError)
    with suppress(*unreadable), _as_input_error(f"cannot read {path}"), Image.open(path, formats=("PNG",)) as picture:
        picture.load()
        return cast(PngImageFile, picture).text.get(_DESCRIPTION)
    return None


def encode_png(frame: Frame) -> bytes:
    """Return one uint8 frame as the bytes of a PNG."""
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(check_frames(frame)[0]), format="rgb24")
    encoder: Any = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "rgb24"
    encoder.time_base = Fraction(1)
    return b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])


def contact_sheet(frames: Frames, columns: int) -> UInt8[np.ndarray, "H W 3"]:
    """Put frames side by side, row by row, on white: `[n, h, w, 3]` to one picture.

    Args:
        frames: what to show, in reading order.
        columns: pictures a row.
    """
    columns = min(columns, len(check_frames(frames)))
    rows = math.ceil(len(frames) / columns)
    room = ((0, rows * columns - len(frames)), (0, SHEET_GAP_PX), (0, SHEET_GAP_PX), (0, 0))
    cells = np.pad(frames, room, constant_values=255)
    height, width = cells.shape[1:3]
    sheet = cells.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)
    return sheet[:-SHEET_GAP_PX, :-SHEET_GAP_PX]


def write_gif(path: str | Path, frames: Iterable[Frame | Frames], fps: float) -> None:
    """Write an endless GIF with a palette of its own, and no dither (flat colours stay flat, the file small).

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
        raise InputError(f"cannot write {path}: there is not one frame; add one first")
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


def _decode(source: Path | io.BytesIO, formats: tuple[str, ...] | None, max_pixels: int, failed: str) -> Frame:
    """Decode with Pillow; UnidentifiedImageError is passed on, everything else becomes an InputError."""
    with (
        _as_input_error(failed),
        warnings.catch_warnings(action="ignore"),
        Image.open(source, formats=formats) as image,
    ):
        if image.width * image.height > max_pixels:
            size = f"{image.width}x{image.height}"
            raise InputError(f"{failed}: it has {size} pixels, the most is {max_pixels}; make it smaller")
        return _to_rgb(image)


@contextmanager
def _as_input_error(failed: str) -> Iterator[None]:
    """Turn all errors of Pillow into an InputError, but let UnidentifiedImageError pass."""
    try:
        yield
    except (UnidentifiedImageError, InputError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{failed}: it has too many pixels; make it smaller") from error
    except Exception as error:  # damaged bytes raise SyntaxError, OSError, ValueError, struct.error and others
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{failed}: {reason}; it {DAMAGED}") from error


def _to_rgb(image: Image.Image) -> Frame:
    """Return the pixels of a picture upright, opaque, in 8 bits and in sRGB."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _DEEP_MODES:
        return _deep_to_rgb(upright)
    clear = upright.info.get("transparency")
    if upright.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:  # of 16 bits, where Pillow keeps 8
        upright.info["transparency"] = tuple(value >> 8 for value in clear)
    if upright.has_transparency_data:
        return on_ground(np.asarray(_to_srgb(upright.convert("RGBA"), "RGBA")))
    return np.asarray(_to_srgb(upright, "RGB").convert("RGB"))


def _deep_to_rgb(image: Image.Image) -> Frame:
    """Return the pixels of a picture of one channel with more than 8 bits; floats reach up to 1, 255 or 65535."""
    deep = np.asarray(image).astype(np.float64)
    if not np.isfinite(deep).all():
        raise InputError("expected a picture of finite numbers, got NaN or infinity in it; save it as PNG")
    scales = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
    scale = next((scale for scale in scales if deep.max(initial=0) <= scale), scales[-1])
    grey = (deep / scale * 255).clip(0, 255).round().astype(np.uint8)
    if "transparency" in image.info:
        grey[deep == image.info["transparency"]] = GROUND
    return np.repeat(grey[..., None], 3, axis=2)


def _to_srgb(image: Image.Image, mode: str) -> Image.Image:
    """Return the picture converted from its colour profile to sRGB, where it has one that can be used."""
    data = image.info.get("icc_profile")
    if not data:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError):  # a damaged profile, or one of another kind than the pixels: as without it
        return image
    return image if converted is None else converted
