"""What the losses promise beyond the recorded cases, on a tiny network."""

import torch
from torch import Tensor

from shotstream.model.config import TransformerConfig
from shotstream.model.schedule import few_step_sigmas
from shotstream.model.transformer import Transformer
from shotstream.rollout.denoise import Sampler
from shotstream.rollout.shot import ShotInputs, ShotRollout
from shotstream.story.layout import shot_layout
from shotstream.train.losses import Conditions, distribution_matching_gradient, predict_velocity, trajectory_loss

CONTEXT, LATENTS, SIZE = 6, 6, (4, 4)


def network() -> Transformer:
    torch.manual_seed(0)
    shape = TransformerConfig(
        dim=24, ffn_dim=32, num_heads=2, num_layers=2, in_dim=4, out_dim=4, freq_dim=16, text_dim=8, text_len=6
    )
    return Transformer(shape)


def conditions(of: Transformer) -> Conditions:
    layout = shot_layout(2, [0, 0, 0, 1, 1, 1], CONTEXT, LATENTS)
    placement = of.place(layout.context + layout.target, SIZE)
    return Conditions(torch.randn(1, CONTEXT, 4, *SIZE), torch.randn(1, 3, 6, 8), placement)


def latents() -> Tensor:
    return torch.randn(1, LATENTS, 4, *SIZE)


def test_the_context_label_is_a_choice() -> None:
    net = network()
    given, noisy, timestep = conditions(net), latents(), torch.tensor([500.0])
    assert not torch.allclose(
        predict_velocity(net, noisy, timestep, given), predict_velocity(net, noisy, timestep, given, "clean")
    )


def test_equal_scores_give_no_gradient() -> None:
    net = network()
    given = conditions(net)
    gradient = distribution_matching_gradient(
        net, net, latents(), latents(), torch.tensor([500.0]), given, given, guidance=0.0
    )
    assert gradient.abs().max() == 0


def test_a_chunk_takes_the_state_of_its_first_latent_and_the_end_is_not_scored() -> None:
    net = network()
    given, trajectory = conditions(net), torch.randn(1, 3, LATENTS, 4, *SIZE)
    timesteps = torch.tensor([1000.0, 500.0, 0.0])

    def loss(*index: int) -> Tensor:
        return trajectory_loss(net, trajectory, timesteps, torch.tensor([index]), given)

    assert torch.equal(loss(0, 1, 2, 1, 0, 0), loss(0, 0, 0, 1, 1, 1))
    first_only = loss(0, 0, 0, 2, 2, 2)
    trajectory[:, 2, 3:] += 1.0  # the second chunk's end: seen by nobody before it, and not scored
    assert torch.allclose(first_only, loss(0, 0, 0, 2, 2, 2))


def rolled_out(net: Transformer, *, straight_through: bool) -> list[Tensor]:
    layout = shot_layout(2, [0, 0, 0, 1, 1, 1], CONTEXT, LATENTS)
    generator = torch.Generator().manual_seed(1)
    inputs = ShotInputs(
        torch.randn(1, CONTEXT, 4, *SIZE, generator=generator), torch.randn(1, 3, 6, 8, generator=generator), layout
    )
    cache = net.new_cache(1, SIZE, CONTEXT + LATENTS, CONTEXT, straight_through=straight_through)
    sampler = Sampler("few_step", tuple(few_step_sigmas((1000.0, 500.0), 8.0)))
    draws = {step: torch.randn(1, 3, 4, *SIZE, generator=generator) for step in (0, 1)}
    return list(ShotRollout(net, cache, inputs, lambda _, step: draws[step], sampler, stop=1))


def test_straight_through_changes_gradients_and_no_value() -> None:
    net = network()
    gradients = {}
    for straight_through in (True, False):
        net.zero_grad()
        made = rolled_out(net, straight_through=straight_through)
        made[1].square().mean().backward()
        gradient = net.blocks[0].self_attn.k.weight.grad
        gradients[straight_through] = (made, gradient.clone())
    assert all(torch.equal(a, b) for a, b in zip(gradients[True][0], gradients[False][0], strict=True))
    assert not torch.allclose(gradients[True][1], gradients[False][1])


def test_a_rollout_with_gradient_makes_what_one_without_makes() -> None:
    net = network()
    with torch.no_grad():
        plain = rolled_out(net, straight_through=True)
    assert all(
        torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, rolled_out(net, straight_through=True), strict=True)
    )
