"""Decoded frames as a player shows them: upright, with square pixels, opaque, progressive, in the right colours.

A file says more than pixels: how it is to be turned (display matrix), the shape of a pixel, the colour matrix, range
and transfer, which of its lines were filmed first, and what is transparent. Everything that people bring (training
videos, pictures of a cast, videos to be scored) is read through `show_frame`. A file that says none of this, such as
our own lossless ones, comes back bit for bit.

| the file says | what is shown |
|---|---|
| a display matrix of quarter turns and mirrors | the frame turned and mirrored |
| pixels that are not square | the short side of a pixel stretched (bicubic), so that nothing is lost |
| transparency | the picture on white |
| no colour matrix | BT.709 from 1280 wide or more than 576 high on, BT.601 below, as players assume |
| HDR (PQ, HLG) or wide primaries (BT.2020, P3) | converted to the sRGB transfer and BT.709 primaries |
| interlaced lines | the top field, its missing lines interpolated |
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import av
import av.filter
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc
from jaxtyping import UInt8

from shotstream.core.errors import InputError

Frame: TypeAlias = UInt8[np.ndarray, "h w 3"]
Frames: TypeAlias = UInt8[np.ndarray, "_n h w 3"]

GROUND = 255
"""Grey level that transparent pictures are laid on: white."""
MAX_PIXEL_ASPECT = 16
_MATRIX_UNKNOWN, _MATRICES = 2, (0, 1, 2, 4, 5, 6, 7, 9, 10)
"""Values of AVColorSpace: unspecified, and those that swscale converts."""
_HDR_TRANSFERS = (16, 18)
"""Values of AVColorTransferCharacteristic: PQ and HLG."""
_WIDE_PRIMARIES = (9, 11, 12)
"""Values of AVColorPrimaries: BT.2020, DCI-P3 and Display P3."""
_ONE = 1 << 16
"""1.0 in a display matrix."""


@dataclass(frozen=True)
class Orientation:
    """Turns stored pixels upright: first transposed if `transpose`, then flipped."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, pixels: Frame) -> UInt8[np.ndarray, "H W 3"]:
        """Return the pixels upright."""
        pixels = pixels.transpose(1, 0, 2) if self.transpose else pixels
        pixels = pixels[::-1] if self.flip_rows else pixels
        pixels = pixels[:, ::-1] if self.flip_columns else pixels
        return np.ascontiguousarray(pixels)


def show_frame(
    picture: av.VideoFrame, pixel_aspect: Fraction | None = None, size: tuple[int, int] | None = None
) -> Frame:
    """Convert a decoded frame to the uint8 RGB pixels `[h, w, 3]` that a player shows.

    Args:
        picture: as the decoder gave it.
        pixel_aspect: width of a pixel over its height, as its stream says. None or 0: square.
        size: height and width to cover: the shown picture is scaled (bicubic) until it covers them, then cropped around
            its centre. None: the size that a player shows.

    Raises:
        InputError: it is turned by an angle that is no quarter turn, or has a colour matrix that cannot be converted.
    """
    orientation = read_orientation(picture)
    height, width = _square_pixels(picture.height, picture.width, pixel_aspect or Fraction(1))
    if picture.interlaced_frame:
        picture = _top_field(picture)
    if picture.colorspace not in _MATRICES:
        raise InputError(f"expected a usual colour matrix, got number {int(picture.colorspace)}; convert it to BT.709")
    if picture.format.has_palette or any(part.is_alpha for part in picture.format.components):
        opaque = on_ground(picture.reformat(format="rgba", **_colours(picture)).to_ndarray())
        picture = av.VideoFrame.from_ndarray(opaque, format="rgb24")
    if size is None:
        return orientation.apply(_scaled(picture, height, width))
    wanted_height, wanted_width = size[::-1] if orientation.transpose else size
    scale = max(wanted_height / height, wanted_width / width)
    height, width = max(wanted_height, round(height * scale)), max(wanted_width, round(width * scale))
    top, left = (height - wanted_height) // 2, (width - wanted_width) // 2
    pixels = _scaled(picture, height, width)
    return orientation.apply(pixels[top : top + wanted_height, left : left + wanted_width])


