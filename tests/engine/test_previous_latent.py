"""Networks that carry the latent before each chunk or copy it, and whose feed-forward has a convolution."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from policy_engine import encode, make_engine, make_shots, make_transformer
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.engine.causal_rollout import ShotInputs, ShotRollout
from shotstream.engine.policies import POLICIES
from shotstream.engine.sampler import Sampler
from shotstream.model.config import TransformerConfig
from shotstream.model.context_injection import previous_latents
from shotstream.model.schedule import clean_from_velocity
from shotstream.model.transformer import COPY_START, Transformer
from shotstream.model.velocity import Conditions, predict_velocity
from shotstream.story.layout import frame_layout, shot_layout

CHUNKS, SIZE = 4, (4, 6)
ONCE = Sampler("few_step", (1.0,))


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(*, copy_previous: bool = False) -> Transformer:
    """A network with `previous` and `ffn_conv`; its gates, if it has any, are near a half."""
    torch.manual_seed(0)
    config = TransformerConfig(
        dim=24, ffn_dim=32, num_heads=2, num_layers=2, in_dim=4, out_dim=4, freq_dim=16, text_dim=10, text_len=5,
        previous=True, ffn_conv=True, copy_previous=copy_previous, prediction="clean" if copy_previous else "velocity",
    )  # fmt: skip
    transformer = Transformer(config).double().eval()
    if transformer.head.copy is not None:
        transformer.head.copy.bias.data.fill_(-COPY_START)
    return transformer


def inputs() -> ShotInputs:
    layout = shot_layout(2, [0, 0, 0, 1, 1, 1], PAPER_SHOT, CHUNKS * PAPER_SHOT.chunk_latents)
    negative = torch.zeros(1, 1, 5, 10, dtype=torch.float64)
    return ShotInputs.of(random(1, 6, 4, *SIZE, seed=1), random(1, 3, 5, 10, seed=2), layout, negative)


def noise(chunk: int, step: int) -> Tensor:
    return random(1, PAPER_SHOT.chunk_latents, 4, *SIZE, seed=100 * chunk + step)


def begin(transformer: Transformer) -> ShotRollout:
    cache = transformer.new_cache(1, SIZE, 6 + CHUNKS * PAPER_SHOT.chunk_latents, 6)
    return ShotRollout(transformer, cache, inputs(), noise, ONCE)


def test_every_latent_is_given_the_last_one_of_the_chunk_before() -> None:
    history = random(1, 6, 4, *SIZE, seed=5)
    given = previous_latents(history, 3)
    assert given.shape == (1, 9, 4, *SIZE)
    assert not given[:, :3].any()
    for latent in range(3, 9):
        assert torch.equal(given[:, latent], history[:, 2 if latent < 6 else 5])


@torch.no_grad()
@pytest.mark.parametrize("copy_previous", [False, True])
def test_chunks_over_the_cache_equal_the_forward_that_training_makes(*, copy_previous: bool) -> None:
    transformer, given = network(copy_previous=copy_previous), inputs()
    made = torch.cat(list(begin(transformer)), 1)
    start = torch.cat([noise(chunk, 0) for chunk in range(CHUNKS)], 1)
    history = made[:, : -PAPER_SHOT.chunk_latents]
    conditions = Conditions.of(transformer, given.context, given.text, given.layout.joined, history)
    velocity = predict_velocity(transformer, start, torch.ones(1, dtype=torch.float64), conditions)
    torch.testing.assert_close(made, clean_from_velocity(start, velocity, 1.0))


@torch.no_grad()
def test_the_latent_before_and_the_convolution_change_what_is_made() -> None:
    def second(change: Callable[[Transformer], object]) -> Tensor:
        transformer = network()
        change(transformer)
        rollout = begin(transformer)
        next(rollout)
        return next(rollout)

    made = second(lambda _: None)
    assert not torch.allclose(made, second(lambda net: net.patch_embedding.weight[:, 4:].zero_()))
    assert not torch.allclose(made, second(lambda net: net.blocks[0].ffn.conv.weight.zero_()))


@torch.no_grad()
def test_open_gates_repeat_the_latent_before_and_closed_ones_do_nothing() -> None:
    def made(bias: float) -> list[Tensor]:
        transformer = network(copy_previous=True)
        assert transformer.head.copy is not None
        transformer.head.copy.weight.zero_()
        transformer.head.copy.bias.fill_(bias)
        return list(begin(transformer))

    opened, closed, ungated = made(1e4), made(-1e4), network(copy_previous=True)
    for chunk in opened[1:]:
        torch.testing.assert_close(chunk, opened[0][:, -1:].expand_as(chunk))
    torch.testing.assert_close(opened[0], closed[0], msg="nothing is before the first chunk")
    state = {name: value for name, value in ungated.state_dict().items() if not name.startswith("head.copy.")}
    plain = Transformer(replace(ungated.config, copy_previous=False)).double().eval()
    plain.load_state_dict(state)
    torch.testing.assert_close(closed, list(begin(plain)))


def test_gates_need_the_latent_before_and_a_clean_prediction() -> None:
    for lacking in ({"previous": False}, {"prediction": "velocity"}):
        with pytest.raises(InputError, match="expected copy_previous with previous=true and prediction=clean"):
            replace(network(copy_previous=True).config, **lacking)  # type: ignore[arg-type]


@torch.no_grad()
def test_channels_that_are_not_given_are_zeros() -> None:
    transformer = network()
    layout = inputs().layout.target[:3]
    placement, x = transformer.make_positions(layout, SIZE), noise(0, 0)
    sigmas, text = torch.full((1, 3), 0.5, dtype=torch.float64), inputs().text
    full = torch.cat([x, torch.zeros_like(x)], 2)
    torch.testing.assert_close(transformer(x, sigmas, text, placement), transformer(full, sigmas, text, placement))


@torch.inference_mode()
def test_steering_by_the_same_caption_and_dropping_change_nothing() -> None:
    transformer, given = network(), inputs()
    expected = list(begin(transformer))
    steered, dropped = begin(transformer), begin(transformer)
    for chunk in range(CHUNKS):
        torch.testing.assert_close(next(steered), expected[chunk])
        steered.steer(given.own_text)
    for _ in range(3):
        next(dropped)
    dropped.drop(2)
    torch.testing.assert_close(next(dropped), expected[1])
    torch.testing.assert_close(next(dropped), expected[2])


@torch.no_grad()
def test_the_convolution_sees_one_latent_alone() -> None:
    feed_forward = network().blocks[0].ffn
    x = random(1, 2 * 6, 24, seed=9)
    both = feed_forward(x, (2, 3))
    torch.testing.assert_close(feed_forward(x[:, :6], (2, 3)), both[:, :6])
    shifted = x.clone()
    shifted[:, 0] += 1
    changed = (feed_forward(shifted, (2, 3)) - both).abs().sum(-1)[0] > 1e-12
    assert changed.tolist() == [True, True, False, True, True, False] + [False] * 6


@torch.inference_mode()
def test_other_policies_carry_it_too() -> None:
    transformer, policy = make_transformer(previous=True, ffn_conv=True), POLICIES["self_forcing"]
    video, run = make_engine(policy, transformer, make_shots(CHUNKS), ONCE)
    made = torch.cat(list(policy.rollout(video, run)), 1)
    latents = CHUNKS * PAPER_SHOT.chunk_latents
    start = torch.cat([run.noise(range(first, first + 3), 0) for first in range(0, latents, 3)], 1)
    layout, text = frame_layout(range(latents), [0] * latents, [0] * latents), encode(["A fox. shot number 0"])[None]
    given = Conditions.of(transformer, made[:, :0], text, layout, made[:, : -PAPER_SHOT.chunk_latents])
    velocity = predict_velocity(transformer, start, torch.ones(1, dtype=torch.float64), given)
    torch.testing.assert_close(made, clean_from_velocity(start, velocity, 1.0))
