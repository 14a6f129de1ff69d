"""A warm-up runs everything that a later shot runs, and leaves nothing behind."""

import functools
import re
import tempfile
from pathlib import Path
from typing import get_args

import pytest

from shotstream.api import Model
from shotstream.cli import main
from shotstream.core.profiling import Span, SpanProfiler
from shotstream.engine import warmup as warm
from shotstream.engine.story import Story
from shotstream.train.presets import TINY
from shotstream.weights.build import ModelComponents, random_components
from shotstream.weights.directory import write_directory


@pytest.fixture
def parts() -> ModelComponents:
    return random_components(TINY.model)


def test_every_part_of_a_shot_is_run(parts: ModelComponents, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SpanProfiler()
    monkeypatch.setattr(warm, "Story", functools.partial(Story, clock=clock))
    warm.make_warmup_shot(parts, 2)
    assert set(clock.seconds) == set(get_args(Span))
    one_chunk = set(clock.seconds) - {"commit"}
    clock.calls.clear()
    Model(parts).warm_up()
    assert set(clock.seconds) == one_chunk


def test_nothing_is_left(parts: ModelComponents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    Model(parts).warm_up()
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_each_step_took(
    parts: ModelComponents, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_directory(parts, tmp_path / "model")
    assert main(["warmup", "--model", str(tmp_path / "model"), "--device", "cpu", "--text-device", "cpu"]) == 0
    steps = re.findall(r"^(.+): (\d+\.\d\d) s$", capsys.readouterr().out, re.MULTILINE)
    assert [step for step, _ in steps] == ["libraries", "model", "first shot", "the same shot again"]
    assert float(steps[2][1]) > 0


@pytest.mark.parametrize("wrong", [("--model", "nothing"), ("--text-device", "tpu")])
def test_what_is_unknown_is_one_line(wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmup", *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1
