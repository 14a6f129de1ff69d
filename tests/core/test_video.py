"""Media: what is written is read back, and what cannot be written leaves nothing behind."""

import errno
import resource
from contextlib import contextmanager, nullcontext

import av
import numpy as np
import pytest

from shotstream.core.errors import InputError
from shotstream.core.images import contact_sheet, write_gif, write_png
from shotstream.core.spec import VideoSize
from shotstream.core.video import (
    VideoWriter,
    concat_videos,
    holds_frames,
    iter_video,
    probe_video,
    read_video,
    write_video,
)
from shotstream.data.clips import read_frames


def clip(frames=21, height=48, width=64, shift=0):
    """A soft moving gradient, kind to a codec."""
    y, x = np.mgrid[:height, :width]
    picture = np.stack([x * 3, y * 4, (x + y) * 2], -1).astype(np.uint8)
    return np.stack([np.roll(picture, index + shift, 1) for index in range(frames)])


def noise(frames=9, height=64, width=64):
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), np.uint8)


def test_lossless_is_exact(tmp_path):
    assert write_video(tmp_path / "a.mkv", noise(), 16, lossless=True) == 9
    assert np.array_equal(read_video(tmp_path / "a.mkv"), noise())
    assert np.array_equal(read_video(tmp_path / "a.mkv", [8, 0, 3, 3]), noise()[[8, 0, 3, 3]])
    assert probe_video(tmp_path / "a.mkv").frames == 9


def test_h264_is_close_in_every_colour(tmp_path):
    flat = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 30]], np.uint8)
    frames = np.repeat(flat[:, None, None], 32, 1).repeat(32, 2)
    write_video(tmp_path / "a.mp4", frames, 16)
    assert np.abs(read_video(tmp_path / "a.mp4").astype(int) - frames).max() <= 6
    info = probe_video(tmp_path / "a.mp4")
    assert (info.frames, info.height, info.width, info.fps) == (6, 32, 32, 16.0)


def test_some_frames_of_h264_are_those_of_the_whole(tmp_path):
    write_video(tmp_path / "a.mp4", clip(), 16)
    assert np.array_equal(read_video(tmp_path / "a.mp4", [20, 7]), read_video(tmp_path / "a.mp4")[[20, 7]])
    assert read_video(tmp_path / "a.mp4", []).shape == (0, 48, 64, 3)


def test_frames_may_come_one_by_one_or_in_lumps(tmp_path):
    with VideoWriter(tmp_path / "a.mkv", 16, lossless=True) as writer:
        writer.add(clip()[0])
        writer.add(clip()[1:9])
        assert not (tmp_path / "a.mkv").exists()
    assert np.array_equal(read_video(tmp_path / "a.mkv"), clip()[:9])
    assert len(list(iter_video(tmp_path / "a.mkv"))) == 9


@pytest.mark.parametrize(("name", "lossless"), [("a.mp4", False), ("a.mkv", True)])
def test_the_same_frames_make_the_same_file(tmp_path, name, lossless):
    made = set()
    for _ in range(4):
        write_video(tmp_path / name, clip(height=96, width=128) // 2 + noise(21, 96, 128) // 32, 16, lossless=lossless)
        made.add((tmp_path / name).read_bytes())
    assert len(made) == 1


def test_joined_videos_keep_every_frame(tmp_path):
    for name, shift in (("a", 0), ("b", 30)):
        write_video(tmp_path / f"{name}.mp4", clip(shift=shift), 16)
    parts = [tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "a.mp4"]
    concat_videos(parts, tmp_path / "all.mp4")
    assert np.array_equal(read_video(tmp_path / "all.mp4"), np.concatenate([read_video(part) for part in parts]))
    assert probe_video(tmp_path / "all.mp4").frames == 63


def test_where_joined_videos_do_not_fit_the_target_is_named(tmp_path):
    write_video(tmp_path / "a.mp4", noise(30), 16)
    parts = [tmp_path / "a.mp4"] * 2
    with files_of_at_most(60_000), pytest.raises(InputError, match=r"cannot write .*all\.mp4: the file grew larger"):
        concat_videos(parts, tmp_path / "all.mp4")
    assert names(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("part", [0, 0.02, 0.3, 0.7, 0.999, 1])
def test_a_whole_video_is_told_from_one_that_is_cut_off(tmp_path, part):
    write_video(tmp_path / "a.mp4", noise(), 16)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: int(len(data) * part)])
    assert holds_frames(tmp_path / "a.mp4", 9) is (part == 1)
    assert not holds_frames(tmp_path / "a.mp4", 10)
    assert not holds_frames(tmp_path / "b.mp4", 9)


def test_joining_refuses_another_size_and_nothing(tmp_path):
    write_video(tmp_path / "a.mp4", clip(), 16)
    write_video(tmp_path / "b.mp4", clip(height=32), 16)
    with pytest.raises(InputError, match=r"cannot join .*b\.mp4"):
        concat_videos([tmp_path / "a.mp4", tmp_path / "b.mp4"], tmp_path / "all.mp4")
    with pytest.raises(InputError, match="no video to join"):
        concat_videos([], tmp_path / "all.mp4")
    assert names(tmp_path) == ["a.mp4", "b.mp4"]


def test_a_gif_has_the_frames_and_their_colours(tmp_path):
    frames = clip() // 64 * 64
    write_gif(tmp_path / "a.gif", iter([frames[:5], frames[5:]]), 10)
    assert np.abs(read_video(tmp_path / "a.gif").astype(int) - frames).mean() < 2
    assert probe_video(tmp_path / "a.gif").fps == 10


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_png_is_exact(tmp_path):
    write_png(tmp_path / "a.png", noise()[0])
    assert np.array_equal(read_video(tmp_path / "a.png")[0], noise()[0])
    with pytest.raises(InputError, match="expected one frame"):
        write_png(tmp_path / "b.png", noise())


