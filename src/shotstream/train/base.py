"""The first causal model: flow matching on pictures, then on the next shot, block-causal, with its context.

Single pictures come first: a picture costs a sixteenth of a shot, and what a word looks like can be learnt from it.
Then every chunk of a shot gets a noise level of its own (diffusion forcing); the chunks before it and the context are
what it sees. A share of the earlier chunks is left clean, as they are at inference. The result is sampled with many
steps and guidance; distillation makes a student of it.
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shotstream.core.rng import derive_seed
from shotstream.core.spec import CHUNK_LATENTS
from shotstream.data.latents import Batch, LatentPool
from shotstream.model.attention import Group, block_causal_plan
from shotstream.model.block_codec import BlockCodec
from shotstream.model.config import TransformerConfig
from shotstream.model.schedule import MIN_SIGMA, TRAIN_TIMESTEPS, add_noise, shift_sigma
from shotstream.model.text import TextEncoder
from shotstream.model.transformer import Placement, Transformer
from shotstream.train.loop import Report, TrainState, train
from shotstream.train.settings import BaseConfig

CPU = torch.device("cpu")
PICTURES, POOL = "pictures", "batches"


def chunk_sigmas(batch: int, chunks: int, config: BaseConfig, generator: torch.Generator) -> Float[Tensor, "b chunks"]:
    """A noise level a chunk. A share of the chunks before a shot's last is clean (0)."""
    sigmas = shift_sigma(torch.rand(batch, chunks, generator=generator), config.shift).clamp(min=MIN_SIGMA)
    clean = torch.rand(batch, chunks, generator=generator) < config.clean_share
    clean[:, -1] = False
    return sigmas.masked_fill(clean, 0.0)


def flow_matching_loss(
    transformer: Callable[..., Tensor], place: Transformer, batch: Batch, config: BaseConfig, seed: int
) -> Float[Tensor, ""]:
    """Mean squared error of the velocity over the noisy latents, weighted by noise level.

    Args:
        transformer: what is called; may be a compiled form of `place`.
        place: the transformer itself, which places layouts.
        batch: one batch, on the network's device.
        config: the noise.
        seed: decides which captions are dropped, the noise and its levels.
    """
    device = batch.target.device
    generator = torch.Generator().manual_seed(derive_seed("base-noise", seed))
    count, latents = batch.target.shape[:2]
    remembered = batch.context.shape[1]
    chunks = [min(CHUNK_LATENTS, latents)] * math.ceil(latents / CHUNK_LATENTS)
    levels = chunk_sigmas(count, len(chunks), config, generator).repeat_interleave(chunks[0], 1)
    noise = torch.randn(batch.target.shape, generator=generator).to(device)
    wordless = (torch.rand(count, generator=generator) < config.no_text_share).to(device)
    text = batch.text.masked_fill(wordless[:, None, None, None], 0)
    sigmas = levels.to(device)
    noisy = torch.cat([batch.context, add_noise(batch.target, noise, sigmas)], 1)
    timesteps = torch.cat([sigmas.new_zeros(count, remembered), sigmas], 1) * TRAIN_TIMESTEPS
    plan = block_causal_plan(remembered, chunks)
    placement = place.place(batch.layout, (noisy.shape[-2], noisy.shape[-1]))
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        velocity = transformer(noisy, timesteps, text, placement, plan=plan)[:, remembered:]
    error = (velocity.float() - (noise - batch.target)).square().mean((2, 3, 4))
    weight = (sigmas / sigmas.clamp(min=config.full_weight_sigma)).square()
    return (error * weight).sum() / (levels > 0).sum()


def initialise(transformer: Transformer) -> None:
    """Fresh weights: Xavier for linear maps, zero biases, and a head that begins by predicting nothing."""
    for name, parameter in transformer.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif name.startswith(("time_embedding", "time_projection")):
            nn.init.normal_(parameter, std=0.02)
        elif parameter.ndim >= 2 and "modulation" not in name:
            nn.init.xavier_uniform_(parameter.flatten(1))
    nn.init.zeros_(transformer.head.head.weight)


def train_base(
    directory: Path,
    shape: TransformerConfig,
    codec: BlockCodec,
    encoder: TextEncoder,
    config: BaseConfig,
    report: Report,
    minutes: float | None = None,
    *,
    device: torch.device = CPU,
    compiled: bool = False,
) -> bool:
    """Trains a transformer over `codec` and `encoder`, both frozen; returns whether all steps are done."""
    torch.manual_seed(0)
    transformer = Transformer(shape)
    initialise(transformer)
    transformer.to(device)
    state = TrainState(transformer, config.loop)
    called = _compiled(transformer) if compiled else transformer
    pictures = LatentPool(directory / PICTURES, config.pictures, codec.eval(), encoder.eval())
    shots = LatentPool(directory / POOL, config.pool, codec, encoder)

    def loss_of_step(step: int) -> Tensor:
        pool = pictures if step < config.picture_steps else shots
        return flow_matching_loss(called, transformer, pool(step).to(device), config, step)

    return train(state, directory, loss_of_step, report, minutes)


def _compiled(transformer: Transformer) -> Callable[..., Tensor]:
    """The transformer compiled once a shot length; only the number of captions stays open."""
    compiled = torch.compile(transformer, dynamic=False)

    def call(latents: Tensor, timesteps: Tensor, text: Tensor, placement: Placement, plan: tuple[Group, ...]) -> Tensor:
        if text.shape[1] > 1:
            torch._dynamo.mark_dynamic(text, 1)
        return compiled(latents, timesteps, text, placement, plan=plan)

    return call
