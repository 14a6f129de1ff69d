"""Noise as a pure function of where it is used, so that a story does not depend on how it was made.

The draw for (seed, shot, chunk, step) is the same whether the story is streamed or made whole, resumed or not, on any
device: it is drawn on the CPU in float32 and moved.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Noise(Protocol):
    """A source of noise. Step 0 starts a chunk; step i > 0 re-noises it before the i-th denoising step."""

    def __call__(self, shot: int, chunk: int, step: int, shape: Sequence[int]) -> Float[Tensor, "..."]: ...


def derive_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on every part and on nothing else."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True)
class SeededNoise:
    """Standard normal noise from a story's seed."""

    seed: int

    def __call__(self, shot: int, chunk: int, step: int, shape: Sequence[int]) -> Float[Tensor, "..."]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, shot, chunk, step))
        return torch.randn(tuple(shape), generator=generator)
