"""Random numbers of training, as functions of where they are used: the same on any number of processes.

What is small is drawn on the CPU. Noise is drawn where it is needed, so that another kind of device has other noise.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.rng import derive_seed


def generator(*where: str | int) -> torch.Generator:
    """A generator on the CPU that depends on `where` and on nothing else."""
    return torch.Generator().manual_seed(derive_seed("train", *where))


def normal(like: Tensor, *where: str | int) -> Float[Tensor, "..."]:
    """Standard normal noise of the shape, and on the device, of `like`; float32."""
    draw = torch.Generator(like.device).manual_seed(derive_seed("train", *where))
    return torch.randn(like.shape, generator=draw, device=like.device)


def chosen(count: int, *where: str | int) -> int:
    """A number below `count`."""
    return int(torch.randint(count, (), generator=generator(*where)))


def drop_text(text: Float[Tensor, "b s l e"], share: float, *where: str | int) -> Float[Tensor, "b s l e"]:
    """Zeros for all captions of a share of the samples."""
    dropped = torch.rand(len(text), generator=generator(*where)) < share
    return text.masked_fill(dropped.to(text.device)[:, None, None, None], 0)
