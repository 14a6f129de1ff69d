"""Exact frames of long videos: the same as by playing them through, from the key frame before them, at any size."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from shotstream.core.errors import InputError
from shotstream.core.spec import VideoSize
from shotstream.core.video import Frames, read_video, write_video
from shotstream.data.clips import read_frames, read_times, resample_frames, strided_frames

SIZE = VideoSize(32, 48)
LENGTH, GROUP = 60, 12
X264 = {"g": str(GROUP), "bf": "3", "preset": "fast"}


def noise(frames: int = LENGTH, height: int = 32, width: int = 48) -> Frames:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), np.uint8)


def encode(path: Path, codec: str, options: dict[str, str], *, uneven: bool = False) -> Path:
    """A video with a key frame every 12 frames; `uneven`: frames are shown for 1, 2, 3, 1, ... units."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16, options=options)
        stream.height, stream.width, stream.pix_fmt = SIZE.height, SIZE.width, "yuv420p"
        stream.codec_context.time_base, time = Fraction(1, 16), 0
        for number, pixels in enumerate(noise()):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = time, Fraction(1, 16)
            time += 1 + number % 3 if uneven else 1
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def shift(source: Path, target: Path, frames: int) -> Path:
    """The same packets with the first frames cut off by an edit list."""
    with av.open(str(source)) as container, av.open(str(target), "w") as output:
        stream = container.streams.video[0]
        copied = output.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.dts is not None:
                offset = round(Fraction(frames, 16) / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - offset, packet.dts - offset, copied
                output.mux(packet)
    return target


def overwrite(path: Path, start: float, length: int) -> None:
    """Zeroes some bytes of a file."""
    data = bytearray(path.read_bytes())
    place = int(len(data) * start)
    data[place : place + length] = bytes(length)
    path.write_bytes(data)


KINDS: dict[str, Callable[[Path], Path]] = {
    "mp4": lambda folder: encode(folder / "a.mp4", "libx264", X264),
    "open groups": lambda folder: encode(folder / "a.mp4", "libx264", X264 | {"x264-params": "open-gop=1"}),
    "uneven": lambda folder: encode(folder / "a.mp4", "libx264", X264, uneven=True),
    "mkv": lambda folder: encode(folder / "a.mkv", "libx264", X264),
    "avi": lambda folder: encode(folder / "a.avi", "mpeg4", {"g": "12", "bf": "2"}),
    "stream": lambda folder: encode(folder / "a.ts", "libx264", X264),
    "edited": lambda folder: shift(encode(folder / "whole.mp4", "libx264", X264), folder / "a.mp4", 5),
}


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_those_of_the_video_played_through(kind: str, tmp_path: Path) -> None:
    path = KINDS[kind](tmp_path)
    with av.open(str(path)) as container:
        played = np.stack([picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)])
    assert len(read_times(path)) - 1 == len(played) == LENGTH - 5 * (kind == "edited")
    for index in range(0, len(played), 5):
        assert np.array_equal(read_frames(path, [index], SIZE)[0], played[index])
    indices = [40, 3, *range(10, 50, 3), 3]
    assert np.array_equal(read_frames(path, indices, SIZE), played[indices])
    for index in (-1, len(played)):
        with pytest.raises(InputError, match=f"cannot read frame {index} of .* no such frame"):
            read_frames(path, [0, index], SIZE)


def test_what_lies_before_the_key_frame_is_not_decoded(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", "libx264", X264 | {"threads": "1"})
    late = [40, 50]
    intact = read_frames(path, late, SIZE)
    overwrite(path, 0.2, 400)
    with pytest.raises(InputError, match="damaged"):
        read_frames(path, range(LENGTH), SIZE)
    assert np.array_equal(read_frames(path, late, SIZE), intact)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.99])
def test_a_video_that_is_cut_off_has_no_length(part: float, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, noise(), 16)
    assert len(read_times(path)) - 1 == LENGTH
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(InputError, match="cut off or damaged"):
        read_times(path)


