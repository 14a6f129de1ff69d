"""Guidance in an interval of noise levels: steps outside have none, and are made in one branch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from shotstream.api import Model
from shotstream.engine.cached_transformer import CachedTransformer
from shotstream.engine.call import as_sigmas
from shotstream.engine.sampler import Sampler
from shotstream.model.config import ModelConfig, SamplerConfig
from shotstream.train.presets import TINY
from shotstream.weights.build import ModelComponents, fingerprint, random_components

MIDDLE = SamplerConfig("euler", num_steps=4, shift=3.0, guidance=3.0, guided=(0.6, 0.95))
CHANNEL = replace(TINY.model, transformer=replace(TINY.model.transformer, injection="channel"))


def lively(config: ModelConfig) -> ModelComponents:
    """A model whose captions matter."""
    parts = random_components(config)
    with torch.no_grad():
        for parameter in parts.transformer.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    return parts


def told(parts: ModelComponents, sampler: SamplerConfig) -> list[np.ndarray]:
    with Model(parts).story("A fox.", sampler=sampler) as story:
        return [np.concatenate(list(story.shot(text, 2))) for text in ("It walks.", "It sleeps.")]


def test_levels_within_the_interval_are_guided() -> None:
    sampler = Sampler.from_config(MIDDLE)
    assert [round(sigma, 2) for sigma in sampler.sigmas] == [1.0, 0.9, 0.75, 0.5, 0.0]
    assert [sampler.guidance_at(sigma) for sigma in sampler.sigmas[:-1]] == [None, 3.0, 3.0, None]
    assert {Sampler.from_config(replace(MIDDLE, guided=(0.0, 1.0))).guidance_at(s) for s in (0.0, 0.5, 1.0)} == {3.0}


@pytest.mark.parametrize("config", [TINY.model, CHANNEL], ids=["frame", "channel"])
@pytest.mark.parametrize("order", ["chunks", "whole"])
def test_an_interval_without_a_step_is_no_guidance(config: ModelConfig, order: str) -> None:
    parts, never = lively(config), replace(MIDDLE, guided=(0.0, 0.0), order=order)
    without, within = told(parts, replace(never, guidance=1.0)), told(parts, replace(never, guided=(0.0, 1.0)))
    for made, plain, guided in zip(told(parts, never), without, within, strict=True):
        assert np.abs(made.astype(int) - plain).max() <= 1, "but for rounding of a batch of one and of two"
        assert np.abs(made.astype(int) - guided).max() > 1


@pytest.mark.parametrize("config", [TINY.model, CHANNEL], ids=["frame", "channel"])
def test_one_branch_computes_what_it_computes_beside_the_other(
    config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = lively(config)
    made = told(parts, MIDDLE)
    alone = CachedTransformer.velocity

    def in_both(self, call, x, sigma) -> torch.Tensor:  # type: ignore[no-untyped-def]
        if self.sampler.guidance_at(sigma) is not None:
            return alone(self, call, x, sigma)
        return self._both(call, x, as_sigmas(sigma, len(call.frames)))[0]

    monkeypatch.setattr(CachedTransformer, "velocity", in_both)
    for one, both in zip(made, told(parts, MIDDLE), strict=True):
        assert np.abs(one.astype(int) - both).max() <= 1


def test_the_usual_interval_leaves_a_models_fingerprint_as_it_was() -> None:
    plain = replace(TINY.model, sampler=replace(MIDDLE, guided=(0.0, 1.0)))
    assert fingerprint(plain, []) != fingerprint(replace(plain, sampler=MIDDLE), [])
