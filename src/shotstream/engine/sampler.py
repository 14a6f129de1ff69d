"""Denoise latents: by clean estimates and fresh noise in turn, or by a solver of the velocity's ODE."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.model.config import ChunkNoiseKind, ContextTimestep, SamplerConfig, SamplerKind
from shotstream.model.schedule import add_noise, clean_from_velocity, euler_sigmas, few_step_sigmas
from shotstream.model.solvers import check_solver, make_solver

Latents = Float[Tensor, "b f c h w"]
Predict = Callable[[Latents, float], Latents]
"""Returns the velocity of noisy latents at noise level sigma."""
StepNoise = Callable[[int], Latents]
"""Returns the noise of a step: step 0 starts the chunk, later steps re-noise it."""
StepDone = Callable[[int, int, float, Latents], None]
"""Is told the step (from 0), how many there are, the noise level that it started from, and its clean estimate."""


@dataclass(frozen=True)
class Sampler:
    """The noise levels that latents pass on their way to clean ones, and the guidance there.

    `few_step` visits `sigmas` and re-noises its clean estimate with fresh noise in between (reference: section 3).
    All other kinds follow the velocity from each level to the next, the last of which is 0 (`model.solvers`).

    Attributes:
        kind: as in `SamplerConfig`.
        sigmas: falling noise levels.
        guidance: scale of classifier-free guidance; None: the sampler is not guided.
        context_timestep: as in `SamplerConfig`.
        guided: as in `SamplerConfig`.
        chunk_noise: as in `SamplerConfig`.
        later_start: `few_step` only: index of the step at which chunks after the first of a shot begin
            (`SamplerConfig.later_chunks_from`); 0: they begin from noise.
        on_step: called after every step; an error that it raises ends the denoising.
    """

    kind: SamplerKind
    sigmas: tuple[float, ...]
    guidance: float | None = None
    context_timestep: ContextTimestep = "target"
    guided: tuple[float, float] = (0.0, 1.0)
    chunk_noise: ChunkNoiseKind = "fresh"
    later_start: int = 0
    on_step: StepDone | None = field(default=None, compare=False)

    @classmethod
    def from_config(cls, config: SamplerConfig) -> Self:
        """Make the sampler that a configuration asks for.

        Raises:
            InputError: it needs a package that is not installed.
        """
        check_solver(config.kind)
        few = config.kind == "few_step"
        sigmas = few_step_sigmas(config.steps, config.shift) if few else euler_sigmas(config.num_steps, config.shift)
        guidance = None if config.guidance == 1 else config.guidance
        return cls(
            config.kind,
            tuple(sigmas),
            guidance,
            context_timestep=config.context_timestep,
            guided=config.guided,
            chunk_noise=config.chunk_noise,
            later_start=config.later_start,
        )

    @property
    def branches(self) -> int:
        """Return the rows of a forward for each sample: 2 with guidance (captions and negative text), else 1."""
        return 1 if self.guidance is None else 2

    def guidance_at(self, sigma: float) -> float | None:
        """Return the guidance of a step from that noise level; None where it has none."""
        low, high = self.guided
        return self.guidance if low <= sigma <= high else None

    def rest(self, start: int) -> "Sampler":
        """Return the sampler from step `start` on; without guidance where no remaining step uses it."""
        sigmas = self.sigmas[start:]
        guided = any(self.guidance_at(sigma) is not None for sigma in sigmas[: self.forwards - start])
        later = max(0, self.later_start - start)
        return replace(self, sigmas=sigmas, guidance=self.guidance if guided else None, later_start=later)

    @property
    def forwards(self) -> int:
        """Return the number of forwards of one chunk that begins from noise, without guidance."""
        return len(self.sigmas) - (self.kind != "few_step")

    def denoise(
        self, predict: Predict, noise: StepNoise, stop: int | None = None, previous: Latents | None = None
    ) -> Latents:
        """Return clean latents.

        Args:
            predict: the network, given noisy latents and sigma.
            noise: the noise of each step.
            stop: few-step only: the clean estimate of this step is the result, and no step before it records
                gradient (self-forcing training). Where the latents begin at a later step, they stop at that one.
            previous: clean latents of the same shape from which, with noise, step `later_start` begins; the steps
                before it are left out. None: the latents begin from noise, at step 0.
        """
        begin = 0 if previous is None else self.later_start
        if self.kind != "few_step":
            assert stop is None, "a solver's step has no clean estimate to stop at"
            *_, clean = self.integrate(predict, noise(0))
            return clean
        x = noise(0) if previous is None or not begin else add_noise(previous, noise(begin), self.sigmas[begin])
        last = len(self.sigmas) - 1 if stop is None else max(stop, begin)
        for step in range(begin, last + 1):
            sigma = self.sigmas[step]
            with nullcontext() if stop is None or step == last else torch.no_grad():
                clean = clean_from_velocity(x, predict(x, sigma), sigma)
            if self.on_step is not None:
                self.on_step(step - begin, len(self.sigmas) - begin, sigma, clean)
            if step < last:
                x = add_noise(clean, noise(step + 1), self.sigmas[step + 1])
        return clean

    def integrate(self, predict: Predict, x: Latents) -> Iterator[Latents]:
        """Yield a solver's states one after another, from the noise `x` to the clean end."""
        advance = make_solver(self.kind, self.sigmas)
        yield x
        for step, sigma in enumerate(self.sigmas[:-1]):
            velocity = predict(x, sigma)
            if self.on_step is not None:
                self.on_step(step, self.forwards, sigma, clean_from_velocity(x, velocity, sigma))
            x = advance(step, x, velocity)
            yield x
