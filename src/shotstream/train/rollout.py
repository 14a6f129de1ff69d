"""What a network that is trained makes of a shot over a cache of its own: the rollout of inference, in training."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.spec import CHUNK_LATENTS
from shotstream.data.latents import Batch
from shotstream.engine.causal_rollout import ChunkNoise, ShotInputs, ShotRollout
from shotstream.engine.sampler import Sampler
from shotstream.model.context_injection import latents_in_front
from shotstream.model.schedule import add_noise
from shotstream.model.transformer import Transformer
from shotstream.story.layout import ShotLayout
from shotstream.train.distributed import DistributedContext
from shotstream.train.rng import chosen, normal


def shot_inputs(batch: Batch) -> ShotInputs:
    """What the shots of a batch are made from; what an unguided branch would read is left open."""
    before = batch.context.shape[1]
    return ShotInputs(batch.context, batch.text, ShotLayout(batch.layout[:before], batch.layout[before:], ()))


def roll_out(
    network: Transformer,
    inputs: ShotInputs,
    noise: ChunkNoise,
    sampler: Sampler,
    execution: DistributedContext,
    stop: int | None = None,
    *,
    straight_through: bool = True,
) -> Float[Tensor, "b f c h w"]:
    """The shot that a network makes: the clean estimate of step `stop` of every chunk, or of the last step.

    Args:
        network: where gradient is recorded, it flows into this (`engine.causal_rollout.ShotRollout`).
        inputs: what the shot is made from; its layout has every sample's own places.
        noise: of (chunk, step).
        sampler: how a chunk is denoised.
        execution: the precision of the cache.
        stop: as in `ShotRollout`.
        straight_through: as in `model.kv_cache.KVCache`.
    """
    context = inputs.context
    pinned = latents_in_front(network.config.injection, context.shape[1])
    branches = 1 if sampler.guidance == 1 else 2
    cache = network.new_cache(
        branches * len(context),
        (context.shape[-2], context.shape[-1]),
        pinned + inputs.layout.target.latents,
        pinned,
        straight_through=straight_through,
        dtype=torch.bfloat16 if execution.bfloat16 else None,
    )
    return torch.cat(list(ShotRollout(network, cache, inputs, noise, sampler, stop=stop)), 1)


@torch.no_grad()
def resample_history(
    network: Transformer,
    batch: Batch,
    sampler: Sampler,
    highest: float,
    execution: DistributedContext,
    step: int,
    part: int = 0,
) -> Float[Tensor, "b f c h w"]:
    """All chunks of a batch's shots but the last as the network would remember them: near the truth, with its mistakes.

    One after the other they are noised to one of the sampler's levels, the same for all, and denoised from there on
    after what was made of those before. From too high a level other chunks come out, after which the true ones do not
    follow. Source: Resampling Forcing (arXiv 2512.15702).

    Args:
        network: of now; no gradient is recorded.
        batch: one part of a batch, of two chunks or more, on the network's device.
        sampler: how the model is sampled.
        highest: the highest level that chunks are noised to; where the sampler has none as low, its last.
        execution: the precision of the cache.
        step: decides the level, and with `part` the noise.
    """
    history = batch.target[:, :-CHUNK_LATENTS]
    earlier = replace(batch, target=history, layout=batch.layout[: batch.layout.latents - CHUNK_LATENTS])
    inputs = replace(shot_inputs(earlier), negative=torch.zeros_like(batch.text[:, :1]))
    last = sampler.forwards - 1
    first = next((place for place, sigma in enumerate(sampler.sigmas[:last]) if sigma <= highest), last)
    way = sampler.rest(first + chosen(last + 1 - first, "resampled-level", step))

    def noise(chunk: int, later: int) -> Tensor:
        true = history[:, chunk * CHUNK_LATENTS : (chunk + 1) * CHUNK_LATENTS]
        fresh = normal(true, "resampled-noise", step, part, chunk, later)
        return add_noise(true, fresh, way.sigmas[0]) if later == 0 else fresh

    return roll_out(network, inputs, noise, way, execution)