def test_a_contact_sheet_has_every_frame_at_its_place():
    frames = noise(5, 4, 6)
    sheet = contact_sheet(frames, columns=3)
    assert sheet.shape == (2 * 6 - 2, 3 * 8 - 2, 3)
    assert np.array_equal(sheet[6:10, 8:14], frames[4])
    assert (sheet[6:, 14:] == 255).all()
    assert contact_sheet(frames[:2], columns=3).shape == (4, 2 * 8 - 2, 3)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((2, 32, 32, 3), np.float32), "expected uint8 frames"),
        (np.zeros((32, 32), np.uint8), "expected uint8 frames"),
        (np.zeros((2, 32, 32, 4), np.uint8), "expected uint8 frames"),
        (np.zeros((2, 31, 32, 3), np.uint8), "expected an even height and width, got 32x31"),
        (np.zeros((0, 32, 32, 3), np.uint8), "there is not one frame"),
    ],
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_unfit_frames_leave_nothing(tmp_path, frames, message):
    with pytest.raises(InputError, match=message):
        write_video(tmp_path / "a.mp4", [frames], 16)
    assert names(tmp_path) == []


def test_a_change_of_size_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="expected frames of 64x48, got 64x32"):
        write_video(tmp_path / "a.mp4", [clip(), clip(height=32)], 16)
    assert names(tmp_path) == []


def test_a_failure_while_frames_are_made_is_passed_on_and_leaves_the_old_file(tmp_path):
    write_video(tmp_path / "a.mp4", clip(), 16)
    before = (tmp_path / "a.mp4").read_bytes()

    def frames():
        yield clip()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "a.mp4", frames(), 16)
    assert names(tmp_path) == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == before


@contextmanager
def files_of_at_most(size):
    """The kernel refuses to let files grow: the nearest thing to a full disk that needs no privileges."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize(("name", "lossless"), [("a.mp4", False), ("a.mkv", True)])
@pytest.mark.parametrize("size", [0, 5_000, 60_000])
def test_where_no_more_can_be_written_nothing_is_left(tmp_path, name, lossless, size):
    with files_of_at_most(size), pytest.raises(InputError, match=r"cannot write .*grew larger than allowed"):
        write_video(tmp_path / name, noise(30), 16, lossless=lossless)
    assert names(tmp_path) == []


def test_no_gif_or_png_where_no_more_can_be_written(tmp_path):
    with files_of_at_most(100):
        with pytest.raises(InputError, match="cannot write"):
            write_gif(tmp_path / "a.gif", noise(), 16)
        with pytest.raises(InputError, match="cannot write"):
            write_png(tmp_path / "a.png", noise()[0])
    assert names(tmp_path) == []


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(VideoWriter, "_picture", full)
    with pytest.raises(InputError, match="the disk is full; free some space or write elsewhere") as caught:
        write_video(tmp_path / "a.mp4", clip(), 16)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere/a.mp4", "does not exist; create it first"),
        ("directory.mp4", "it is a directory"),
        ("a.mov", r"expected a name ending in \.mp4"),
        ("x" * 300 + ".mp4", "the name is too long"),
        ("x" * 250 + ".mp4", "the name is too long"),
    ],
)
def test_names_that_cannot_be_written(tmp_path, name, message):
    (tmp_path / "directory.mp4").mkdir()
    with pytest.raises(InputError, match=message):
        write_video(tmp_path / name, clip(), 16)


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video("a:1.mp4", clip(5), 16)
    write_gif("data:1.gif", clip(5), 16)
    assert len(read_video("a:1.mp4")) == len(read_video("data:1.gif")) == 5


def test_unreadable_files(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    for name, message in (
        ("nothing.mp4", "no such file"),
        ("text.mp4", "it is no video"),
        ("empty.mp4", "it is no video"),
    ):
        with pytest.raises(InputError, match=message):
            read_video(tmp_path / name)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize(("name", "lossless"), [("a.mp4", False), ("a.mkv", True)])
def test_truncated_videos_are_refused(tmp_path, part, name, lossless):
    write_video(tmp_path / name, noise(), 16, lossless=lossless)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * part)])
    with pytest.raises(InputError, match="cut off or damaged"):
        read_video(tmp_path / name)
    with pytest.raises(InputError, match="cut off or damaged"):
        read_video(tmp_path / name, [8])


@pytest.mark.parametrize("checksums", ["0", "1"])
def test_a_flipped_bit_in_a_lossless_frame_is_found_by_its_checksum(tmp_path, checksums):
    path, frames = tmp_path / "a.mkv", noise(3)
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=16, options={"level": "3", "slicecrc": checksums, "g": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "bgr0"
        container.mux([one for f in frames for one in stream.encode(av.VideoFrame.from_ndarray(f, format="rgb24"))])
        container.mux(stream.encode(None))
    assert np.array_equal(read_video(path), frames)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for read in (
        read_video,
        lambda path: read_video(path, [1]),
        lambda path: read_frames(path, [1], VideoSize(64, 64)),
    ):
        with nullcontext() if checksums == "0" else pytest.raises(InputError, match="a checksum of its frames"):
            assert len(read(path))


def test_a_frame_that_is_not_there(tmp_path):
    write_video(tmp_path / "a.mkv", noise(), 16, lossless=True)
    for index in (9, -1):
        with pytest.raises(InputError, match=f"cannot read frame {index} of"):
            read_video(tmp_path / "a.mkv", [0, index])


def names(directory):
    return sorted(path.name for path in directory.iterdir() if path.is_file())
