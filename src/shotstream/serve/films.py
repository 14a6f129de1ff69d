"""Write an edit of a story as a video, an animation or a still, with or without a soundtrack."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.video.reformatter import ColorRange, Colorspace

from shotstream.core.atomic_files import replacing, writing
from shotstream.core.images import write_gif, write_png
from shotstream.core.spec import FPS
from shotstream.core.video import write_video
from shotstream.serve.edit import Edit
from shotstream.serve.errors import RequestError

GIF_PIXELS = 2**27
"""A GIF's palette needs all its frames in memory: 400 MB."""
AUDIO_KINDS = "WAV, MP3, Ogg, FLAC or M4A"
SENT = "This file"
"""The words of refusals for an audio file that somebody sent, and whose name nobody knows."""
_RATE = 48_000
_FADE_OUT_SAMPLES = _RATE // 2
_VP9_OPTIONS = {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "6"}
_BT709 = 1


def write_mp4(edit: Edit, target: Path) -> None:
    """Write H.264."""
    write_video(target, edit.frames(), FPS)


def write_webm(edit: Edit, target: Path) -> None:
    """Write VP9."""
    with replacing(target) as partial, writing(target), av.open(f"file:{partial}", "w", format="webm") as output:
        stream: Any = output.add_stream("libvpx-vp9", rate=Fraction(FPS), options=_VP9_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = edit.width, edit.height, "yuv420p"
        stream.codec_context.colorspace = _BT709
        for frame in edit.frames():
            picture: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))


def write_animation(edit: Edit, target: Path) -> None:
    """Write a GIF.

    Raises:
        RequestError: its frames do not fit into memory.
    """
    most = GIF_PIXELS // (edit.height * edit.width)
    if edit.length_frames > most:
        raise RequestError(
            "too_large",
            f"A GIF of {edit.width}x{edit.height} can have {most} frames, and this has {edit.length_frames}. "
            "Take the mp4, one shot, or a smaller scale.",
        )
    write_gif(target, edit.frames(), FPS)


def write_still(edit: Edit, target: Path) -> None:
    """Write one frame as PNG."""
    write_png(target, edit.still())


def add_soundtrack(video: Path, audio: Path, target: Path, name: str = SENT) -> None:
    """Write a video with a soundtrack under it: stereo at 48 kHz, faded out where it is longer than the video.

    Args:
        video: mp4 gets AAC, webm Opus; its pictures are copied as they are.
        audio: a file that somebody sent.
        target: of the same kind as the video.
        name: what a refusal calls the audio.

    Raises:
        RequestError: the audio is of another kind than `AUDIO_KINDS`, or damaged.
    """
    kind = target.suffix.removeprefix(".")
    reader = find_audio_format(audio, name)
    with (
        replacing(target) as partial,
        writing(target),
        av.open(f"file:{video}") as pictures,
        av.open(f"file:{partial}", "w", format=kind) as output,
    ):
        source: Any = pictures.streams.video[0]
        stream = output.add_stream_from_template(source)
        sound: Any = output.add_stream("aac" if kind == "mp4" else "libopus", rate=_RATE)
        sound.layout = "stereo"
        packets = [packet for packet in pictures.demux(source) if packet.dts is not None]
        for packet in packets:
            packet.stream = stream
            output.mux(packet)
        try:
            _encode(audio, name, reader, len(packets) * _RATE // FPS, sound, output)
        except av.FFmpegError as error:
            reason = f"{name} is a damaged soundtrack ({error.strerror}). Use another file."
            raise RequestError("invalid", reason) from error


def _encode(audio: Path, name: str, reader: str, samples: int, sound: Any, output: Any) -> None:
    """Encode at most so many samples of an audio file, which a refusal calls `name`."""
    resampler, done = AudioResampler(format="fltp", layout="stereo", rate=_RATE), 0
    with av.open(f"file:{audio}", format=reader) as source:
        if not source.streams.audio:
            raise RequestError("invalid", f"{name} has no sound. A soundtrack is {AUDIO_KINDS}.")
        for decoded in source.decode(source.streams.audio[0]):
            for frame in resampler.resample(decoded):
                wave = frame.to_ndarray()[:, : samples - done]
                if not wave.size:
                    break
                places = done + np.arange(wave.shape[1])
                wave = (wave * np.clip((samples - places) / _FADE_OUT_SAMPLES, 0, 1)).astype(np.float32)
                piece: Any = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
                piece.sample_rate, piece.pts, piece.time_base = _RATE, done, Fraction(1, _RATE)
                output.mux(sound.encode(piece))
                done += wave.shape[1]
            if done >= samples:
                break
    output.mux(sound.encode(None))


def find_audio_format(audio: Path, name: str = SENT) -> str:
    """Return the name of FFmpeg's reader for a file, by how it begins; no other one is ever asked.

    Args:
        audio: the file.
        name: what a refusal calls it.

    Raises:
        RequestError: it is none of the known kinds.
    """
    with audio.open("rb") as file:
        head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        return "wav"
    if head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
        return "mp3"
    known = {b"OggS": "ogg", b"fLaC": "flac"}.get(head[:4]) or ("mov" if head[4:8] == b"ftyp" else None)
    if known is None:
        raise RequestError("invalid", f"{name} is no soundtrack. Convert it to {AUDIO_KINDS}.")
    return known
