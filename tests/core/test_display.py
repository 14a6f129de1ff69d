"""Frames as a player shows them: each thing that a video may say about its picture, written into a real file."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from shotstream.core.display import Frame, Frames, Orientation, show_frame
from shotstream.core.errors import InputError
from shotstream.core.spec import VideoSize
from shotstream.core.video import iter_video, read_video, write_video
from shotstream.data.clips import read_frames

ONE = 1 << 16
RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 255, 0)


def quarters(height: int = 80, width: int = 128) -> Frame:
    """Red, blue, green and white quarters: top left, top right, bottom left, bottom right."""
    frame = np.full((height, width, 3), 255, np.uint8)
    frame[: height // 2, : width // 2], frame[: height // 2, width // 2 :] = RED, BLUE
    frame[height // 2 :, : width // 2] = GREEN
    return frame


def write(path: Path, frame: Frame, codec: str = "libx264", pixels: str = "yuv420p", **settings: Any) -> Path:
    """A video of four equal frames; `settings` are attributes of the encoder."""
    options = settings.pop("options", {})
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=16, options=options)
        stream.height, stream.width, stream.pix_fmt = frame.shape[0], frame.shape[1], pixels
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        for _ in range(4):
            picture = av.VideoFrame.from_ndarray(frame, format="rgba" if frame.shape[2] == 4 else "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Writes a display matrix into an MP4's track header."""
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 8 + 20 + 16
    data[place : place + 36] = b"".join(struct.pack(">i", x) for x in (a, b, 0, c, d, 0, 0, 0, 1 << 30))
    path.write_bytes(data)
    return path


def corners(frame: Frame) -> list[str]:
    """The colours of the corners: top left, top right, bottom left, bottom right."""
    names = {"red": RED, "blue": BLUE, "green": GREEN, "white": (255, 255, 255)}
    found = [frame[y, x].astype(int) for y, x in ((4, 4), (4, -5), (-5, 4), (-5, -5))]
    return [min(names, key=lambda name: int(np.abs(colour - names[name]).sum())) for colour in found]


