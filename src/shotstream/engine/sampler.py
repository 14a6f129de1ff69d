"""From noise to one clean chunk: by clean estimates and fresh noise in turn, or by Euler integration."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.model.config import ContextTimestep, SamplerConfig
from shotstream.model.schedule import add_noise, clean_from_velocity, euler_sigmas, few_step_sigmas

Latents = Float[Tensor, "b f c h w"]
Predict = Callable[[Latents, float], Latents]
"""The velocity of noisy latents at noise level sigma."""
StepNoise = Callable[[int], Latents]
"""The noise of a step: step 0 starts the chunk, later steps re-noise it."""
StepDone = Callable[[int, float, Latents], None]
"""Is told the step (from 0), the noise level that it started from, and its clean estimate."""


@dataclass(frozen=True)
class Sampler:
    """A ladder of noise levels and the way down it.

    `few_step` visits `sigmas` and re-noises its clean estimate with fresh noise in between (reference: section 3).
    `euler` follows the velocity from each level to the next, the last of which is 0. `order`, `context_timestep` and
    `guided` are as in `SamplerConfig`. `on_step` is called after every step; what it raises ends the denoising.
    """

    kind: Literal["few_step", "euler"]
    sigmas: tuple[float, ...]
    guidance: float = 1.0
    order: Literal["chunks", "whole"] = "chunks"
    context_timestep: ContextTimestep = "target"
    guided: tuple[float, float] = (0.0, 1.0)
    on_step: StepDone | None = field(default=None, compare=False)

    @classmethod
    def from_config(cls, config: SamplerConfig) -> "Sampler":
        """The sampler that a model's configuration asks for."""
        few = config.kind == "few_step"
        sigmas = few_step_sigmas(config.steps, config.shift) if few else euler_sigmas(config.num_steps, config.shift)
        way = (config.guidance, config.order, config.context_timestep, config.guided)
        return cls(config.kind, tuple(sigmas), *way)

    def guidance_at(self, sigma: float) -> float:
        """The guidance of a step from that noise level; 1 is none."""
        low, high = self.guided
        return self.guidance if low <= sigma <= high else 1.0

    def rest(self, start: int) -> "Sampler":
        """The way from the level of step `start` on; without guidance where none of its steps is guided."""
        sigmas = self.sigmas[start:]
        guided = any(self.guidance_at(sigma) != 1 for sigma in sigmas[: self.forwards - start])
        return replace(self, sigmas=sigmas, guidance=self.guidance if guided else 1.0)

    @property
    def forwards(self) -> int:
        """Return the number of forwards of one chunk, without guidance."""
        return len(self.sigmas) - (self.kind == "euler")

    def denoise(self, predict: Predict, noise: StepNoise, stop: int | None = None) -> Latents:
        """A clean chunk.

        Args:
            predict: the network, given noisy latents and sigma.
            noise: the noise of each step.
            stop: few-step only: the clean estimate of this step is the result, and no step before it records
                gradient (self-forcing training).
        """
        if self.kind == "euler":
            assert stop is None, "an Euler step has no clean estimate to stop at"
            *_, clean = self.integrate(predict, noise(0))
            return clean
        x = noise(0)
        last = len(self.sigmas) - 1 if stop is None else stop
        for step, sigma in enumerate(self.sigmas):
            with torch.set_grad_enabled(torch.is_grad_enabled() and stop in (None, step)):
                clean = clean_from_velocity(x, predict(x, sigma), sigma)
            if self.on_step is not None:
                self.on_step(step, sigma, clean)
            if step == last:
                break
            x = add_noise(clean, noise(step + 1), self.sigmas[step + 1])
        return clean

    def integrate(self, predict: Predict, x: Latents) -> Iterator[Latents]:
        """Euler's states one after another, from the noise `x` to the clean end."""
        yield x
        for step, (sigma, following) in enumerate(pairwise(self.sigmas)):
            velocity = predict(x, sigma)
            if self.on_step is not None:
                self.on_step(step, sigma, clean_from_velocity(x, velocity, sigma))
            x = x + (following - sigma) * velocity
            yield x