def on_ground(pixels: UInt8[np.ndarray, "h w 4"]) -> Frame:
    """Lay RGBA pixels with straight alpha on white: what is transparent becomes white, whatever colour lies there."""
    alpha = pixels[..., 3:].astype(np.uint16)
    mixed = pixels[..., :3] * alpha + GROUND * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def read_orientation(picture: av.VideoFrame) -> Orientation:
    """Read a frame's display matrix.

    Raises:
        InputError: it turns by an angle that is no quarter turn, or scales or shears, or cannot be read.
    """
    try:
        side_data: Any = picture.side_data
        data = side_data.get(SideData.DISPLAYMATRIX)
    except ValueError as error:  # of a kind that this PyAV has no name for; the others cannot be read then
        raise InputError(
            f"expected data beside the frames of known kinds, got another ({error}), so that it cannot be told how the "
            "picture is turned; save it as PNG or JPEG, or encode the video again"
        ) from error
    if data is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(data), "=i4")[:5].tolist()
    small = max(map(abs, (a, b, c, d))) / 50
    match [0 if abs(value) <= small else value for value in (a, b, c, d)]:
        case [0, 0, 0, 0]:
            return Orientation()
        case [x, 0, 0, y] if x and y:
            return Orientation(False, y < 0, x < 0)
        case [0, x, y, 0] if x and y:
            return Orientation(True, x < 0, y < 0)
    numbers = ", ".join(f"{value / _ONE:g}" for value in (a, b, c, d))
    raise InputError(
        f"expected a display matrix of quarter turns and mirrors, got [{numbers}]; encode the video upright"
    )


def _scaled(picture: av.VideoFrame, height: int, width: int) -> Frame:
    """RGB pixels of a frame; of another size, scaled (bicubic) in the same pass of swscale."""
    options = _colours(picture)
    if (picture.height, picture.width) != (height, width):
        options |= {"height": height, "width": width, "interpolation": "BICUBIC"}
    return picture.to_ndarray(format="rgb24", **options)


def _colours(picture: av.VideoFrame) -> dict[str, Any]:
    """Return the arguments of `reformat` that tell swscale of a frame's colours beside its tags."""
    told: dict[str, Any] = {}
    hd = picture.width >= 1280 or picture.height > 576
    if picture.colorspace == _MATRIX_UNKNOWN and not picture.format.is_rgb and hd:
        told["src_colorspace"] = Colorspace.ITU709
    hdr = picture.color_trc in _HDR_TRANSFERS
    if hdr or picture.color_primaries in _WIDE_PRIMARIES:
        told["dst_color_trc"] = ColorTrc.IEC61966_2_1 if hdr else picture.color_trc
        told["dst_color_primaries"] = ColorPrimaries.BT709
    return told


def _square_pixels(height: int, width: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """Height and width on a screen with square pixels: one of them is as stored, the other larger."""
    if not 1 / MAX_PIXEL_ASPECT <= pixel_aspect <= MAX_PIXEL_ASPECT:
        raise InputError(
            f"expected pixels at most {MAX_PIXEL_ASPECT} times as wide as high or as high as wide, got {pixel_aspect}; "
            "encode the video with square pixels"
        )
    if pixel_aspect >= 1:
        return height, round(width * pixel_aspect)
    return round(height / pixel_aspect), width


def _top_field(picture: av.VideoFrame) -> av.VideoFrame:
    """Return the top field of an interlaced frame: every second line, half as high, all filmed at one moment.

    It needs no other frame, so that it does not depend on which frames were read before.
    """
    graph: Any = av.filter.Graph()
    source = graph.add_buffer(width=picture.width, height=picture.height, format=picture.format, time_base=Fraction(1))
    field, sink = graph.add("field", "type=top"), graph.add("buffersink")
    source.link_to(field)
    field.link_to(sink)
    graph.configure()
    graph.push(picture)
    return graph.pull()
