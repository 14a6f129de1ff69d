"""How the context enters: the joining itself, and a network that carries the context in its channels."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from shotstream.core.spec import PAPER_SHOT
from shotstream.core.types import FrameLayout
from shotstream.model.attention import block_causal_plan
from shotstream.model.config import Injection, TransformerConfig
from shotstream.model.context_injection import (
    EMBEDDING,
    begin_channels,
    carry_context,
    join_context,
    latents_in_front,
    sequence_layout,
)
from shotstream.model.schedule import velocity_from_clean
from shotstream.model.transformer import Transformer
from shotstream.story.layout import shot_layout
from tiny import NETWORK

CONTEXT, CHUNK, SIZE = 6, 3, (4, 6)
CHANNEL = replace(NETWORK, injection="channel")


def network(config: TransformerConfig) -> Transformer:
    torch.manual_seed(0)
    return Transformer(config).double().eval()


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def context() -> Tensor:
    return random(1, CONTEXT, 4, *SIZE, seed=2)


def target() -> Tensor:
    return random(1, 2 * CHUNK, 4, *SIZE)


def text() -> Tensor:
    return random(1, 3, 5, 10, seed=3)


def layout(injection: Injection) -> FrameLayout:
    shot = shot_layout(2, (0, 0, 0, 1, 1, 1), PAPER_SHOT, 2 * CHUNK)
    return sequence_layout(injection, shot.joined, CONTEXT)


def test_frames_stand_in_front() -> None:
    assert latents_in_front("frame", CONTEXT) == CONTEXT
    assert torch.equal(join_context(NETWORK, context(), target()), torch.cat([context(), target()], 1))
    assert torch.equal(carry_context(NETWORK, context(), target()), target())
    assert layout("frame").positions[0].tolist() == list(range(12))


def test_channels_stand_behind_every_latents_own_and_positions_stay() -> None:
    assert latents_in_front("channel", CONTEXT) == 0
    joined = join_context(CHANNEL, context(), target())
    assert joined.shape == (1, 2 * CHUNK, 4 * 7, *SIZE)
    assert torch.equal(joined[:, :, :4], target())
    for latent in range(2 * CHUNK):
        for past in range(CONTEXT):
            assert torch.equal(joined[:, latent, 4 * (past + 1) : 4 * (past + 2)], context()[:, past])
    assert layout("channel").positions[0].tolist() == list(range(6, 12))


def test_no_context_is_a_context_of_zeros() -> None:
    joined = join_context(CHANNEL, context()[:, :0], target())
    assert torch.equal(joined, join_context(CHANNEL, torch.zeros_like(context()), target()))


@torch.no_grad()
def test_a_network_begun_from_a_frame_network_sees_no_context_yet() -> None:
    frame, channel = network(NETWORK), network(CHANNEL)
    channel.load_state_dict(begin_channels(frame.state_dict(), channel.config.embedded_channels))
    t = torch.full((1, 2 * CHUNK), 0.5, dtype=torch.float64)
    alone = frame(target(), t, text(), frame.make_positions(layout("channel"), SIZE))
    carrying = join_context(CHANNEL, context(), target())
    placement = channel.make_positions(layout("channel"), SIZE)
    torch.testing.assert_close(channel(carrying, t, text(), placement), alone)
    channel.get_parameter(EMBEDDING)[:, 4:].normal_()
    assert not torch.allclose(channel(carrying, t, text(), placement), alone)


@torch.no_grad()
def test_a_velocity_made_of_a_clean_prediction_takes_the_latents_own_channels() -> None:
    clean_network = network(replace(CHANNEL, prediction="clean"))
    plain = network(CHANNEL)
    carrying, t = (
        join_context(CHANNEL, context(), target()),
        torch.full((1, 2 * CHUNK), 0.5, dtype=torch.float64),
    )
    placement = plain.make_positions(layout("channel"), SIZE)
    predicted = plain(carrying, t, text(), placement)
    expected = velocity_from_clean(target(), predicted, t)
    torch.testing.assert_close(clean_network(carrying, t, text(), placement), expected)


@torch.no_grad()
@pytest.mark.parametrize("sigma", [0.0, 0.7])
def test_the_cache_without_a_context_equals_the_block_causal_sequence(sigma: float) -> None:
    channel, placed = network(CHANNEL), layout("channel")
    x = join_context(CHANNEL, context(), target())
    t = torch.tensor([[0.0] * CHUNK + [sigma] * CHUNK], dtype=torch.float64)
    plan = block_causal_plan(0, (CHUNK, CHUNK))
    whole = channel(x, t, text(), channel.make_positions(placed, SIZE), plan=plan)
    memory = channel.new_cache(1, SIZE, 2 * CHUNK, 0)
    for chunk in (slice(0, CHUNK), slice(CHUNK, 2 * CHUNK)):
        staged = memory.stage(CHUNK)
        cached = channel(x[:, chunk], t[:, chunk], text(), channel.make_positions(placed[chunk], SIZE), staged)
        memory.commit(staged)
        torch.testing.assert_close(cached, whole[:, chunk])
