"""Self-forced rollouts in training: the engine's rollout of a shot, over a new KV cache."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.data.batches import Batch
from shotstream.engine.cached_transformer import shot_cache_size
from shotstream.engine.causal_rollout import ChunkNoise, ShotInputs, ShotRollout
from shotstream.engine.sampler import Sampler
from shotstream.model.schedule import add_noise
from shotstream.model.transformer import Transformer
from shotstream.story.layout import ShotLayout
from shotstream.train.distributed import DistributedContext
from shotstream.train.rng import normal, random_index


def shot_inputs(batch: Batch) -> ShotInputs:
    """Return the inputs of a rollout for the shots of a batch, without negative text.

    Samples may differ in the number of their captions, so their own ones stand at different places of `batch.text`.
    """
    before = batch.context.shape[1]
    context, target = batch.layout[:before], batch.layout[before:]
    rows = target.captions[:, 0]
    own = batch.text[torch.arange(len(rows)), rows][:, None]
    target = replace(target, captions=torch.zeros_like(target.captions))
    if bool((context.captions == rows[:, None]).all()):  # first shots, or a context that attends to the new caption
        context = replace(context, captions=torch.zeros_like(context.captions))
        return ShotInputs(batch.context, own, own, ShotLayout(context, target, ()))
    captions = tuple(range(int(context.captions.max()) + 1))
    return ShotInputs(batch.context, batch.text[:, : len(captions)], own, ShotLayout(context, target, captions))


def roll_out(
    network: Transformer,
    inputs: ShotInputs,
    noise: ChunkNoise,
    sampler: Sampler,
    distributed: DistributedContext,
    stop: int | None = None,
    *,
    straight_through: bool = True,
    training: bool = False,
) -> Float[Tensor, "b f c h w"]:
    """Roll out a batch of shots, and return every chunk's clean estimate at step `stop`, or at the last step.

    Where later chunks leave out the first steps, they begin and stop as in `ShotRollout`.

    Args:
        network: makes the shots; receives the gradient, where gradient is recorded.
        inputs: context, captions and layout of every sample.
        noise: returns the noise of (chunk, step).
        sampler: denoises each chunk.
        distributed: the precision of the cache.
        stop: as in `ShotRollout`.
        straight_through: as in `model.kv_cache.KVCache`.
        training: as in `ShotRollout`.
    """
    samples, _, _, *size = inputs.context.shape
    cache_size = shot_cache_size(
        network.config,
        sampler,
        (size[0], size[1]),
        latents=inputs.layout.target.latents,
        sink=0,
        samples=samples,
    )
    dtype = torch.bfloat16 if distributed.bfloat16 else None
    cache = network.new_cache(*cache_size, straight_through=straight_through, dtype=dtype)
    rollout = ShotRollout(network, cache, inputs, noise, sampler, stop=stop, training=training)
    return torch.cat(list(rollout), 1)


@torch.no_grad()
def resample_history(
    network: Transformer,
    batch: Batch,
    sampler: Sampler,
    highest: float,
    distributed: DistributedContext,
    step: int,
    micro_batch: int = 0,
) -> Float[Tensor, "b f c h w"]:
    """Remake all chunks of a batch but the last with the network, so that they are near the truth but have its errors.

    One after another, each is noised to one of the sampler's levels, the same for all, and denoised again after the
    remade chunks before it. From too high a level other chunks result, which the true last chunk does not follow.
    Source: Resampling Forcing (arXiv 2512.15702).

    Args:
        network: with its current weights; no gradient is recorded.
        batch: one micro-batch of two chunks or more, on the network's device.
        sampler: the model's.
        highest: the highest sigma that chunks are noised to; if the sampler's are all higher, its last.
        distributed: the precision of the cache.
        step: seeds the level, and with `micro_batch` the noise.
        micro_batch: number of the micro-batch.
    """
    each = network.config.shot.chunk_latents
    history = batch.target[:, :-each]
    layout = batch.layout[: batch.layout.latents - each]
    earlier = replace(batch, target=history, layout=layout, subjects=None, features=None)
    inputs = replace(shot_inputs(earlier), negative=torch.zeros_like(batch.text[:, :1]))
    last = sampler.forwards - 1
    first = next((place for place, sigma in enumerate(sampler.sigmas[:last]) if sigma <= highest), last)
    start = first + random_index(last + 1 - first, "resampled-level", step)
    remaining = replace(sampler.rest(start), chunk_noise="fresh", later_start=0)  # the noise holds the true chunks

    def noise(chunk: int, later: int) -> Tensor:
        true = history[:, chunk * each : (chunk + 1) * each]
        fresh = normal(true, "resampled-noise", step, micro_batch, chunk, later)
        return add_noise(true, fresh, remaining.sigmas[0]) if later == 0 else fresh

    return roll_out(network, inputs, noise, remaining, distributed)
