"""Random numbers of training, seeded by where they are used: equal for any number of processes and after a resume.

Small draws are made on the CPU. Noise is drawn on its device, so it differs between CPU and CUDA.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.rng import derive_seed


def make_generator(*where: str | int) -> torch.Generator:
    """Return a CPU generator whose seed depends on `where` alone."""
    return torch.Generator().manual_seed(derive_seed("train", *where))


def normal(like: Tensor, *where: str | int) -> Float[Tensor, "..."]:
    """Draw standard normal noise of the shape of `like`, on its device, in float32."""
    draw = torch.Generator(like.device).manual_seed(derive_seed("train", *where))
    return torch.randn(like.shape, generator=draw, device=like.device)


def random_index(count: int, *where: str | int) -> int:
    """Draw a whole number from 0 to `count` - 1."""
    return int(torch.randint(count, (), generator=make_generator(*where)))


def drop_text(text: Float[Tensor, "b s l e"], share: float, *where: str | int) -> Float[Tensor, "b s l e"]:
    """Replace all captions of a random share of the samples by zeros."""
    dropped = torch.rand(len(text), generator=make_generator(*where)) < share
    return text.masked_fill(dropped.to(text.device)[:, None, None, None], 0)
