"""What the losses promise beyond the recorded cases, on a tiny network."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from shotstream.core.spec import PAPER_SHOT
from shotstream.data.batches import Batch
from shotstream.engine.causal_rollout import ShotInputs, ShotRollout
from shotstream.engine.sampler import Sampler
from shotstream.model.attention import block_causal_plan
from shotstream.model.config import Injection
from shotstream.model.context_injection import latents_in_front
from shotstream.model.schedule import add_noise, few_step_sigmas
from shotstream.model.transformer import Transformer
from shotstream.story.layout import shot_layout
from shotstream.train.losses import (
    Conditions,
    distribution_matching_gradient,
    flow_matching_loss,
    predict_velocity,
    teacher_forced_trajectory_loss,
    trajectory_loss,
)
from tiny import NETWORK

CONTEXT, LATENTS, SIZE = 6, 6, (4, 4)
INJECTIONS: tuple[Injection, ...] = ("frame", "channel")
SHAPE = replace(NETWORK, text_dim=8, text_len=6)


def network(injection: Injection = "frame") -> Transformer:
    torch.manual_seed(0)
    return Transformer(replace(SHAPE, injection=injection))


def conditions(of: Transformer) -> Conditions:
    layout = shot_layout(2, [0, 0, 0, 1, 1, 1], PAPER_SHOT, LATENTS)
    context, text = torch.randn(1, CONTEXT, 4, *SIZE), torch.randn(1, 3, 6, 8)
    return Conditions.of(of, context, text, layout.joined)


def latents() -> Tensor:
    return torch.randn(1, LATENTS, 4, *SIZE)


def test_the_context_label_is_a_choice() -> None:
    net = network()
    given, noisy, sigma = conditions(net), latents(), torch.tensor([0.5])
    assert not torch.allclose(
        predict_velocity(net, noisy, sigma, given), predict_velocity(net, noisy, sigma, given, "clean")
    )


def test_equal_scores_give_no_gradient() -> None:
    net = network()
    given = conditions(net)
    gradient = distribution_matching_gradient(
        net, net, latents(), latents(), torch.tensor([0.5]), given, given, guidance=0.0
    )
    assert gradient.abs().max() == 0


def test_the_real_score_is_guided_in_its_interval_of_noise_levels_only() -> None:
    net = network()
    given, other = conditions(net), conditions(net)
    made, noise = latents(), latents()

    def gradient(sigma: float, guidance: float, guided: tuple[float, float] = (0.0, 1.0)) -> Tensor:
        level = torch.tensor([sigma])
        return distribution_matching_gradient(net, net, made, noise, level, given, other, guidance, "target", guided)

    assert gradient(0.5, 2.0).abs().max() > 0
    assert torch.equal(gradient(0.5, 2.0, (0.4, 0.6)), gradient(0.5, 2.0))
    assert gradient(0.5, 2.0, (0.7, 1.0)).abs().max() == 0
    assert gradient(0.5, 2.0, (0.0, 0.3)).abs().max() == 0


@pytest.mark.parametrize("injection", INJECTIONS)
def test_a_chunk_takes_the_state_of_its_first_latent_and_the_end_is_not_scored(injection: Injection) -> None:
    net = network(injection)
    given, trajectory = conditions(net), torch.randn(1, 3, LATENTS, 4, *SIZE)
    sigmas = torch.tensor([1.0, 0.5, 0.0])

    def loss(*index: int) -> Tensor:
        return trajectory_loss(net, trajectory, sigmas, torch.tensor([index]), given)

    assert torch.equal(loss(0, 1, 2, 1, 0, 0), loss(0, 0, 0, 1, 1, 1))
    first_only = loss(0, 0, 0, 2, 2, 2)
    trajectory[:, 2, 3:] += 1.0  # the second chunk's end: seen by nobody before it, and not scored
    assert torch.allclose(first_only, loss(0, 0, 0, 2, 2, 2))


def test_losses_of_a_network_with_the_context_in_channels() -> None:
    """The losses are those of the network called by hand, and they see the context."""
    net = network("channel")
    given, target, noise = conditions(net), latents(), latents()
    sigma, sigmas = torch.tensor([0.5]), torch.tensor([1.0, 0.0])
    carrying = torch.cat(
        [0.5 * (target + noise), given.context.flatten(1, 2)[:, None].expand(-1, LATENTS, -1, -1, -1)], 2
    )
    velocity = net(carrying, sigma.expand(1, LATENTS), given.text, given.placement)
    loss = flow_matching_loss(net, target, noise, sigma, given)
    torch.testing.assert_close(loss, (velocity - (noise - target)).square().mean())

    carrying = torch.cat([noise, carrying[:, :, 4:]], 2)
    plan = block_causal_plan(0, (3,) * (LATENTS // 3))
    velocity = net(carrying, sigmas[:1].expand(1, LATENTS), given.text, given.placement, plan=plan)
    loss = trajectory_loss(
        net, torch.stack([noise, target], 1), sigmas, torch.zeros(1, LATENTS, dtype=torch.long), given
    )
    torch.testing.assert_close(loss, (noise - velocity - target).square().mean())


def test_a_network_that_carries_the_latent_before_is_given_the_trajectorys_end_of_it() -> None:
    torch.manual_seed(0)
    net = Transformer(replace(SHAPE, previous=True))
    given, noise, end = conditions(net), latents(), latents()
    before = torch.cat([torch.zeros(1, CONTEXT + 3, 4, *SIZE), end[:, 2:3].expand(-1, 3, -1, -1, -1)], 1)
    carrying = torch.cat([torch.cat([given.context, noise], 1), before], 2)
    levels = torch.cat([torch.zeros(1, CONTEXT), torch.ones(1, LATENTS)], 1)
    plan = block_causal_plan(CONTEXT, (3,) * (LATENTS // 3))
    velocity = net(carrying, levels, given.text, given.placement, plan=plan)[:, CONTEXT:]
    states, sigmas = torch.stack([noise, end], 1), torch.tensor([1.0, 0.0])
    loss = trajectory_loss(net, states, sigmas, torch.zeros(1, LATENTS, dtype=torch.long), given)
    torch.testing.assert_close(loss, (noise - velocity - end).square().mean())


@pytest.mark.parametrize("previous", [False, True])
def test_a_chunk_of_the_bases_trajectory_sees_clean_ends_alone(*, previous: bool) -> None:
    """The loss of the second chunk is that of its own forward after the first one's end."""
    torch.manual_seed(0)
    net = Transformer(replace(SHAPE, previous=previous))
    layout = shot_layout(2, [0, 0, 0, 1, 1, 1], PAPER_SHOT, LATENTS).joined
    batch = Batch(torch.randn(1, CONTEXT, 4, *SIZE), latents(), torch.randn(1, 3, 6, 8), layout)
    states, sigmas = torch.randn(1, 3, LATENTS, 4, *SIZE), torch.tensor([1.0, 0.5, 0.0])

    def loss(*index: int) -> Tensor:
        chunks = torch.tensor([index]).repeat_interleave(3, 1)
        return teacher_forced_trajectory_loss(net, batch, states, sigmas, chunks)

    first_clean = loss(2, 1)
    torch.testing.assert_close(loss(0, 1), (loss(0, 2) + first_clean) / 2)
    given = Conditions.of(net, batch.context, batch.text, layout)
    sequence = torch.cat([batch.context, states[:, 2, :3], states[:, 1, 3:]], 1)
    if previous:
        before = torch.cat([torch.zeros(1, CONTEXT + 3, 4, *SIZE), states[:, 2, 2:3].expand(-1, 3, -1, -1, -1)], 1)
        sequence = torch.cat([sequence, before], 2)
    levels = torch.tensor([[0.0] * (CONTEXT + 3) + [0.5] * 3])
    plan = block_causal_plan(CONTEXT, (3, 3))
    velocity = net(sequence, levels, given.text, given.placement, plan=plan)[:, CONTEXT + 3 :]
    expected = (states[:, 1, 3:] - 0.5 * velocity - states[:, 2, 3:]).square().mean()
    torch.testing.assert_close(first_clean, expected)


