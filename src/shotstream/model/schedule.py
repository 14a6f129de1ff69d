"""The flow-matching schedule: noise levels, and their weights in training.

sigma lies in [0, 1], 1 is pure noise: x_sigma = (1 - sigma) x0 + sigma noise, and the network predicts the velocity
noise - x0. Only the time embedding of the transformer and published settings know timesteps, 1000 sigma. Source:
ShotStream section 3, Wan2.1.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

TRAIN_TIMESTEPS = 1000
MIN_SIGMA = 0.05
"""Below this noise level a velocity made of a clean prediction is held as it is there."""


def shift_sigma(sigma: Float[Tensor, "*n"], shift: float) -> Float[Tensor, "*n"]:
    """Return noise levels moved towards noise: shift s / (1 + (shift - 1) s)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def few_step_sigmas(steps: Sequence[float], shift: float) -> list[float]:
    """Return the noise levels of a distilled model from its nominal timesteps (1000, 740, 500, 260 in the paper)."""
    return shift_sigma(torch.tensor(steps, dtype=torch.float64) / TRAIN_TIMESTEPS, shift).tolist()


def euler_sigmas(num_steps: int, shift: float) -> list[float]:
    """Return the noise levels of `num_steps` integration steps, from 1 down to and with 0: num_steps + 1 values."""
    return shift_sigma(torch.linspace(1, 0, num_steps + 1, dtype=torch.float64), shift).tolist()


def training_sigmas(shift: float) -> Float[Tensor, "1000"]:
    """Return the 1000 noise levels that training draws from, from 1 downwards."""
    return shift_sigma(torch.linspace(1, 0, TRAIN_TIMESTEPS + 1, dtype=torch.float64)[:-1], shift).float()


def training_weights(sigmas: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Return the loss weight of each training noise level: a bell around sigma 0.5, less its minimum, with mean 1."""
    bell = torch.exp(-2 * (sigmas - 0.5) ** 2)
    bell = bell - bell.min()
    return bell * (len(sigmas) / bell.sum())


def add_noise(clean: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
    """Return x_sigma of clean latents. A tensor sigma broadcasts from the left."""
    sigma = _from_left(sigma, clean)
    return (1 - sigma) * clean + sigma * noise


def clean_from_velocity(noisy: Tensor, velocity: Tensor, sigma: float | Tensor) -> Tensor:
    """Return the clean estimate x0 = x - sigma v. A tensor sigma broadcasts from the left."""
    return noisy - _from_left(sigma, noisy) * velocity


def velocity_from_clean(noisy: Tensor, clean: Tensor, sigma: Tensor) -> Tensor:
    """Return the velocity (x - x0) / sigma; sigma broadcasts from the left and counts as at least `MIN_SIGMA`."""
    return (noisy - clean) / _from_left(sigma.clamp(min=MIN_SIGMA), noisy)


def _from_left(sigma: float | Tensor, like: Tensor) -> Any:
    if not isinstance(sigma, Tensor):
        return sigma
    return sigma.to(like).reshape(sigma.shape + (1,) * (like.ndim - sigma.ndim))
