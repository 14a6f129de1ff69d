"""Chunks that begin from the mirrored noise of the chunk before, so that what stands still does not flicker."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from policy_engine import SIZE, make_transformer
from shotstream.core.config import from_dict
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.engine.causal_rollout import ChunkNoise, ShotInputs, ShotRollout
from shotstream.engine.sampler import Sampler, StepNoise
from shotstream.model.config import SamplerConfig
from shotstream.story.layout import shot_layout

CHUNKS, EACH = 4, PAPER_SHOT.chunk_latents
FRESH = Sampler("few_step", (1.0, 0.7, 0.4))
MIRRORED = replace(FRESH, chunk_noise="mirrored")


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def noise(chunk: int, step: int) -> Tensor:
    return random(1, EACH, 4, *SIZE, seed=100 * chunk + step)


def begin(sampler: Sampler, noise: ChunkNoise = noise) -> ShotRollout:
    transformer = make_transformer()
    layout = shot_layout(2, [0, 0, 0, 1, 1, 1], PAPER_SHOT, CHUNKS * EACH)
    given = ShotInputs.of(random(1, 6, 4, *SIZE, seed=1), random(1, 3, 5, 10, seed=2), layout)
    return ShotRollout(transformer, transformer.new_cache(1, SIZE, 6 + CHUNKS * EACH, 6), given, noise, sampler)


@torch.no_grad()
def test_latents_on_both_sides_of_a_boundary_begin_from_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Tensor] = []

    def keep(_: Sampler, __: object, draw: StepNoise, *___: object) -> Tensor:
        begun.append(torch.stack([draw(step) for step in range(3)]))
        return draw(0)

    monkeypatch.setattr(Sampler, "denoise", keep)
    for _ in begin(MIRRORED):
        pass
    assert len(begun) == CHUNKS
    for before, after in pairwise(begun):
        assert torch.equal(before[:, :, -1], after[:, :, 0])
        assert not torch.equal(before, after)


@torch.no_grad()
def test_a_shot_by_mirrored_noise_is_one_by_that_noise() -> None:
    """The first chunk is as ever, and the others are what a shot by fresh noise of that kind would have."""
    fresh, made = list(begin(FRESH)), list(begin(MIRRORED))
    backwards = [noise(0, step).flip(1) for step in range(3)]
    given = list(begin(FRESH, lambda chunk, step: backwards[step] if chunk in (1, 3) else noise(0, step)))
    assert torch.equal(made[0], fresh[0])
    assert not torch.equal(made[1], fresh[1])
    assert all(torch.equal(one, other) for one, other in zip(made, given, strict=True))


@torch.no_grad()
def test_a_chunk_that_was_dropped_is_made_again() -> None:
    rollout = begin(MIRRORED)
    made = list(rollout)
    rollout.drop(2)
    assert all(torch.allclose(one, other) for one, other in zip(list(rollout), made[2:], strict=True))


def test_the_configuration_says_it() -> None:
    assert Sampler.from_config(SamplerConfig()).chunk_noise == "fresh"
    assert Sampler.from_config(SamplerConfig(chunk_noise="mirrored")).chunk_noise == "mirrored"
    with pytest.raises(InputError, match="chunk_noise: expected one of fresh, mirrored"):
        from_dict(SamplerConfig, {"chunk_noise": "mirror"}, "config.json")
