"""Later chunks of a shot that begin from the last latent of the chunk before, and leave out the first steps."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from policy_engine import SIZE, make_engine, make_shots, make_transformer
from shotstream.core.config import from_dict
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.engine.callbacks import StepInfo
from shotstream.engine.causal_rollout import ShotInputs, ShotRollout
from shotstream.engine.policies import POLICIES
from shotstream.engine.sampler import Sampler
from shotstream.engine.story import Story
from shotstream.model.config import ChunkNoiseKind, SamplerConfig
from shotstream.model.schedule import add_noise, clean_from_velocity
from shotstream.model.transformer import Transformer
from shotstream.model.velocity import Conditions, predict_velocity
from shotstream.story.layout import shot_layout
from shotstream.weights.build import ModelComponents

CHUNKS, EACH = 4, PAPER_SHOT.chunk_latents
PLAIN = Sampler("few_step", (1.0, 0.7, 0.4))
LATER = replace(PLAIN, later_start=1)
CONFIG = SamplerConfig(steps=(1000.0, 800.0, 500.0), later_chunks_from=800.0)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def noise(chunk: int, step: int) -> Tensor:
    return random(1, EACH, 4, *SIZE, seed=100 * chunk + step)


def inputs(chunks: int = CHUNKS) -> ShotInputs:
    layout = shot_layout(2, [0, 0, 0, 1, 1, 1], PAPER_SHOT, chunks * EACH)
    return ShotInputs.of(random(1, 6, 4, *SIZE, seed=1), random(1, 3, 5, 10, seed=2), layout)


def begin(
    sampler: Sampler, transformer: Transformer | None = None, stop: int | None = None, chunks: int = CHUNKS
) -> ShotRollout:
    transformer = transformer or make_transformer(previous=True)
    cache = transformer.new_cache(1, SIZE, 6 + min(chunks, 7) * EACH, 6 + EACH)
    return ShotRollout(transformer, cache, inputs(chunks), noise, sampler, stop=stop)


def watch(transformer: Transformer) -> list[tuple[float, Tensor, bool]]:
    """Noise level, latents and recorded gradient of all forwards that denoise, as they come."""
    seen: list[tuple[float, Tensor, bool]] = []

    def note(_: object, given: tuple[Tensor, ...], made: Tensor) -> None:
        if float(given[1].max()) > 0:
            seen.append((float(given[1].max()), given[0], made.requires_grad))

    transformer.register_forward_hook(note)
    return seen


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("chunk_noise", ["fresh", "mirrored"])
def test_a_later_chunk_begins_from_the_last_latent_and_the_noise_of_its_first_step(chunk_noise: ChunkNoiseKind) -> None:
    transformer = make_transformer()
    seen = watch(transformer)
    made = list(begin(replace(LATER, chunk_noise=chunk_noise), transformer))
    assert [level for level, _, _ in seen] == pytest.approx([1.0, 0.7, 0.4] + [0.7, 0.4] * (CHUNKS - 1))
    for chunk in range(1, CHUNKS):
        own = noise(chunk, 1) if chunk_noise == "fresh" else noise(0, 1).flip(1) if chunk % 2 else noise(0, 1)
        start = 0.3 * made[chunk - 1][:, -1:] + 0.7 * own
        torch.testing.assert_close(seen[1 + 2 * chunk][1], start)


@torch.no_grad()
def test_without_it_every_chunk_begins_from_noise() -> None:
    assert Sampler.from_config(SamplerConfig()).later_start == 0
    previous = random(1, EACH, 4, *SIZE, seed=3)
    made = [
        PLAIN.denoise(lambda x, sigma: x * sigma, lambda step: noise(1, step), None, one) for one in (None, previous)
    ]
    assert same(made[:1], made[1:])
    plain, later = list(begin(PLAIN)), list(begin(LATER))
    assert torch.equal(plain[0], later[0])
    assert not torch.allclose(plain[1], later[1])


@torch.no_grad()
def test_chunks_over_the_cache_equal_one_forward_over_the_whole_shot() -> None:
    transformer, given = make_transformer(previous=True, ffn_conv=True), inputs()
    sampler = Sampler("few_step", (1.0, 0.5), later_start=1)
    rollout = begin(sampler, transformer)
    made = torch.cat(list(rollout), 1)
    first = begin(Sampler("few_step", (1.0,)), transformer)
    before = [
        next(first),
        *(made[:, chunk * EACH - 1 : chunk * EACH].expand_as(noise(0, 0)) for chunk in range(1, CHUNKS)),
    ]
    start = torch.cat([add_noise(one, noise(chunk, 1), 0.5) for chunk, one in enumerate(before)], 1)
    conditions = Conditions.of(transformer, given.context, given.text, given.layout.joined, made[:, :-EACH])
    velocity = predict_velocity(transformer, start, torch.full((1,), 0.5, dtype=torch.float64), conditions)
    torch.testing.assert_close(made, clean_from_velocity(start, velocity, 0.5))


@torch.no_grad()
def test_chunks_that_were_dropped_are_made_again_and_a_new_caption_keeps_the_latent_before() -> None:
    rollout = begin(LATER)
    made = list(rollout)
    rollout.drop(2)
    assert all(torch.allclose(one, other) for one, other in zip(list(rollout), made[2:], strict=True))
    transformer = make_transformer(previous=True)
    seen, steered = watch(transformer), begin(LATER, transformer)
    first = next(steered)
    steered.steer(random(1, 1, 5, 10, seed=9))
    torch.testing.assert_close(first, made[0])
    assert not torch.allclose(next(steered), made[1])
    torch.testing.assert_close(seen[3][1][:, :, :4], 0.3 * first[:, -1:] + 0.7 * noise(1, 1))


@torch.no_grad()
def test_a_shot_longer_than_the_window_goes_on_so() -> None:
    transformer = make_transformer()
    seen = watch(transformer)
    made = list(begin(LATER, transformer, chunks=9))
    assert len(seen) == 3 + 8 * 2
    torch.testing.assert_close(seen[-2][1], 0.3 * made[7][:, -1:] + 0.7 * noise(8, 1))


@pytest.mark.parametrize("stop", range(3))
def test_in_training_later_chunks_stop_at_their_first_step_or_after_it(stop: int) -> None:
    """Only the forwards of the last step record gradient, and none reaches the chunk before."""
    transformer = make_transformer()
    seen = watch(transformer)
    made = list(begin(LATER, transformer, stop))
    ends = [PLAIN.sigmas[stop], *[PLAIN.sigmas[max(stop, 1)]] * (CHUNKS - 1)]
    assert [level for level, _, gradient in seen if gradient] == pytest.approx(ends)
    assert len(seen) == stop + 1 + (CHUNKS - 1) * max(stop, 1)
    start = seen[stop + 1][1]
    torch.testing.assert_close(start, 0.3 * made[0][:, -1:].detach() + 0.7 * noise(1, 1))
    assert not start.requires_grad
    if stop:
        shorter = begin(replace(LATER, sigmas=LATER.sigmas[: stop + 1]), transformer)
        assert all(torch.allclose(one, other) for one, other in zip(made, shorter, strict=True))


def test_the_rest_of_a_sampler_has_the_rest_of_its_steps() -> None:
    sampler = replace(PLAIN, later_start=2)
    assert [sampler.rest(start).later_start for start in range(3)] == [2, 1, 0]


def test_the_steps_of_each_chunk_are_told(parts: ModelComponents) -> None:
    steps: list[StepInfo] = []
    with Story(parts, "A fox.", sampler=CONFIG) as story:
        made = list(story.shot("It runs.", 3, on_step=steps.append))
    told = [(one.chunk, one.step, one.steps) for one in steps]
    assert told == [(0, 0, 3), (0, 1, 3), (0, 2, 3), (1, 0, 2), (1, 1, 2), (2, 0, 2), (2, 1, 2)]
    levels = Sampler.from_config(CONFIG).sigmas
    assert [one.sigma for one in steps] == [*levels, *levels[1:], *levels[1:]]
    with Story(parts, "A fox.", sampler=CONFIG) as story:
        assert all(np.array_equal(one, other) for one, other in zip(made, story.shot("It runs.", 3), strict=True))


@torch.inference_mode()
@pytest.mark.parametrize("name", ["longlive", "rolling_forcing"])
def test_other_policies_begin_every_chunk_from_noise(name: str) -> None:
    policy, transformer = POLICIES[name], make_transformer()
    plain, later = (
        list(policy.rollout(*make_engine(policy, transformer, make_shots(3), one))) for one in (PLAIN, LATER)
    )
    assert same(plain, later)


def test_the_configuration_says_it() -> None:
    config = from_dict(SamplerConfig, {"steps": [1000, 800, 500], "later_chunks_from": 800}, "config.json")
    assert config == CONFIG
    assert Sampler.from_config(config).later_start == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"later_chunks_from": 700.0}, "one of the sampler's steps after the first (740, 500, 260), got 700"),
        ({"later_chunks_from": 1000.0}, "steps after the first (740, 500, 260), got 1000; use one of them, or leave"),
        ({"later_chunks_from": 9.0, "steps": (1000.0,)}, "after the first (there are none), got 9"),
        ({"later_chunks_from": 740.0, "kind": "euler"}, "order chunks, got euler and chunks; leave later_chunks_from"),
        (
            {"later_chunks_from": 740.0, "order": "whole"},
            "only with the sampler few_step and the order chunks, got few",
        ),
    ],
)
def test_a_step_that_cannot_be_begun_from_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        SamplerConfig(**wrong)


@pytest.mark.parametrize(("count", "begins"), [(8, 800.0), (6, 900.0), (4, 900.0), (2, None), (1, None)])
def test_fewer_steps_begin_later_chunks_with_no_less_noise(count: int, begins: float | None) -> None:
    config = SamplerConfig(steps=(1000.0, 950.0, 900.0, 800.0, 650.0, 450.0, 220.0, 60.0), later_chunks_from=800.0)
    assert config.fewer(count).later_chunks_from == begins