def test_frames_are_counted_where_the_container_does_not_say(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_video(path, noise(), 16, lossless=True)
    assert len(read_times(path)) - 1 == LENGTH
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 0 < len(read_times(path)) - 1 < LENGTH


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    for name, message in (("text.mp4", "it is no video"), ("nothing.mp4", "no such file"), ("x" * 300, "cannot read")):
        with pytest.raises(InputError, match=message):
            read_times(tmp_path / name)


@pytest.mark.parametrize(("height", "width"), [(64, 192), (128, 96), (64, 80), (16, 32)])
def test_another_size_is_scaled_to_cover_and_cropped_around_its_centre(height: int, width: int, tmp_path: Path) -> None:
    """A bright square in the middle, on dark ground, stays a square in the middle."""
    frame = np.full((height, width, 3), 20, np.uint8)
    half = min(height // 2, width // 3) // 2
    frame[height // 2 - half : height // 2 + half, width // 2 - half : width // 2 + half] = 230
    write_video(tmp_path / "a.mkv", frame[None].repeat(2, 0), 16, lossless=True)
    made = read_frames(tmp_path / "a.mkv", [1], SIZE)
    assert made.shape == (1, SIZE.height, SIZE.width, 3)
    assert made.dtype == np.uint8
    rows, columns = np.nonzero(made[0, ..., 1] > 125)
    side = 2 * half * max(SIZE.height / height, SIZE.width / width)
    assert (rows.min() + rows.max() + 1) / 2 == pytest.approx(SIZE.height / 2, abs=1)
    assert (columns.min() + columns.max() + 1) / 2 == pytest.approx(SIZE.width / 2, abs=1)
    assert np.ptp(rows) + 1 == pytest.approx(side, abs=2)
    assert np.ptp(columns) + 1 == pytest.approx(side, abs=2)


def test_a_video_of_the_right_size_is_left_as_it_is(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", noise(9), 16)
    assert np.array_equal(read_frames(tmp_path / "a.mp4", range(9), SIZE), read_video(tmp_path / "a.mp4"))


@pytest.mark.parametrize(
    ("length", "stride", "shown"),
    [(9, 1, 9), (80, 1, 80), (81, 1, 81), (161, 1, 161), (162, 2, 81), (200, 2, 100), (250, 3, 84)],
)
def test_a_long_shot_is_strided(length: int, stride: int, shown: int) -> None:
    frames = strided_frames(length, 81)
    assert (frames.start, frames.step, len(frames)) == (0, stride, shown)
    assert frames[-1] < length


def test_the_times_of_frames_are_those_that_the_file_says(tmp_path: Path) -> None:
    even = encode(tmp_path / "even.mp4", "libx264", X264)
    assert read_times(even) == pytest.approx(np.arange(LENGTH + 1) / 16)
    uneven = read_times(encode(tmp_path / "uneven.mp4", "libx264", X264, uneven=True))
    assert np.diff(uneven[:7]) * 16 == pytest.approx([1, 2, 3, 1, 2, 3])
    avi = encode(tmp_path / "a.avi", "mpeg4", {"g": "12", "bf": "2"})
    assert np.diff(read_times(avi)) == pytest.approx(1 / 16)


@pytest.mark.parametrize("fps", [8, 12, 16, 23.976, 24, 25, 29.97, 30, 50, 60, 64, 120])
@pytest.mark.parametrize("rounding", [0, 1e-3])
def test_a_shot_lasts_as_long_at_sixteen_frames_a_second(fps: float, rounding: float) -> None:
    """Three seconds stay three seconds, and the frame shown at a time is one of that time; with times in ms too."""
    times = np.arange(round(5 * fps) + 1) / fps
    times = np.round(times / rounding) * rounding if rounding else times
    first, last = round(fps), round(4 * fps)
    frames = resample_frames(times, first, last)
    assert len(frames) == pytest.approx(48, abs=1)
    assert first == frames[0] <= frames[-1] < last
    assert times[frames] - times[first] == pytest.approx(
        np.arange(len(frames)) / 16, abs=max(0.5 / fps, 1 / fps - 1 / 32) + 1e-3
    )
    if fps == 16:
        assert frames.tolist() == list(range(first, last))


def test_frames_of_a_variable_rate_are_shown_by_their_times() -> None:
    times = np.array([0, 1, 2, 3, 7, 11, 11.25, 11.5, 11.75, 12]) / 16
    assert resample_frames(times, 0, 9).tolist() == [0, 1, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5]
    assert resample_frames(times, 4, 5).tolist() == [4] * 4
    assert resample_frames(times, 5, 7).tolist() == [5]


def test_a_frame_that_lasts_for_hours_is_refused() -> None:
    with pytest.raises(InputError, match=r"at most 600 s, got frames 0 to 1, which last 7200 s; .* as they are"):
        resample_frames(np.array([0.0, 1.0, 7200.0]), 0, 2)
