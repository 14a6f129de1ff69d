"""How near a lossy model comes to the full one: its decoder on latents that it made, its transformer at one step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.spec import CHUNK_LATENTS, CONTEXT_LATENTS
from shotstream.core.types import FrameLayout
from shotstream.model.codec import Codec
from shotstream.model.device import send
from shotstream.model.injection import carry_context
from shotstream.model.parts import ModelParts
from shotstream.model.schedule import TRAIN_TIMESTEPS
from shotstream.model.tiny_vae import TinyWanVAE

PEAK = 2.0
"""The span of pixels, which lie in [-1, 1]."""
CAPTION = "A red fox walks through a snowy forest."


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


@torch.inference_mode()
def first_velocity(parts: ModelParts) -> Float[Tensor, "1 f c h w"]:
    """What a transformer says at the first step of a story, to noise alone: always the same noise and caption."""
    transformer, config, size = parts.transformer, parts.config.transformer, parts.config.video
    device = transformer.patch_embedding.weight.device
    latent_size = (size.latent_height, size.latent_width)
    source = torch.Generator().manual_seed(0)
    noise = send(torch.randn(1, CHUNK_LATENTS, config.in_dim, *latent_size, generator=source), device)
    where = torch.arange(CONTEXT_LATENTS, CONTEXT_LATENTS + CHUNK_LATENTS)[None]
    layout = FrameLayout(where, torch.ones_like(where), torch.zeros_like(where))
    text = send(parts.text_encoder.encode([CAPTION]), device)[None]
    x = carry_context(config.injection, noise[:, :0], noise)
    timesteps = torch.full((1, CHUNK_LATENTS), float(TRAIN_TIMESTEPS), device=device)
    return transformer(x, timesteps, text, transformer.place(layout, latent_size))


def relative_error(made: Tensor, exact: Tensor) -> float:
    """The length of the difference over that of the exact result."""
    made, exact = made.float().cpu(), exact.float().cpu()
    return float((made - exact).norm() / exact.norm())
