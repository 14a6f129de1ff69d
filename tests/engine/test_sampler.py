"""Samplers against cases worked out by hand."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.engine.sampler import Sampler
from shotstream.model.config import SamplerConfig

SHAPE = (1, 3, 2, 2, 2)


def constant(value: float) -> Tensor:
    return torch.full(SHAPE, value, dtype=torch.float64)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": ()}, "steps of the sampler above 0, up to 1000, got ()"),
        ({"steps": (1200.0, 500.0)}, "steps of the sampler above 0, up to 1000, got (1200.0, 500.0)"),
        ({"shift": 0.0}, "shift of the sampler above 0, got 0.0; correct the model's config.json"),
        ({"num_steps": 0}, "num_steps of the sampler above 0, got 0"),
        ({"guided": (0.9, 0.2)}, "guided of the sampler as LOW, HIGH within 0 to 1, got (0.9, 0.2)"),
    ],
)
def test_settings_that_make_no_numbers_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        SamplerConfig(**wrong)


def test_the_four_published_steps() -> None:
    sampler = Sampler.from_config(SamplerConfig())
    assert sampler.kind == "few_step"
    assert [round(1000 * sigma, 2) for sigma in sampler.sigmas] == [1000.0, 957.93, 888.89, 737.59]


def test_euler_goes_from_noise_to_nothing() -> None:
    sampler = Sampler.from_config(SamplerConfig("euler", num_steps=4, shift=3.0, guidance=2.5))
    assert sampler.sigmas == pytest.approx((1.0, 0.9, 0.75, 0.5, 0.0))
    assert sampler.guidance == 2.5


def test_few_steps_worked_out_by_hand() -> None:
    asked: list[tuple[float, float]] = []

    def predict(x: Tensor, sigma: float) -> Tensor:
        asked.append((float(x.mean()), sigma))
        return x / 2

    noise = {0: 8.0, 1: 2.0, 2: -4.0}
    result = Sampler("few_step", (1.0, 0.5, 0.25)).denoise(predict, lambda step: constant(noise[step]))
    # 8 -> clean 8 - 1 * 4 = 4; 0.5 * 4 + 0.5 * 2 = 3 -> clean 3 - 0.5 * 1.5 = 2.25;
    # 0.75 * 2.25 + 0.25 * -4 = 0.6875 -> clean 0.6875 - 0.25 * 0.34375 = 0.6015625
    assert asked == [(8.0, 1.0), (3.0, 0.5), (0.6875, 0.25)]
    assert torch.equal(result, constant(0.6015625))


@pytest.mark.parametrize(("stop", "expected"), [(0, 4.0), (1, 2.25), (2, 0.6015625), (None, 0.6015625)])
def test_stopping_early_gives_that_steps_clean_estimate(stop: int | None, expected: float) -> None:
    drawn: list[int] = []

    def noise(step: int) -> Tensor:
        drawn.append(step)
        return constant({0: 8.0, 1: 2.0, 2: -4.0}[step])

    result = Sampler("few_step", (1.0, 0.5, 0.25)).denoise(lambda x, _: x / 2, noise, stop)
    assert torch.equal(result, constant(expected))
    assert drawn == list(range(3 if stop is None else stop + 1)), "a step's noise is drawn once, and none in vain"


def test_a_perfect_network_is_right_whatever_the_noise() -> None:
    clean = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def predict(x: Tensor, sigma: float) -> Tensor:
        return (x - clean) / sigma

    def noise(step: int) -> Tensor:
        return torch.randn(SHAPE, generator=torch.Generator().manual_seed(step), dtype=torch.float64)

    for sampler in (Sampler("few_step", (1.0, 0.9, 0.3)), Sampler("euler", (1.0, 0.9, 0.3, 0.0))):
        assert torch.allclose(sampler.denoise(predict, noise), clean, atol=1e-12)


@pytest.mark.parametrize("num_steps", [1, 5, 50])
def test_euler_is_exact_on_a_straight_path(num_steps: int) -> None:
    sampler = Sampler.from_config(SamplerConfig("euler", num_steps=num_steps, shift=8.0))
    visited: list[float] = []

    def predict(_: Tensor, sigma: float) -> Tensor:
        visited.append(sigma)
        return constant(5.0)  # noise - clean along the whole way

    result = sampler.denoise(predict, lambda _: constant(3.0))
    assert torch.allclose(result, constant(-2.0), atol=1e-12)
    assert visited == list(sampler.sigmas[:-1])


def test_euler_follows_a_linear_field_step_by_step() -> None:
    result = Sampler("euler", (1.0, 0.5, 0.0)).denoise(lambda x, _: x, lambda _: constant(4.0))
    assert torch.equal(result, constant(1.0))  # twice: half of x is taken away


@pytest.mark.parametrize(
    "whole",
    [
        Sampler("few_step", (1.0, 0.8, 0.5), 3.0, guided=(0.7, 1.0)),
        Sampler("euler", (1.0, 0.8, 0.5, 0.0), 3.0, guided=(0.7, 1.0)),
    ],
)
def test_the_rest_of_a_way_goes_on_where_the_whole_of_it_would(whole: Sampler) -> None:
    visited: list[float] = []

    def predict(x: Tensor, sigma: float) -> Tensor:
        visited.append(sigma)
        return x

    for start in range(whole.forwards):
        rest = whole.rest(start)
        assert rest.forwards == whole.forwards - start
        assert rest.guidance == (3.0 if start < 2 else None), "guided where a step of it is"
        rest.denoise(predict, lambda _: constant(1.0))
    assert visited == [1.0, 0.8, 0.5, 0.8, 0.5, 0.5]


def test_an_euler_step_cannot_be_stopped_at() -> None:
    with pytest.raises(AssertionError, match="a solver's step"):
        Sampler("euler", (1.0, 0.0)).denoise(lambda x, _: x, lambda _: constant(1.0), stop=0)
