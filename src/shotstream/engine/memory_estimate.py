"""Estimate the memory of a shot before it is made, and refuse a size that cannot fit, instead of being killed."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from shotstream.core.errors import InputError
from shotstream.core.spec import SIZE_MULTIPLE, VideoSize
from shotstream.engine.policy import HeldLatents
from shotstream.model.config import ModelConfig
from shotstream.model.kv_cache import CacheShape

TOKEN_COPIES = 12
"""Tensors of the transformer's width that a layer holds at once: its input, q, k, v, rotary copies, sums, outputs."""
WAN_VALUES, CONV_VALUES, TINY_VALUES = 540, 70, 9
"""Values that a decoder holds at once for every pixel of a chunk: Wan's VAE (counted, one latent at a time), the
learned codec (measured on a CPU), and a tiny decoder (three copies of the pixels, at the least)."""
_GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class ShotMemory:
    """Facts that decide the memory of a shot beside its size: the model, its rows, the latents that are held at once.

    `branches` are rows of the batch: 2 with classifier-free guidance, else 1.
    """

    config: ModelConfig
    held: HeldLatents
    branches: int
    dtype: torch.dtype

    def needed(self, size: VideoSize) -> int:
        """Return the bytes that a shot needs beside the weights, at the least: the cache, and a layer or a chunk."""
        shape, width = self.config.transformer, self.dtype.itemsize
        cached = CacheShape.of(shape, self.branches, (size.latent_height, size.latent_width))
        layer = size.tokens_per_latent * self.held.at_once * (2 * shape.ffn_dim + TOKEN_COPIES * shape.dim) * width
        decoder = shape.shot.frames_of_chunks(1) * size.height * size.width * self._decoder_values() * width
        return cached.latent_bytes(self.dtype) * self.held.cached + max(layer, decoder)

    def _decoder_values(self) -> int:
        if self.config.tiny_decoder is not None:
            return TINY_VALUES
        return WAN_VALUES if self.config.wan_vae is not None else CONV_VALUES


def available_bytes(device: torch.device) -> int | None:
    """Return the memory that is free on a device (of a CPU: also within the container's limit); None where unknown."""
    if device.type == "cuda":
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    if device.type != "cpu" or not _MEMINFO.is_file():
        return None
    lines = (line.split() for line in _MEMINFO.read_text().splitlines())
    free = next((int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:"), None)
    limit, used = (_read_bytes(_CGROUP / name) for name in ("memory.max", "memory.current"))
    left = None if limit is None or used is None else limit - used
    return min((value for value in (free, left) if value is not None), default=None)


def check_memory(memory: ShotMemory, size: VideoSize, chunks: int, device: torch.device) -> None:
    """Check that a shot can fit into the memory that is free.

    Raises:
        InputError: it cannot; the message has the estimate, what is free, and the largest size of that shape that fits.
    """
    needed, free = memory.needed(size), available_bytes(device)
    if free is None or needed <= free:
        return
    fits = largest_fitting(memory, size, free)
    advice = f"a size of {fits.width}x{fits.height} fits" if fits else "run it on a device with more memory"
    raise InputError(
        f"a shot of {size.width}x{size.height} with {chunks} chunks needs at least {needed / _GIB:.1f} GiB, "
        f"{free / _GIB:.1f} GiB are free on {device}; {advice}"
    )


def largest_fitting(memory: ShotMemory, size: VideoSize, free: int) -> VideoSize | None:
    """Return the largest size of about the same shape whose shots need at most `free` bytes; None where none does."""
    for height in range(size.height, 0, -SIZE_MULTIPLE):
        width = max(SIZE_MULTIPLE, math.floor(height * size.width / size.height / SIZE_MULTIPLE) * SIZE_MULTIPLE)
        smaller = replace(size, height=height, width=width)
        if memory.needed(smaller) <= free:
            return smaller
    return None


def _read_bytes(path: Path) -> int | None:
    """Return the number in a file of the kernel's; None where there is none, or it says `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
