"""Video files: H.264 for people, FFV1 where every bit counts. Frames are uint8 RGB, `[h, w, 3]` or `[n, h, w, 3]`.

Every file is written under a temporary name and takes its own when it is whole.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import ColorRange, Colorspace

from shotstream.core.atomic_files import replacing, writing
from shotstream.core.display import Frame, Frames, show_frame
from shotstream.core.errors import InputError
from shotstream.core.ffv1 import decode_frames, decode_packet

_BT709 = 1
DAMAGED = "is cut off or damaged: copy or encode it again"
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"heif")
_X264_OPTIONS = {"crf": "16", "preset": "fast", "x264-params": "stitchable=1:mbtree=0"}
"""stitchable: files can be joined. No mbtree: on some processors x264's makes other bits of the same frames."""
_FFV1_OPTIONS = {"level": "3", "slicecrc": "1", "g": "1", "context": "0", "slices": "16"}
"""slices: as many threads may share a frame."""


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video file, read without decoding it."""

    frames: int
    height: int
    width: int
    fps: float


class VideoWriter:
    """Writes a video frame by frame; the file takes its name when the `with` block ends well, and only then.

    Args:
        path: `.mp4` for H.264 (even height and width), `.mkv` where lossless.
        fps: frames a second.
        lossless: FFV1, from which every frame is read back exactly.

    Raises:
        InputError: the file cannot be written, a frame does not fit, or there was none.
    """

    def __init__(self, path: str | Path, fps: float, *, lossless: bool = False) -> None:
        self.path = Path(path)
        self.frames = 0
        self._rate = Fraction(fps).limit_denominator(1001)
        self._lossless = lossless
        self._size: tuple[int, int] | None = None
        suffix = ".mkv" if lossless else ".mp4"
        if self.path.suffix.lower() != suffix:
            kind = "lossless video" if lossless else "video"
            raise InputError(f"expected a name ending in {suffix} for a {kind}, got {self.path.name}; rename it")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            partial = stack.enter_context(replacing(self.path))
            self._container = stack.enter_context(_open_output(self.path, partial, self._lossless))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if error is not None:
                raise error
            if not self.frames:
                raise InputError(f"cannot write {self.path}: there is not one frame; add one first")
            with writing(self.path):
                self._container.mux(self._stream.encode(None))

    def add(self, frames: Frame | Frames) -> None:
        """Append one frame `[h, w, 3]` or several `[n, h, w, 3]`.

        Raises:
            InputError: not uint8 RGB, another size than before, odd sides for H.264, or the disk is full.
        """
        for frame in check_frames(frames):
            if self._size is None:
                self._start(frame)
            if frame.shape[:2] != self._size:
                raise InputError(f"expected frames of {_size(self._size)}, got {_size(frame.shape)}; resize them")
            with writing(self.path):
                self._container.mux(self._stream.encode(self._picture(frame)))
            self.frames += 1

    def _start(self, frame: Frame) -> None:
        height, width = frame.shape[:2]
        if not self._lossless and (height % 2 or width % 2):
            raise InputError(f"expected an even height and width, got {_size(frame.shape)}; crop the frames")
        codec, options = ("ffv1", _FFV1_OPTIONS) if self._lossless else ("libx264", _X264_OPTIONS)
        self._stream = self._container.add_stream(codec, rate=self._rate, options=options)
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = "bgr0" if self._lossless else "yuv420p"
        self._stream.codec_context.time_base = 1 / self._rate
        if not self._lossless:
            context = self._stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = ColorRange.MPEG
        self._size = (height, width)

    def _picture(self, frame: Frame) -> av.VideoFrame:
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        if not self._lossless:
            picture = picture.reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
        picture.pts, picture.time_base = self.frames, 1 / self._rate
        return picture


def write_video(path: str | Path, frames: Iterable[Frame | Frames], fps: float, *, lossless: bool = False) -> int:
    """Write a whole video; see `VideoWriter`. `frames` may be an array or come as they are made.

    Returns the number of frames.
    """
    with VideoWriter(path, fps, lossless=lossless) as writer:
        for some in frames:
            writer.add(some)
    return writer.frames


def probe_video(path: str | Path) -> VideoInfo:
    """Return the length, size and rate of a video.

    Raises:
        InputError: no such file, or no video in it.
    """
    with open_video(Path(path)) as (container, stream):
        rate = stream.average_rate or Fraction(1)
        return VideoInfo(_length(container, stream), stream.height, stream.width, float(rate))


def holds_frames(path: str | Path, frames: int) -> bool:
    """Return whether a video can be read and has that many frames, none of them cut off. Nothing is decoded."""
    try:
        with open_video(Path(path)) as (container, stream):
            return [packet.is_corrupt for packet in container.demux(stream) if packet.size] == [False] * frames
    except InputError:
        return False


def iter_video(path: str | Path) -> Iterator[Frame]:
    """Yield the frames of a video (or the one of an image), one at a time.

    Raises:
        InputError: no such file, no video in it, or it ends before its time.
    """
    path, count = Path(path), 0
    with open_video(path) as (container, stream):
        for picture in decode_frames(container, stream):
            yield show_frame(picture, stream.sample_aspect_ratio)
            count += 1
        expected = _length(container, stream)
    if count < max(expected, 1):
        raise InputError(f"cannot read {path}: it says {expected} frames and holds {count}; it {DAMAGED}")


def read_video(path: str | Path, indices: Sequence[int] | None = None) -> Frames:
    """Read frames of a video, `[n, h, w, 3]`: all of them, or those at `indices` (any order, repeats allowed).

    Of a lossless video only the frames asked for are decoded.

    Raises:
        InputError: no such file, no video in it, it ends before its time, or it has no such frame.
    """
    if indices is None:
        return np.stack(list(iter_video(path)))
    wanted = set(indices)
    if not wanted:
        info = probe_video(path)
        return np.empty((0, info.height, info.width, 3), np.uint8)
    found = {index: frame for index, frame in _some_frames(Path(path), wanted) if index in wanted}
    missing = sorted(wanted - set(found))
    if missing:
        raise InputError(
            f"cannot read frame {missing[0]} of {path}: it has no such frame, or is cut off or damaged; "
            "ask for an earlier one or copy the file again"
        )
    return np.stack([found[index] for index in indices])


def concat_videos(paths: Sequence[str | Path], target: str | Path) -> None:
    """Join videos of the same kind into one, copying what is encoded as it is.

    Raises:
        InputError: nothing to join, a video cannot be read or differs in kind from the first, or the target cannot be
            written.
    """
    if not paths:
        raise InputError(f"cannot write {target}: there is no video to join; name at least one")
    target = Path(target)
    with (
        replacing(target) as partial,
        _open_output(target, partial, target.suffix.lower() == ".mkv") as output,
        ExitStack() as stack,
    ):
        first, start = stack.enter_context(open_video(Path(paths[0])))[1], Fraction(0)
        joined = output.add_stream_from_template(first)
        for path in map(Path, paths):
            start = _append(output, joined, target, path, first, start)


def check_frames(frames: Frame | Frames) -> Frames:
    """Check frames, and return them as `[n, h, w, 3]`; one frame becomes n = 1.

    Raises:
        InputError: not uint8, or of another shape.
    """
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or frames.shape[-1] != 3:
        raise InputError(
            f"expected uint8 frames [h, w, 3] or [n, h, w, 3], got {frames.dtype} {list(frames.shape)}; convert them"
        )
    return frames[None] if frames.ndim == 3 else frames


def _append(output: Any, joined: Any, target: Path, path: Path, first: Any, start: Fraction) -> Fraction:
    """Copy one video's packets behind `start` (seconds) of the target, and return where it ends."""
    end = start
    with open_video(path) as (container, stream):
        ours, theirs = first.codec_context, stream.codec_context
        if (theirs.name, theirs.extradata, _size(theirs)) != (ours.name, ours.extradata, _size(ours)):
            raise InputError(f"cannot join {path}: it is encoded in another way than the first video; encode it again")
        for packet in container.demux(stream):
            if packet.dts is None:
                continue
            offset = round(start / packet.time_base)
            packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
            end = max(end, (packet.pts + packet.duration) * packet.time_base)
            packet.stream = joined
            with writing(target):
                output.mux(packet)
    return end


