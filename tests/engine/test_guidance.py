"""Guidance in an interval of noise levels: steps outside have none, and are made in one branch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shotstream.api import Model, with_policy
from shotstream.core.errors import InputError
from shotstream.engine.cached_transformer import CachedTransformer
from shotstream.engine.call import as_sigmas
from shotstream.engine.sampler import Sampler
from shotstream.model.config import ModelConfig, SamplerConfig
from shotstream.story.history import History
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


@pytest.mark.parametrize("policy", [None, "self_forcing"])
def test_guidance_and_a_negative_prompt_change_a_story_and_are_recorded(policy: str | None, tmp_path: Path) -> None:
    config = replace(TINY.model, sampler=replace(MIDDLE, guided=(0.0, 1.0)))
    model = Model(with_policy(lively(config), policy))
    assert model.guidance == 3.0

    def made(name: str, **options: Any) -> bytes:
        with model.story("A fox.", directory=tmp_path / name, **options) as story:
            return np.concatenate(list(story.shot("It walks.", 1))).tobytes()

    plain = made("plain")
    assert made("same", guidance=3.0) == plain
    asked = {"guidance": 5.0, "negative_prompt": "An owl."}
    others = made("stronger", guidance=5.0), made("without", negative_prompt="An owl."), made("both", **asked)
    assert len({plain, *others}) == 4
    identity = History.open(tmp_path / "both").identity
    assert (identity.sampler["guidance"], identity.negative_prompt) == (5.0, "An owl.")
    with pytest.raises(InputError, match="holds another story"):
        model.story("A fox.", directory=tmp_path / "both", guidance=5.0)
    with model.story("A fox.", directory=tmp_path / "both", **asked) as story:
        assert len(story.history) == 1


def test_what_a_model_does_not_take_is_refused() -> None:
    student = Model(lively(replace(TINY.model, sampler=SamplerConfig(steps=(1000.0, 500.0)))))
    assert student.guidance is None
    for asked in ({"guidance": 3.0}, {"negative_prompt": "An owl."}):
        with pytest.raises(InputError, match=r"^This model takes no guidance and no negative prompt. Leave them out.$"):
            student.story("A fox.", **asked)
    student.check_guidance(1.0, "")
    for scale in (0.5, 31, float("nan"), "high"):
        with pytest.raises(InputError, match="expected guidance from 1"):
            MIDDLE.with_guidance(scale, "")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="needs guidance above 1"):
        MIDDLE.with_guidance(1, "An owl.")
