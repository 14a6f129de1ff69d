"""The init whose student learns the guided prediction of the base, without teacher and trajectories."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import shotstream
from shotstream.cli import main
from shotstream.train.build_stage import build_stage
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import NETWORK
from shotstream.train.presets import Preset
from shotstream.train.recipe import Run
from shotstream.train.stages.guided_init import GuidedInitStage

Command = Callable[..., list[str]]
Copy = Callable[..., Path]
Lively = Callable[..., Preset]
GUIDED = ("init.target=guided", "init.start=base")
NO_TEACHER = (*GUIDED, "stage1.real_score=base", "stage2.real_score=base")


def begin(directory: Path, preset: Preset) -> GuidedInitStage:
    stage = build_stage(Run(directory, preset, DistributedContext(torch.device("cpu"), preset.distributed)), "init")
    assert isinstance(stage, GuidedInitStage)
    return stage


@pytest.mark.parametrize("copies", [1, 2])
def test_only_guidance_is_to_be_learnt(finished: Path, lively: Lively, copies: int) -> None:
    """A student that begins as the base errs by the guidance alone, and that grows with the square of its scale."""
    preset = lively(*GUIDED, f"base.noise_copies={copies}")

    def loss(guidance: float, low: float = 0.0) -> float:
        sampler = replace(preset.model.sampler, guidance=guidance, guided=(low, 1.0))
        changed = replace(preset, model=replace(preset.model, sampler=sampler))
        return float(begin(finished, changed).loss(NETWORK, 0, 0).detach())

    assert loss(1.0) == pytest.approx(0, abs=1e-12)
    assert loss(3.0) == pytest.approx(4 * loss(2.0), rel=1e-3)
    assert 0 < loss(2.0, low=0.9) < loss(2.0), "no guidance at the lower levels"


def test_a_student_is_made_without_teacher_and_trajectories(tmp_path: Path, copy: Copy, command: Command) -> None:
    directory = copy("guided", "teacher", "trajectories", "init", "stage1", "stage2")
    for stage in ("init", "stage1", "stage2"):
        assert main(command(stage, directory, changes=NO_TEACHER)) == 0
    assert not (directory / "trajectories").exists()
    out = tmp_path / "student"
    assert main([*command("export", directory, changes=NO_TEACHER), "--stage", "stage2", "-o", str(out)]) == 0
    assert shotstream.open(out, device="cpu").config.sampler.guidance == 1


def test_stages_that_nobody_reads_are_left_out(tmp_path: Path, lively: Lively) -> None:
    def stages(*changes: str) -> tuple[str, ...]:
        preset = lively(*changes)
        return Run(tmp_path, preset, DistributedContext(torch.device("cpu"), preset.distributed)).stages()

    every = stages()
    assert stages(*GUIDED) == tuple(stage for stage in every if stage != "trajectories"), "the scores are the teacher's"
    assert stages(*NO_TEACHER) == tuple(stage for stage in every if stage not in ("teacher", "trajectories"))
    assert stages(*NO_TEACHER[1:], "trajectories.source=base") == tuple(stage for stage in every if stage != "teacher")
