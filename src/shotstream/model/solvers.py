"""Steps of ODE solvers from noise to clean latents: Euler's own, and UniPC, DPM++ and DDIM of diffusers (optional).

All visit the same noise levels. UniPC and DPM++ (of second order) remember earlier steps, so they need fewer of them
than Euler's for the same error. DDIM of a flow-matching model is Euler's method in other words, and gives the same.

Source: UniPC (arXiv 2302.04867), DPM-Solver++ (arXiv 2211.01095), DDIM (arXiv 2010.02502).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import hypot
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from shotstream.core.extras import require_packages
from shotstream.model.config import SamplerKind
from shotstream.model.schedule import TRAIN_TIMESTEPS, clean_from_velocity

Advance = Callable[[int, Tensor, Tensor], Tensor]
"""Returns the state behind a step, given the step (from 0), the state before it and its velocity there."""
MULTISTEP: Mapping[str, str] = MappingProxyType(
    {"unipc": "UniPCMultistepScheduler", "dpm++": "DPMSolverMultistepScheduler"}
)
"""Classes of diffusers, by the kind of a sampler."""
HIGHEST = 1 - 1e-6
"""Noise level that these take for 1, of whose clean share they would take the logarithm."""


def check_solver(kind: SamplerKind) -> None:
    """Check that what a kind of sampler needs is installed.

    Raises:
        InputError: diffusers is missing; the message names the command that installs it.
    """
    if kind in MULTISTEP or kind == "ddim":
        require_packages(f"the sampler {kind}", "diffusers")


def make_solver(kind: SamplerKind, sigmas: Sequence[float]) -> Advance:
    """Return a solver for one way from noise to clean latents.

    Args:
        kind: any but `few_step`, which draws fresh noise and solves nothing.
        sigmas: noise levels from which the steps start, and 0.

    Raises:
        InputError: diffusers is missing.
    """
    check_solver(kind)
    if kind in MULTISTEP:
        return _multistep(MULTISTEP[kind], sigmas)
    return _ddim(sigmas) if kind == "ddim" else _euler(sigmas)


def _euler(sigmas: Sequence[float]) -> Advance:
    return lambda step, x, velocity: x + (sigmas[step + 1] - sigmas[step]) * velocity


def _multistep(name: str, sigmas: Sequence[float]) -> Advance:
    import diffusers

    scheduler: Any = getattr(diffusers, name)(
        num_train_timesteps=TRAIN_TIMESTEPS, prediction_type="flow_prediction", use_flow_sigmas=True
    )
    scheduler.set_timesteps(len(sigmas) - 1)
    scheduler.sigmas = torch.tensor([min(sigma, HIGHEST) for sigma in sigmas])
    scheduler.set_begin_index(0)
    return lambda step, x, velocity: scheduler.step(velocity, scheduler.timesteps[step], x).prev_sample


def _ddim(sigmas: Sequence[float]) -> Advance:
    """Return DDIM without added noise, on states scaled so that the squares of clean share and noise share sum to 1."""
    import diffusers

    scales = [hypot(1 - sigma, sigma) for sigma in sigmas]
    clean = [((1 - sigma) / scale) ** 2 for sigma, scale in zip(sigmas, scales, strict=True)][::-1]
    betas = [1 - now / before for before, now in pairwise(clean)]
    last = len(betas) - 1
    scheduler: Any = diffusers.DDIMScheduler(
        num_train_timesteps=len(betas), trained_betas=betas, prediction_type="sample", clip_sample=False
    )
    scheduler.set_timesteps(len(betas))

    def advance(step: int, x: Tensor, velocity: Tensor) -> Tensor:
        estimate = clean_from_velocity(x, velocity, sigmas[step])
        return scheduler.step(estimate, last - step, x / scales[step]).prev_sample * scales[step + 1]

    return advance
