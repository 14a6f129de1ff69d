"""Measure how near a lossy model comes to the full one: its decoder, one step, and one chunk."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.types import FrameLayout
from shotstream.engine.sampler import Latents, Predict, Sampler
from shotstream.model.codec import Codec
from shotstream.model.context_injection import carry_context
from shotstream.model.device import send
from shotstream.model.tiny_vae import TinyWanVAE
from shotstream.weights.build import ModelComponents

PEAK = 2.0
"""The span of pixels, which lie in [-1, 1]."""
CAPTION = "A red fox walks through a snowy forest."


@dataclass(frozen=True)
class Fidelity:
    """PSNR of a lossy decoder's frames against the full VAE's, decoded from the same latents of one shot.

    With random weights (`trained` is false) it says nothing about trained ones.
    """

    psnr_db: float
    frames: int
    trained: bool

    def __str__(self) -> str:
        said = f"PSNR {self.psnr_db:.1f} dB against the full VAE over {self.frames} frames"
        return said if self.trained else f"{said}, which says nothing, for the weights are random"


@contextmanager
def noting_latents(codec: Codec) -> Iterator[list[Tensor]]:
    """Record the latents `b k t y x` that a tiny decoder gets in the meantime; other codecs record nothing."""
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
def fidelity_of(parts: ModelComponents, noted: Sequence[Float[Tensor, "b k _t y x"]]) -> Fidelity | None:
    """Return the fidelity of a tiny decoder on the latents of one shot; None for any other codec."""
    if not isinstance(parts.codec, TinyWanVAE):
        return None
    latents = torch.cat(list(noted), dim=2).movedim(1, 2)
    full, ours = parts.codec.decode_fully(latents).float(), parts.codec.decode(latents).float()
    psnr_db = 10 * torch.log10(PEAK**2 / (ours - full).square().mean())
    return Fidelity(float(psnr_db), full.shape[1], parts.trained)


@torch.inference_mode()
def first_velocity(parts: ModelComponents) -> Float[Tensor, "1 f c h w"]:
    """Return the velocity at the first step of a story, for a fixed noise and caption."""
    return _first_steps(parts)(_noise(parts, 0), 1.0)


@torch.inference_mode()
def first_chunk(parts: ModelComponents) -> Float[Tensor, "1 f c h w"]:
    """Return the first chunk's latents without guidance, for a fixed noise and caption."""
    return Sampler.from_config(parts.config.sampler).denoise(_first_steps(parts), partial(_noise, parts))


def _first_steps(parts: ModelComponents) -> Predict:
    """Return a function that predicts the velocity of a first chunk, which has no context."""
    transformer = parts.transformer
    device = transformer.patch_embedding.weight.device
    shape = parts.config.shot
    where = torch.arange(shape.context_latents, shape.context_latents + shape.chunk_latents)[None]
    layout = FrameLayout(where, torch.ones_like(where), torch.zeros_like(where))
    text = send(parts.text_encoder.encode([CAPTION]), device)[None]
    placement = transformer.make_positions(layout, (parts.config.video.latent_height, parts.config.video.latent_width))

    def predict(noisy: Latents, sigma: float) -> Latents:
        x = carry_context(parts.config.transformer, noisy[:, :0], noisy)
        sigmas = torch.full((1, shape.chunk_latents), sigma, device=device)
        return transformer(x, sigmas, text, placement)

    return predict


def _noise(parts: ModelComponents, step: int) -> Latents:
    size, source = parts.config.video, torch.Generator().manual_seed(step)
    shape = (1, parts.config.shot.chunk_latents, parts.config.transformer.in_dim, size.latent_height, size.latent_width)
    return send(torch.randn(shape, generator=source), parts.transformer.patch_embedding.weight.device)


def relative_norm_error(made: Tensor, exact: Tensor) -> float:
    """Return the L2 norm of the difference over that of the exact result."""
    made, exact = made.float().cpu(), exact.float().cpu()
    return float((made - exact).norm() / exact.norm())