UPRIGHT = ["red", "blue", "green", "white"]
MATRICES = {  # of a player, which maps stored pixels to the screen
    "as stored": ((ONE, 0, 0, ONE), UPRIGHT),
    "a quarter turn clockwise": ((0, ONE, -ONE, 0), ["green", "red", "white", "blue"]),
    "half a turn": ((-ONE, 0, 0, -ONE), ["white", "green", "blue", "red"]),
    "a quarter turn back": ((0, -ONE, ONE, 0), ["blue", "white", "red", "green"]),
    "mirrored": ((-ONE, 0, 0, ONE), ["blue", "red", "white", "green"]),
    "upside down": ((ONE, 0, 0, -ONE), ["green", "white", "red", "blue"]),
    "transposed": ((0, ONE, ONE, 0), ["red", "green", "blue", "white"]),
    "transposed the other way": ((0, -ONE, -ONE, 0), ["white", "blue", "green", "red"]),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_a_display_matrix_turns_the_frame(kind: str, tmp_path: Path) -> None:
    matrix, expected = MATRICES[kind]
    path = set_matrix(write(tmp_path / "a.mp4", quarters()), *matrix)
    shown = read_video(path)
    assert shown.shape[1:3] == ((128, 80) if matrix[0] == 0 else (80, 128))
    assert corners(shown[0]) == expected
    assert np.array_equal(read_video(path, [0])[0], shown[0])
    trained = read_frames(path, [0], VideoSize(96, 96))[0]
    assert (trained.shape, corners(trained)) == ((96, 96, 3), expected)


def test_a_matrix_that_is_no_quarter_turn_is_refused(tmp_path: Path) -> None:
    path = set_matrix(write(tmp_path / "a.mp4", quarters()), 46341, 46341, -46341, 46341)
    with pytest.raises(InputError, match=r"display matrix of quarter turns and mirrors, got \[0\.7"):
        read_video(path)


@pytest.mark.parametrize(
    ("aspect", "height", "width"), [(Fraction(2), 80, 256), (Fraction(1, 2), 160, 128), (Fraction(64, 45), 80, 182)]
)
def test_pixels_that_are_not_square_are_stretched(aspect: Fraction, height: int, width: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", quarters(), sample_aspect_ratio=aspect)
    shown = read_video(path)[0]
    assert shown.shape == (height, width, 3)
    assert corners(shown) == UPRIGHT


def test_a_circle_stays_round_in_training(tmp_path: Path) -> None:
    y, x = np.mgrid[:96, :96]
    stored = np.where(((x - 47.5) ** 2 / 4 + (y - 47.5) ** 2 < 20**2)[..., None], 255, 0).astype(np.uint8).repeat(3, 2)
    path = write(tmp_path / "a.mp4", stored, sample_aspect_ratio=Fraction(1, 2))
    trained = read_frames(path, [0], VideoSize(96, 96))[0][..., 0] > 128
    assert abs(int(trained.any(0).sum()) - int(trained.any(1).sum())) <= 2


def test_an_absurd_pixel_shape_is_refused() -> None:
    with pytest.raises(
        InputError, match="expected pixels at most 16 times as wide as high or as high as wide, got 200"
    ):
        show_frame(yuv(64, 48, 1), Fraction(200))


@pytest.mark.parametrize(
    ("codec", "pixels", "name"), [("prores_ks", "yuva444p10le", "a.mov"), ("png", "rgba", "a.mov")]
)
def test_what_is_transparent_becomes_white(codec: str, pixels: str, name: str, tmp_path: Path) -> None:
    frame = np.zeros((80, 128, 4), np.uint8)
    frame[..., 1] = 255  # bright green under full transparency
    frame[20:60, 44:84] = (255, 0, 0, 255)
    path = write(tmp_path / name, frame, codec, pixels, options={"profile": "4444"} if codec == "prores_ks" else {})
    shown = read_video(path)[0].astype(int)
    assert np.abs(shown[:16] - 255).max() <= 3
    assert np.abs(shown[30:50, 54:74] - RED).max() <= 16
    if pixels == "rgba":
        assert np.array_equal(np.unique(shown.reshape(-1, 3), axis=0), [[255, 0, 0], [255, 255, 255]])


def test_half_transparent_pixels_are_mixed_with_white(tmp_path: Path) -> None:
    frame = np.full((16, 16, 4), (0, 0, 0, 128), np.uint8)
    assert (read_video(write(tmp_path / "a.mov", frame, "png", "rgba")) == 127).all()


def test_transparency_in_a_stream_that_is_not_read_is_refused(tmp_path: Path) -> None:
    frame = np.full((80, 128, 4), (0, 255, 0, 0), np.uint8)
    path = write(tmp_path / "a.webm", frame, "libvpx-vp9", "yuva420p")
    with pytest.raises(InputError, match=r"VP9 alpha.* is not read; lay it on a ground"):
        read_video(path)


def yuv(width: int, height: int, matrix: int, full: int = 1) -> av.VideoFrame:
    """A frame of Y 81, U 90, V 240 (red in BT.601) with a matrix and a range."""
    picture = av.VideoFrame(width, height, "yuv420p")
    for plane, value in zip(picture.planes, (81, 90, 240), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    picture.colorspace, picture.color_range = matrix, full
    return picture


@pytest.mark.parametrize(
    ("width", "height", "matrix", "rgb"),
    [
        (640, 480, 2, (254, 0, 0)),  # untagged and small: BT.601
        (1280, 720, 2, (255, 24, 0)),  # untagged HD: BT.709
        (1280, 720, 6, (254, 0, 0)),  # HD that says BT.601
        (640, 480, 1, (255, 24, 0)),  # small that says BT.709
        (640, 480, 9, (255, 10, 0)),  # BT.2020
    ],
)
def test_the_colour_matrix_is_the_tagged_or_the_usual_one(
    width: int, height: int, matrix: int, rgb: tuple[int, int, int]
) -> None:
    assert np.abs(show_frame(yuv(width, height, matrix))[4, 4].astype(int) - rgb).max() <= 2


def test_full_range_is_not_stretched() -> None:
    picture = av.VideoFrame(64, 48, "yuv420p")
    for plane, value in zip(picture.planes, (200, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    picture.color_range = 2
    assert (show_frame(picture) == 200).all()
    picture.color_range = 1
    assert (show_frame(picture) == 214).all()


def test_a_matrix_that_cannot_be_converted_is_refused() -> None:
    with pytest.raises(InputError, match="expected a usual colour matrix, got number 8"):
        show_frame(yuv(64, 48, 8))


def test_hdr_is_converted_to_what_a_usual_screen_shows() -> None:
    picture = av.VideoFrame(64, 48, "yuv420p10le")
    for plane, value in zip(picture.planes, (502, 512, 512), strict=True):  # half the HLG signal
        plane.update(struct.pack("<H", value) * (plane.buffer_size // 2))
    picture.colorspace, picture.color_range, picture.color_trc, picture.color_primaries = 9, 1, 18, 9
    plain = 126
    shown = show_frame(picture)[4, 4].astype(int)
    assert np.ptp(shown) <= 1, "grey stays grey"
    assert plain + 5 < shown[0] < plain + 40, "HLG is darker than it looks as SDR"


def test_interlaced_frames_have_no_comb(tmp_path: Path) -> None:
    frame = np.full((96, 128, 3), 20, np.uint8)
    frame[0::2, 20:60], frame[1::2, 40:80] = 220, 220
    interlaced = {"flags": "+ildct+ilme", "top": "1", "b": "8000000"}
    path = write(tmp_path / "a.ts", frame, "mpeg2video", options=interlaced)
    shown = read_video(path)[0].astype(int)
    assert shown.shape == (96, 128, 3)
    assert np.abs(np.diff(shown, axis=0)).max() < 20
    assert shown[48, 30, 0] > 180, "the top field is shown"
    assert shown[48, 70, 0] < 60
    assert np.array_equal(read_frames(path, [2], VideoSize(96, 128))[0], list(iter_video(path))[2])


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=1)
        stream.height, stream.width, stream.pix_fmt = 80, 128, "yuvj420p"
        stream.disposition = av.stream.Disposition.attached_pic
        container.mux(stream.encode(av.VideoFrame.from_ndarray(quarters(), format="rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="there is only a cover picture in it"):
        read_video(path)


def test_a_lossless_video_of_ours_is_bit_exact_at_any_size(tmp_path: Path) -> None:
    frames: Frames = np.random.default_rng(0).integers(0, 256, (3, 720, 1280, 3), np.uint8)
    write_video(tmp_path / "a.mkv", frames, 16, lossless=True)
    assert np.array_equal(read_video(tmp_path / "a.mkv"), frames)


@pytest.mark.parametrize("transpose", [False, True])
def test_an_orientation_is_applied_in_its_order(*, transpose: bool) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    turned = Orientation(transpose, flip_rows=True).apply(pixels)
    expected = pixels.swapaxes(0, 1) if transpose else pixels
    assert np.array_equal(turned, expected[::-1])
