"""A shot made whole, as a teacher makes it: the same as integrating its velocity by hand, in chunks or as a story."""

from dataclasses import replace
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from shotstream.core.spec import PAPER_SHOT
from shotstream.engine.bidirectional_rollout import WholeShotRollout, bidirectional_velocity
from shotstream.engine.causal_rollout import ShotInputs
from shotstream.engine.sampler import Sampler
from shotstream.engine.story import Story
from shotstream.model.config import (
    Injection,
    SamplerConfig,
)
from shotstream.model.transformer import Transformer
from shotstream.story.layout import shot_layout
from shotstream.weights.build import ModelComponents, random_components
from tiny import NETWORK, live_model

TEACHER = SamplerConfig("euler", num_steps=3, shift=3.0, guidance=2.5, order="whole", context_timestep="clean")
SHAPE = replace(NETWORK, text_dim=16, text_len=32)
MODEL = replace(live_model(), transformer=SHAPE, sampler=TEACHER)


def network(injection: Injection = "frame") -> Transformer:
    torch.manual_seed(0)
    return Transformer(replace(SHAPE, injection=injection)).double()


def inputs(chunks: int) -> ShotInputs:
    layout = shot_layout(2, [0, 0, 0, 1, 1, 1], PAPER_SHOT, 3 * chunks)
    context, text = torch.randn(1, 6, 4, 4, 4).double(), torch.randn(1, 3, 32, 16).double()
    return ShotInputs.of(context, text, layout)


def chunk_noise(chunk: int, step: int) -> Tensor:
    return torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(10 * chunk + step)).double()


def velocity(net: Transformer, given: ShotInputs, text: Tensor, x: Tensor, sigma: float, label: float) -> Tensor:
    """Of a network that takes the context in front, called by hand."""
    placement = net.make_positions(given.layout.joined, (4, 4))
    sigmas = torch.tensor([[label] * 6 + [sigma] * x.shape[1]], dtype=x.dtype)
    return net(torch.cat([given.context, x], 1), sigmas, text, placement)[:, 6:]


@torch.no_grad()
@pytest.mark.parametrize("context_timestep", ["target", "clean"])
def test_a_whole_shot_is_the_velocity_integrated(context_timestep: Literal["target", "clean"]) -> None:
    net, given = network(), inputs(2)
    sampler = Sampler.from_config(replace(TEACHER, context_timestep=context_timestep))
    made = list(WholeShotRollout(net, given, chunk_noise, sampler))
    assert [chunk.shape[1] for chunk in made] == [3, 3]
    x = torch.cat([chunk_noise(0, 0), chunk_noise(1, 0)], 1)
    for sigma, following in pairwise(sampler.sigmas):
        label = sigma if context_timestep == "target" else 0.0
        told, untold = (
            velocity(net, given, text, x, sigma, label) for text in (given.text, torch.zeros_like(given.text))
        )
        x = x + (following - sigma) * (untold + 2.5 * (told - untold))
    torch.testing.assert_close(torch.cat(made, 1), x)


@torch.no_grad()
@pytest.mark.parametrize("injection", ["frame", "channel"])
def test_every_latent_sees_every_other_and_the_context(injection: Injection) -> None:
    net, given = network(injection), inputs(2)
    predict = bidirectional_velocity(net, given, Sampler.from_config(TEACHER))
    x = torch.cat([chunk_noise(0, 0), chunk_noise(1, 0)], 1)
    before, later = predict(x, 0.5), x.clone()
    later[:, -1] += 1
    assert not torch.allclose(predict(later, 0.5)[:, 0], before[:, 0])
    other = bidirectional_velocity(net, replace(given, context=given.context + 1), Sampler.from_config(TEACHER))
    assert not torch.allclose(other(x, 0.5), before)


@torch.no_grad()
def test_without_guidance_the_negative_is_not_asked() -> None:
    net, given = network(), inputs(1)
    calls: list[int] = []
    net.register_forward_hook(lambda *_: calls.append(1))
    for guidance, forwards in ((1.0, 1), (2.0, 2)):
        calls.clear()
        bidirectional_velocity(net, given, Sampler.from_config(replace(TEACHER, guidance=guidance)))(
            chunk_noise(0, 0), 0.5
        )
        assert len(calls) == forwards


@pytest.fixture(scope="module")
def parts() -> ModelComponents:
    return random_components(MODEL)


def test_a_teacher_tells_a_story(parts: ModelComponents) -> None:
    told = []
    for _ in range(2):
        with Story(parts, "a story.", seed=1) as story:
            told.append([list(story.shot(text, 2)) for text in ("a fox walks", "a bear sleeps")])
    assert [[frames.shape for frames in shot] for shot in told[0]] == [[(9, 32, 48, 3), (12, 32, 48, 3)]] * 2
    for one, other in zip(*told, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    with Story(parts, "a story.", seed=1, sampler=replace(TEACHER, order="chunks")) as story:
        by_chunks = list(story.shot("a fox walks", 2))
    assert not np.array_equal(by_chunks[0], told[0][0][0])
