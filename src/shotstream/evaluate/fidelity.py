"""How near a lossy decoder comes to the full VAE, on latents that the model made."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.model.codec import Codec
from shotstream.model.parts import ModelParts
from shotstream.model.tiny_vae import TinyWanVAE

PEAK = 2.0
"""The span of pixels, which lie in [-1, 1]."""


@dataclass(frozen=True)
class Fidelity:
    """The pictures of a lossy decoder held against those that the full VAE makes of the same latents, those of a shot.

    Where weights are random (`trained` is false), it says nothing of others.
    """

    psnr_db: float
    frames: int
    trained: bool

    def __str__(self) -> str:
        said = f"PSNR {self.psnr_db:.1f} dB against the full VAE over {self.frames} frames"
        return said if self.trained else f"{said}, which says nothing, for the weights are random"


@contextmanager
def noting_latents(codec: Codec) -> Iterator[list[Tensor]]:
    """What a tiny decoder is handed meanwhile, as `b k t y x`, in a list that may be emptied; no other codec's."""
    noted: list[Tensor] = []
    if not isinstance(codec, TinyWanVAE):
        yield noted
        return
    hook = codec.tiny.register_forward_pre_hook(lambda _, handed: noted.append(handed[0].clone()))
    try:
        yield noted
    finally:
        hook.remove()


@torch.inference_mode()
def fidelity_of(parts: ModelParts, noted: Sequence[Float[Tensor, "b k t y x"]]) -> Fidelity | None:
    """The figures of a model that decodes lossily, on the latents of one shot; None of any other model."""
    if not isinstance(parts.codec, TinyWanVAE):
        return None
    latents = torch.cat(list(noted), dim=2).movedim(1, 2)
    full, ours = parts.codec.decode_fully(latents).float(), parts.codec.decode(latents).float()
    psnr_db = 10 * torch.log10(PEAK**2 / (ours - full).square().mean())
    return Fidelity(float(psnr_db), full.shape[1], parts.trained)
