"""Measure how well a model denoises latents of unseen shots, given their true past.

One forward over known latents, not a rollout. Two models, or two choices of context, get the same shots and the same
noise, so that small differences show in a few stories. What a model makes of its own past it does not show.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.api import Model
from shotstream.core.rng import derive_seed
from shotstream.data.batches import Batch, encode_samples
from shotstream.data.storyworld import shot_of_story
from shotstream.model.schedule import add_noise, clean_from_velocity
from shotstream.model.velocity import Conditions, predict_velocity
from shotstream.scores.intervals import Estimate, ratio_estimate
from shotstream.world.scene import WorldStory

NOISE_LEVELS = (0.5, 0.75, 0.9, 1.0)
"""Noise levels at which errors are measured, if nothing else is asked for."""
CHUNKS = 2
"""Length of the shots: a first chunk, which has the context alone, and one that follows another."""


@dataclass(frozen=True)
class StoryErrors:
    """Of the shots of one story that have a past: squared errors of clean latents by (level, chunk), and of guessing.

    `guess` has for every chunk the squared deviation of its latents from their mean, which is the error of a model that
    knows no more than the mean.
    """

    squared: Float[Tensor, "l c"]
    guess: Float[Tensor, "c"]

    def as_data(self) -> dict[str, list[Any]]:
        """Return the errors as plain lists for JSON."""
        return {"squared": self.squared.tolist(), "guess": self.guess.tolist()}


def denoising_errors(
    model: Model, stories: Sequence[WorldStory], levels: Sequence[float] = NOISE_LEVELS, context: str | None = None
) -> Iterator[StoryErrors]:
    """Yield the denoising errors of each story, which has two shots or more.

    Args:
        model: of StoryWorld.
        stories: what it has not seen.
        levels: noise levels above 0, up to 1.
        context: which past frames are remembered (`story.selectors`); None: as the model's configuration says.

    Raises:
        InputError: there is no such selector.
    """
    parts, config = model.parts, model.config
    device = parts.transformer.patch_embedding.weight.device
    for story in stories:
        numbers = range(1, len(story.shots))
        chosen = context or config.context
        samples = [
            shot_of_story(story, shot, CHUNKS, None, chosen, config.captions, shape=config.shot) for shot in numbers
        ]
        batch = encode_samples(samples, parts.codec, parts.text_encoder, device).to(device)
        draw = torch.Generator().manual_seed(derive_seed("denoising", story.seed))
        noise = torch.randn(batch.target.shape, generator=draw).to(device)
        squared = [(_predict_clean(model, batch, noise, level) - batch.target).square() for level in levels]
        guess = (batch.target - batch.target.mean()).square()
        yield StoryErrors(torch.stack([_by_chunk(error) for error in squared]), _by_chunk(guess))


def error_estimate(errors: Sequence[StoryErrors], level: int, chunk: int) -> Estimate:
    """Return the error at a noise level and in a chunk (indices), as a share of the variance of the latents."""
    return ratio_estimate([(float(one.squared[level, chunk]), float(one.guess[chunk])) for one in errors])


def error_difference(one: Sequence[StoryErrors], other: Sequence[StoryErrors], level: int, chunk: int) -> Estimate:
    """Return the error of `one` minus that of `other`, paired by story; both are of the same latents."""
    return ratio_estimate(
        [
            (float(a.squared[level, chunk] - b.squared[level, chunk]), float(a.guess[chunk]))
            for a, b in zip(one, other, strict=True)
        ]
    )


@torch.inference_mode()
def _predict_clean(
    model: Model, batch: Batch, noise: Float[Tensor, "b f c h w"], level: float
) -> Float[Tensor, "b f c h w"]:
    network, sampler = model.parts.transformer, model.config.sampler
    noisy = add_noise(batch.target, noise, level)
    history = None if sampler.order == "whole" else batch.target[:, : -network.config.shot.chunk_latents]
    given = Conditions.of(network, batch.context, batch.text, batch.layout, history)
    sigma = noisy.new_full((len(noisy),), level)
    velocity = predict_velocity(network, noisy, sigma, given, sampler.context_timestep)
    return clean_from_velocity(noisy, velocity.float(), level)


def _by_chunk(values: Float[Tensor, "b f c h w"]) -> Float[Tensor, "chunks"]:
    return values.unflatten(1, (CHUNKS, -1)).sum((0, 2, 3, 4, 5)).double().cpu()