def _some_frames(path: Path, wanted: set[int]) -> Iterator[tuple[int, Frame]]:
    """Yield numbered frames up to the last one wanted. Others are skipped where every packet is a frame of its own."""
    with open_video(path) as (container, stream):
        if stream.codec_context.name == "ffv1":
            for index, packet in enumerate(container.demux(stream)):
                if index in wanted:
                    yield from (
                        (index, show_frame(picture, stream.sample_aspect_ratio)) for picture in decode_packet(packet)
                    )
                if index >= max(wanted):
                    return
        for index, picture in enumerate(decode_frames(container, stream)):
            if index in wanted:
                yield index, show_frame(picture, stream.sample_aspect_ratio)
            if index >= max(wanted):
                return


@contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a video file and choose the stream that a player shows: not a cover picture, and the default one of several.

    Raises:
        InputError: no such file, no video in it, or FFmpeg cannot read it; also while the block reads it.
    """
    try:
        check_readable(path)
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            yield container, _shown_stream(container, path)
    except (av.FFmpegError, OSError) as error:
        raise InputError(f"cannot read {path}: {error.strerror}; it is no video, or {DAMAGED}") from error


def check_readable(path: Path) -> None:
    """Raise InputError where there is no such file, or it is a HEIC picture, of which FFmpeg shows one tile of many."""
    if not path.is_file():
        raise InputError(
            f"cannot read {path}: {'it is a directory' if path.is_dir() else 'no such file'}; check the path"
        )
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:] in _HEIC_BRANDS:
        raise InputError(f"cannot read {path}: HEIC pictures are not supported; save it as PNG or JPEG")


def _shown_stream(container: Any, path: Path) -> Any:
    streams = container.streams.video
    films = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
    if not films:
        held = "only a cover picture" if streams else "no video"
        raise InputError(f"cannot read {path}: there is {held} in it; name a video file")
    if any(stream.metadata.get("alpha_mode") == "1" for stream in films):
        raise InputError(
            f"cannot read {path}: its transparency lies in a second stream (VP8 or VP9 alpha), which is not read; "
            "lay it on a ground and encode it without transparency"
        )
    shown = next((stream for stream in films if stream.disposition & Disposition.default), films[0])
    if shown.codec_context is None:
        kind = container.format.name
        raise InputError(f"cannot read {path}: what is in it ({kind}) cannot be decoded; convert it to H.264 or PNG")
    return shown


@contextmanager
def _open_output(path: Path, partial: Path, matroska: bool) -> Iterator[Any]:
    with writing(path):
        options = {"fflags": "+bitexact"} if matroska else {"fflags": "+bitexact", "movflags": "+faststart"}
        container = av.open(f"file:{partial}", "w", format="matroska" if matroska else "mp4", options=options)
    try:
        yield container
    except BaseException:
        with suppress(OSError, av.FFmpegError):  # the file is thrown away; why it failed is on its way already
            container.close()
        raise
    with writing(path):
        container.close()


def _length(container: Any, stream: Any) -> int:
    """Return the number of frames that the file states; 0 where it does not."""
    if stream.frames:
        return stream.frames
    rate = stream.average_rate
    return round(container.duration / av.time_base * rate) if container.duration and rate else 0


def _size(sized: Any) -> str:
    """Return "WIDTHxHEIGHT" of an array's shape, or of an object that has both."""
    height, width = (sized.height, sized.width) if hasattr(sized, "height") else sized[:2]
    return f"{width}x{height}"
