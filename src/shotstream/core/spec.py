"""Every size, and all arithmetic between frames, latents, chunks and tokens.

A *frame* is a picture. A *latent* is one temporal step of the codec: the first latent of a shot is one frame, every
later one four. A *chunk* is some latents, the unit of generation (`ShotShape`). A *token* is a 2x2 patch of one latent.
Source: Wan2.1 for the strides and the patch.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shotstream.core.errors import InputError

FPS = 16
TEMPORAL_STRIDE = 4
SPATIAL_STRIDE = 8
PATCH = (1, 2, 2)
SIZE_MULTIPLE = SPATIAL_STRIDE * PATCH[1]
DEFAULT_CHUNKS = 3
"""Length of a shot that names none."""


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


@dataclass(frozen=True)
class ShotShape:
    """Latents of a chunk and of the context, and the longest shot: what a model is trained with.

    The defaults are the paper's, section 3. All arithmetic that depends on them is here.

    Attributes:
        chunk_latents: latents of a chunk, the unit of generation; fewer: frames come sooner, and cost more each.
        context_latents: context latents of a shot, each of one past frame.
        max_chunks: chunks of the longest shot in training; longer ones (`extend`) roll a window of that length.

    Raises:
        InputError: a number is too small.
    """

    chunk_latents: int = 3
    context_latents: int = 6
    max_chunks: int = 7

    def __post_init__(self) -> None:
        for name, least, why in (
            ("chunk_latents", 1, ""),
            ("context_latents", 1, "; for shots without a context set the model's context to none"),
            ("max_chunks", 2, "; a longer shot keeps its first chunk and a latest one"),
        ):
            if getattr(self, name) < least:
                raise InputError(f"expected shot.{name} of at least {least}, got {getattr(self, name)}{why}")

    @property
    def max_latents(self) -> int:
        """Return how many latents the longest shot has."""
        return self.latents_of_chunks(self.max_chunks)

    @property
    def max_frames(self) -> int:
        """Return how many frames the longest shot has."""
        return self.frames_of_chunks(self.max_chunks)

    @property
    def default_chunks(self) -> int:
        """Return the length of a shot that names none: 3 chunks, or the longest if that is shorter."""
        return min(DEFAULT_CHUNKS, self.max_chunks)

    def latents_of_chunks(self, chunks: int) -> int:
        """Return how many latents a shot of that many chunks has."""
        return chunks * self.chunk_latents

    def frames_of_chunks(self, chunks: int) -> int:
        """Return how many frames a shot of that many chunks has: 12 chunks - 3 for chunks of 3 latents."""
        return frames_of_latents(self.latents_of_chunks(chunks))

    def frames_of_shot(self, chunks: int) -> tuple[int, int]:
        """Return how many frames a shot of that many chunks has, decoded alone and behind another in one stream."""
        return self.frames_of_chunks(chunks), TEMPORAL_STRIDE * self.latents_of_chunks(chunks)

    def frames_of_shots(self, chunks: Sequence[int], *, one_stream: bool) -> list[int]:
        """Return the frames of each shot of a video; `one_stream`: the decoder runs on from one shot to the next."""
        return [self.frames_of_shot(count)[int(one_stream and shot > 0)] for shot, count in enumerate(chunks)]

    def chunks_of_frames(self, frames: int) -> int:
        """Return the length in chunks, at least 1, whose frames are nearest to those asked for."""
        step = TEMPORAL_STRIDE * self.chunk_latents
        return max(1, 1 + round((frames - self.frames_of_chunks(1)) / step))

    def check_chunks(self, chunks: Any, *, extend: bool = False) -> int:
        """Check the length of a shot, and return it.

        Raises:
            InputError: it is not a whole number from 1 to `max_chunks`, or with `extend` from 1 on.
        """
        whole = isinstance(chunks, int) and not isinstance(chunks, bool)
        if extend or (whole and 1 <= chunks <= self.max_chunks):
            return check_whole_chunks(chunks)
        advice = "split it into shots" if whole and chunks > 0 else "use a whole number in that range"
        raise InputError(f"expected a shot of 1 to {self.max_chunks} chunks, got {chunks!r}; {advice}")


PAPER_SHOT = ShotShape()
"""The paper's: chunks of 3 latents, 6 of context, shots of up to 7 chunks."""


def made_of_chunks(frames: int, chunks: int) -> bool:
    """Return whether a shot of that many frames can have that many chunks, of whatever length, decoded in any way."""
    latents = -(-frames // TEMPORAL_STRIDE)
    return frames in (frames_of_latents(latents), TEMPORAL_STRIDE * latents) and latents % chunks == 0 < latents


def check_whole_chunks(chunks: Any) -> int:
    """Check what holds for the length of a shot whatever the model, and return it.

    Raises:
        InputError: it is not a whole number of at least 1.
    """
    if isinstance(chunks, bool) or not isinstance(chunks, int) or chunks < 1:
        raise InputError(f"expected a shot of at least 1 chunk, got {chunks!r}; use a whole number")
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
