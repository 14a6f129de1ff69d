"""The flow-matching schedule."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shotstream.model.schedule import (
    MIN_SIGMA,
    add_noise,
    clean_from_velocity,
    euler_sigmas,
    shift_sigma,
    training_sigmas,
    training_weights,
    velocity_from_clean,
)


def test_euler_steps_go_from_noise_to_clean() -> None:
    sigmas = euler_sigmas(50, 8.0)
    assert (len(sigmas), sigmas[0], sigmas[-1]) == (51, 1.0, 0.0)


def test_training_draws_from_a_thousand_levels_weighted_to_mean_one() -> None:
    sigmas = training_sigmas(8.0)
    weights = training_weights(sigmas)
    assert sigmas.shape == weights.shape == (1000,)
    assert weights.mean().item() == pytest.approx(1, rel=1e-5)
    assert weights.min() == 0
    assert sigmas[weights.argmax()].item() == pytest.approx(0.5, abs=0.01)


@given(st.floats(1, 20), st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_shifting_keeps_the_ends_and_the_order_and_moves_towards_noise(shift: float, sigmas: list[float]) -> None:
    before = torch.tensor(sorted(sigmas), dtype=torch.float64)
    after = shift_sigma(before, shift)
    assert (after.diff() >= 0).all()
    assert (after >= before - 1e-12).all()
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert shift_sigma(ends, shift).tolist() == pytest.approx([0, 1])
    torch.testing.assert_close(shift_sigma(before, 1.0), before)


@pytest.mark.parametrize("sigma", [0.0, 0.3, 1.0, torch.tensor([[0.1, 0.9], [0.5, 1.0]])])
def test_the_velocity_takes_noise_back_to_the_clean_video(sigma: float | torch.Tensor) -> None:
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 2, 3, 4, 4), torch.randn(2, 2, 3, 4, 4)
    noisy = add_noise(clean, noise, sigma)
    torch.testing.assert_close(clean_from_velocity(noisy, noise - clean, sigma), clean)
    rows = torch.as_tensor(sigma).expand(2, 2)
    for b, f in ((0, 0), (0, 1), (1, 1)):
        torch.testing.assert_close(noisy[b, f], (1 - rows[b, f]) * clean[b, f] + rows[b, f] * noise[b, f])


def test_a_tensor_of_levels_leaves_the_precision_of_the_latents() -> None:
    latents = torch.ones(1, 2, 1, 2, 2, dtype=torch.bfloat16)
    sigma = torch.tensor([[0.5, 0.25]], dtype=torch.float64)
    assert add_noise(latents, latents, sigma).dtype == torch.bfloat16
    assert clean_from_velocity(latents, latents, sigma).dtype == torch.bfloat16


def test_velocity_and_clean_estimate_are_each_others_inverse() -> None:
    noisy, clean = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    sigma = torch.tensor([0.3, 0.9])
    assert torch.allclose(clean_from_velocity(noisy, velocity_from_clean(noisy, clean, sigma), sigma), clean, atol=1e-6)
    held = velocity_from_clean(noisy, clean, torch.zeros(2))
    assert torch.equal(held, velocity_from_clean(noisy, clean, torch.full((2,), MIN_SIGMA)))
