"""Solvers against the exact solution of a problem with one, and against diffusers' own loop on a small network."""

from typing import Any

import pytest
import torch
from torch import Tensor

from policy_engine import make_engine, make_shots, make_transformer
from shotstream.engine.policies import POLICIES
from shotstream.engine.sampler import Sampler
from shotstream.model.config import SamplerConfig, SamplerKind

diffusers = pytest.importorskip("diffusers")

SPREAD = 0.5
"""Standard deviation of the clean data of the problem with an exact solution."""
FROM_DIFFUSERS: tuple[SamplerKind, ...] = ("unipc", "dpm++", "ddim")


def velocity(x: Tensor, sigma: float) -> Tensor:
    """Return the velocity of normally distributed data, whose states only shrink: x_sigma = x_1 spread(sigma)."""
    variance = (1 - sigma) ** 2 * SPREAD**2 + sigma**2
    return x * (sigma - (1 - sigma) * SPREAD**2) / variance


def solve(kind: SamplerKind, steps: int) -> Tensor:
    sampler = Sampler.from_config(SamplerConfig(kind, num_steps=steps, shift=3.0))
    assert sampler.forwards == steps
    return sampler.denoise(velocity, lambda _: torch.ones(1, 1, 1, 1, 1, dtype=torch.float64))


@pytest.mark.parametrize("kind", FROM_DIFFUSERS)
def test_a_solver_reaches_the_exact_solution(kind: SamplerKind) -> None:
    assert float(solve(kind, 200)) == pytest.approx(SPREAD, abs=0.01)


@pytest.mark.parametrize("kind", ["unipc", "dpm++"])
def test_solvers_of_second_order_need_fewer_steps_than_euler(kind: SamplerKind) -> None:
    errors = [abs(float(solve(each, 12)) - SPREAD) for each in (kind, "euler")]
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize("kind", FROM_DIFFUSERS)
def test_one_step_is_the_clean_estimate_from_pure_noise(kind: SamplerKind) -> None:
    assert float(solve(kind, 1)) == pytest.approx(0, abs=1e-4)


def test_ddim_is_euler_in_other_words() -> None:
    assert torch.allclose(solve("ddim", 9), solve("euler", 9), atol=1e-5)


@pytest.mark.parametrize(("kind", "name"), [("unipc", "UniPCMultistep"), ("dpm++", "DPMSolverMultistep")])
@torch.inference_mode()
def test_a_policy_denoises_as_the_loop_of_diffusers_does(kind: SamplerKind, name: str) -> None:
    """The scheduler as it is configured for Wan, with the noise levels that it chooses by itself."""
    scheduler: Any = getattr(diffusers, f"{name}Scheduler")(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
    )
    scheduler.set_timesteps(6)
    sigmas = tuple(scheduler.sigmas.double().tolist())
    video, run = make_engine(POLICIES["full"], make_transformer(), make_shots(1), Sampler(kind, sigmas, guidance=3.0))
    calls = []
    denoise = run.denoise
    run.denoise = lambda call: calls.append(call) or denoise(call)  # type: ignore[method-assign]
    (made,) = POLICIES["full"].rollout(video, run)
    x = run.noise(range(3), 0)
    for timestep, sigma in zip(scheduler.timesteps, sigmas, strict=False):
        x = scheduler.step(run.velocity(calls[0], x, sigma), timestep, x).prev_sample
    assert torch.allclose(x, made, atol=1e-5)
