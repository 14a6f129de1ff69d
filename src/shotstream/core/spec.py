"""Every size, and all arithmetic between frames, latents, chunks and tokens.

A *frame* is a picture. A *latent* is one temporal step of the codec: the first latent of a shot is one frame, every
later one four. A *chunk* is three latents, the unit of generation. A *token* is a 2x2 patch of one latent. Source:
Wan2.1 for the strides and the patch, ShotStream section 3 for chunk, context and shot length.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shotstream.core.errors import InputError

FPS = 16
TEMPORAL_STRIDE = 4
SPATIAL_STRIDE = 8
PATCH = (1, 2, 2)
SIZE_MULTIPLE = SPATIAL_STRIDE * PATCH[1]
CHUNK_LATENTS = 3
MAX_CHUNKS = 7
CONTEXT_LATENTS = 6


def frames_of_latents(latents: int) -> int:
    """Return how many frames a shot of that many latents decodes to: 1 + 4 (latents - 1), or 0 for none."""
    return 1 + TEMPORAL_STRIDE * (latents - 1) if latents else 0


def latents_of_frames(frames: int) -> int:
    """Return how many latents a clip of 4n + 1 frames has.

    Raises:
        InputError: the number of frames is not 4n + 1.
    """
    if frames < 1 or (frames - 1) % TEMPORAL_STRIDE:
        raise InputError(f"expected 4n + 1 frames (1, 5, 9, ...), got {frames}; cut the clip to such a length")
    return 1 + (frames - 1) // TEMPORAL_STRIDE


def latents_of_chunks(chunks: int) -> int:
    """Return how many latents a shot of that many chunks has."""
    return chunks * CHUNK_LATENTS


def frames_of_chunks(chunks: int) -> int:
    """Return how many frames a shot of that many chunks has: 12 chunks - 3."""
    return frames_of_latents(latents_of_chunks(chunks))


def frames_of_shot(chunks: int) -> tuple[int, int]:
    """Return how many frames a shot of that many chunks has, decoded alone and behind another in one stream."""
    return frames_of_chunks(chunks), TEMPORAL_STRIDE * latents_of_chunks(chunks)


def frames_of_shots(chunks: Sequence[int], *, one_stream: bool) -> list[int]:
    """Return the frames of each shot of a video; `one_stream`: the decoder runs on from one shot to the next."""
    return [frames_of_shot(count)[int(one_stream and shot > 0)] for shot, count in enumerate(chunks)]


MAX_SHOT_LATENTS = latents_of_chunks(MAX_CHUNKS)
MAX_SHOT_FRAMES = frames_of_chunks(MAX_CHUNKS)


def check_chunks(chunks: int) -> int:
    """Check the length of a shot, and return it.

    Raises:
        InputError: it is not a whole number from 1 to 7.
    """
    whole = isinstance(chunks, int) and not isinstance(chunks, bool)
    if not whole or not 1 <= chunks <= MAX_CHUNKS:
        advice = "split it into shots" if whole and chunks > 0 else "use a whole number in that range"
        raise InputError(f"expected a shot of 1 to {MAX_CHUNKS} chunks, got {chunks!r}; {advice}")
    return chunks


@dataclass(frozen=True)
class VideoSize:
    """Height and width in pixels, both divisible by 16, and what follows from them."""

    height: int
    width: int

    def __post_init__(self) -> None:
        for name, value in (("height", self.height), ("width", self.width)):
            if value <= 0 or value % SIZE_MULTIPLE:
                near = max(SIZE_MULTIPLE, round(value / SIZE_MULTIPLE) * SIZE_MULTIPLE)
                least = f"of at least {SIZE_MULTIPLE} and " if value < SIZE_MULTIPLE else ""
                wanted = f"{least}divisible by {SIZE_MULTIPLE}"
                raise InputError(f"expected a {name} {wanted}, got {value}; the nearest is {near}")

    @property
    def latent_height(self) -> int:
        return self.height // SPATIAL_STRIDE

    @property
    def latent_width(self) -> int:
        return self.width // SPATIAL_STRIDE

    @property
    def tokens_per_latent(self) -> int:
        return tokens_per_latent(self.latent_height, self.latent_width)


def as_video_size(size: VideoSize | tuple[int, int] | str) -> VideoSize:
    """Return the size that is meant by a VideoSize, a pair (width, height), or text "WIDTHxHEIGHT".

    Raises:
        InputError: it is none of these, or a side is not divisible by 16.
    """
    if isinstance(size, VideoSize):
        return size
    if isinstance(size, str):
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size, re.ASCII)
        if match is None:
            raise InputError(f"expected a size as WIDTHxHEIGHT below 100000, got {size!r}; write for instance 128x80")
        return VideoSize(height=int(match[2]), width=int(match[1]))
    if not isinstance(size, tuple | list) or len(size) != 2 or not all(type(side) is int for side in size):
        raise InputError(f"expected a size as (width, height), got {size!r}; write for instance (128, 80)")
    return VideoSize(height=size[1], width=size[0])


def tokens_per_latent(latent_height: int, latent_width: int) -> int:
    """Return how many transformer tokens a latent of that height and width has."""
    return (latent_height // PATCH[1]) * (latent_width // PATCH[2])
