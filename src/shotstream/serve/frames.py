"""Frames as packets: those of a chunk that was just made, and those of shots that lie on the disk."""

from collections.abc import Sequence

from shotstream.core.spec import FPS
from shotstream.core.video import read_video
from shotstream.serve.news import Chunk, FinishedTake
from shotstream.serve.packets import FrameKey, FramePacket
from shotstream.serve.pictures import JpegEncoder


def pack_chunk(story: str, chunk: Chunk) -> list[FramePacket]:
    """Encode the frames of a chunk as packets for viewers."""
    encoder = JpegEncoder(*chunk.frames.shape[1:3])
    return [
        FramePacket(
            story,
            FrameKey(chunk.key.shot, chunk.key.take, chunk.key.frame + offset),
            round(1000 * (chunk.first + offset) / FPS),
            encoder.encode(frame),
        )
        for offset, frame in enumerate(chunk.frames)
    ]


def pack_takes(story: str, takes: Sequence[FinishedTake], seen: FrameKey, most: int) -> list[FramePacket]:
    """Encode the frames of finished takes that follow frame `seen` as packets, at most the last `most`.

    Raises:
        InputError: a video was damaged meanwhile.
    """
    packed: list[FramePacket] = []
    for made in reversed(takes):
        after = seen.frame + 1 if made.take.shot == seen.shot else 0
        begin = max(after, made.take.length_frames - (most - len(packed)))
        if begin < made.take.length_frames:
            frames = read_video(made.video, range(begin, made.take.length_frames))
            place = FrameKey(made.take.shot, made.take.take, begin)
            packed = pack_chunk(story, Chunk(place, made.first + begin, frames)) + packed
    return packed
