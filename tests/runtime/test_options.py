"""What an opened model is told about how it runs."""

import sys
from dataclasses import replace

import pytest

from shotstream.core.errors import InputError
from shotstream.model.config import SamplerConfig
from shotstream.runtime.options import RunOptions, apply_options
from shotstream.train.presets import TINY
from shotstream.weights.build import random_components


@pytest.mark.parametrize(
    ("count", "kept"),
    [(4, (1000.0, 740.0, 500.0, 260.0)), (3, (1000.0, 740.0, 500.0)), (2, (1000.0, 500.0)), (1, (1000.0,))],
)
def test_fewer_steps_of_a_distilled_model_are_spread_and_begin_with_the_first(
    count: int, kept: tuple[float, ...]
) -> None:
    assert SamplerConfig().fewer(count).steps == kept


def test_fewer_steps_of_another_are_larger() -> None:
    assert SamplerConfig("euler", num_steps=12).fewer(5) == SamplerConfig("euler", num_steps=5)


@pytest.mark.parametrize("count", [0, 5])
def test_steps_that_there_are_not_are_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"expected 1 to 4 steps, which this model was made for, got {count}"):
        SamplerConfig().fewer(count)


def test_another_sampler_is_labelled_and_keeps_shift_and_guidance() -> None:
    parts = random_components(TINY.model)
    assert parts.config.sampler.kind == "euler"
    assert apply_options(parts, RunOptions(sampler="euler")).lossy == ()
    other = apply_options(parts, RunOptions(sampler="few_step", steps=1))
    assert other.lossy == ("sampler few_step, not euler", "1 of 4 steps")
    assert other.config.sampler == replace(parts.config.sampler, kind="few_step", steps=(1000.0,))


def test_with_another_sampler_all_chunks_begin_from_noise() -> None:
    parts = random_components(replace(TINY.model, sampler=SamplerConfig(later_chunks_from=500.0)))
    assert apply_options(parts, RunOptions(sampler="few_step")).config.sampler.later_chunks_from == 500
    assert apply_options(parts, RunOptions(sampler="euler")).config.sampler == SamplerConfig("euler")


def test_a_sampler_that_there_is_not_is_refused_with_the_nearest() -> None:
    parts = random_components(TINY.model)
    with pytest.raises(InputError, match=r"unknown sampler 'uni_pc' \(did you mean 'unipc'\?\)"):
        apply_options(parts, RunOptions(sampler="uni_pc"))


@pytest.mark.parametrize("kind", ["unipc", "dpm++", "ddim"])
def test_a_solver_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    parts = random_components(TINY.model)
    with pytest.raises(InputError, match=r"needs the package 'diffusers'; run pip install 'shotstream\[samplers\]'"):
        apply_options(parts, RunOptions(sampler=kind))


def test_fewer_steps_are_labelled_as_lossy() -> None:
    parts = random_components(TINY.model)
    assert apply_options(parts, RunOptions()).lossy == apply_options(parts, RunOptions(steps=2)).lossy == ()
    fewer = apply_options(parts, RunOptions(steps=1))
    assert fewer.lossy == ("1 of 2 steps",)
    assert fewer.config.sampler.count == 1
    assert parts.config.sampler.count == 2
