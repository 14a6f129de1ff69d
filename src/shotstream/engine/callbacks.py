"""Callbacks of a shot: after each denoising step, and after each chunk."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shotstream.core.video import Frames


@dataclass(frozen=True, eq=False)
class StepInfo:
    """A denoising step that is done. All numbers count from 0.

    Attributes:
        shot: index of the shot in its story.
        chunk: index of the chunk in the shot; 0 throughout for a model that makes a shot whole.
        step: which step of the chunk.
        steps: how many the chunk takes; later chunks of a shot may take fewer (`SamplerConfig.later_chunks_from`).
        sigma: noise level that the step started from, 1 is noise alone.
        clean: the network's estimate of the clean latents.
    """

    shot: int
    chunk: int
    step: int
    steps: int
    sigma: float
    clean: Float[Tensor, "b f c h w"]


@dataclass(frozen=True, eq=False)
class ChunkInfo:
    """A chunk that is decoded. `frames` are the uint8 `[n, h, w, 3]` that the shot yields; indices count from 0."""

    shot: int
    chunk: int
    chunks: int
    frames: Frames


OnStep = Callable[[StepInfo], None]
OnChunk = Callable[[ChunkInfo], None]