def test_the_loss_of_places_that_weigh_more_is_larger_where_they_are_wrong() -> None:
    net = network()
    given, target, noise, sigma = conditions(net), latents(), latents(), torch.tensor([0.5])
    plain = flow_matching_loss(net, target, noise, sigma, given)
    even = torch.ones(1, LATENTS, *SIZE)
    torch.testing.assert_close(flow_matching_loss(net, target, noise, sigma, given, places=even), plain)
    half = torch.cat([2 * even[:, :3], 0 * even[:, 3:]], 1)
    other = torch.cat([target[:, :3], target[:, 3:] + 1], 1)
    velocity = predict_velocity(net, add_noise(other, noise, sigma), sigma, given)
    error = (velocity - (noise - other)).square()[:, :3].mean()
    torch.testing.assert_close(flow_matching_loss(net, other, noise, sigma, given, places=half), error)


@pytest.mark.parametrize("injection", INJECTIONS)
def test_the_context_is_seen_and_gets_no_velocity(injection: Injection) -> None:
    net = network(injection)
    given, noisy, sigma = conditions(net), latents(), torch.tensor([0.5])
    velocity = predict_velocity(net, noisy, sigma, given)
    assert velocity.shape == noisy.shape
    assert not torch.allclose(velocity, predict_velocity(net, noisy, sigma, replace(given, context=given.context + 1)))


def made_from(net: Transformer, chunks: int) -> tuple[ShotInputs, list[Tensor]]:
    """What a shot is made from, and the noise of its two steps, in the network's dtype."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(net.patch_embedding.weight.dtype)

    layout = shot_layout(2, [0, 0, 0, 1, 1, 1], PAPER_SHOT, 3 * chunks)
    inputs = ShotInputs.of(random(1, CONTEXT, 4, *SIZE), random(1, 3, 6, 8), layout)
    return inputs, [random(1, 3, 4, *SIZE) for _ in range(2)]


def rollout(
    net: Transformer,
    stop: int,
    *,
    chunks: int = 2,
    straight_through: bool = True,
    memory: torch.dtype | None = None,
) -> ShotRollout:
    inputs, noise = made_from(net, chunks)
    pinned = latents_in_front(net.config.injection, CONTEXT)
    cache = net.new_cache(1, SIZE, pinned + 3 * chunks, pinned, straight_through=straight_through, dtype=memory)
    sampler = Sampler("few_step", tuple(few_step_sigmas((1000.0, 500.0), 8.0)))
    return ShotRollout(net, cache, inputs, lambda _, step: noise[step], sampler, stop=stop, training=True)


def test_straight_through_changes_gradients_and_no_value() -> None:
    net = network()
    gradients = {}
    for straight_through in (True, False):
        net.zero_grad()
        made = list(rollout(net, 1, straight_through=straight_through))
        made[1].square().mean().backward()
        gradient = net.blocks[0].self_attn.k.weight.grad
        gradients[straight_through] = (made, gradient.clone())
    assert all(torch.equal(a, b) for a, b in zip(gradients[True][0], gradients[False][0], strict=True))
    assert not torch.allclose(gradients[True][1], gradients[False][1])


def test_a_rollout_with_gradient_makes_what_one_without_makes() -> None:
    net = network()
    with torch.no_grad():
        plain = list(rollout(net, 1))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, rollout(net, 1), strict=True))


@torch.no_grad()
@pytest.mark.parametrize("injection", INJECTIONS)
def test_a_streamed_shot_follows_from_the_block_causal_sequence(injection: Injection) -> None:
    """Of one step a chunk: the clean estimate over the cache is that of the plan with the chunks before it clean."""
    net = network(injection).double()
    made = list(rollout(net, 0, chunks=3))
    inputs, (noise, _) = made_from(net, 3)
    for chunk in range(3):
        known = 3 * chunk
        layout = inputs.layout.joined[: CONTEXT + known + 3]
        given = Conditions.of(net, inputs.context, inputs.text, layout)
        front = given.in_front
        sigmas = torch.tensor([[0.0] * (front + known) + [1.0] * 3])
        plan = block_causal_plan(front, (3,) * (chunk + 1))
        x = given.join(torch.cat([*made[:chunk], noise], 1))
        velocity = net(x, sigmas, given.text, given.placement, plan=plan)[:, front + known :]
        torch.testing.assert_close(made[chunk], noise - velocity)


class Recomputed(nn.Module):
    """A block that is computed again in the backward pass."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.cross_attn = block.cross_attn

    def forward(self, *arguments: object) -> Tensor:
        return checkpoint(self.block, *arguments, use_reentrant=False)


def gradients(of: Sequence[nn.Parameter], net: Transformer, *, straight_through: bool) -> list[Tensor]:
    made = torch.cat(list(rollout(net, 1, chunks=3, straight_through=straight_through)), 1)
    weight = torch.linspace(-1, 1, made.numel(), dtype=made.dtype).reshape(made.shape)
    return list(torch.autograd.grad((made * weight).sum() + made[:, -3:].square().sum(), of))


@pytest.mark.parametrize("injection", INJECTIONS)
@pytest.mark.parametrize("straight_through", [True, False])
def test_blocks_that_are_computed_again_have_the_same_gradient(injection: Injection, straight_through: bool) -> None:
    net = network(injection).double()
    parameters = list(net.parameters())
    plain = gradients(parameters, net, straight_through=straight_through)
    net.blocks = nn.ModuleList(Recomputed(block) for block in net.blocks)
    again = gradients(parameters, net, straight_through=straight_through)
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_a_memory_in_bfloat16_serves_forwards_under_autocast() -> None:
    net = network()
    assert net.new_cache(1, SIZE, 9, CONTEXT).keys(0).dtype == torch.float32
    assert net.new_cache(1, SIZE, 9, CONTEXT, dtype=torch.bfloat16).keys(0).dtype == torch.bfloat16
    exact = list(rollout(net, 1))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = list(rollout(net, 1, memory=torch.bfloat16))
    rounded[1].square().mean().backward()
    torch.testing.assert_close(rounded[1], exact[1], rtol=0.1, atol=0.1)
