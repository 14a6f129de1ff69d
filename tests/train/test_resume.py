"""A stage that was stopped and goes on ends as the uninterrupted one, bit for bit."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from shotstream.cli import main
from shotstream.train.checkpoint import find_checkpoints

Contents = Callable[[Path], dict[str, Tensor]]
Command = Callable[..., list[str]]
Copy = Callable[..., Path]
BFLOAT16 = "distributed.precision=bfloat16"
STAGES = ("codec", "text", "base", "teacher", "init", "stage1", "stage2")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_went_on_equals_the_uninterrupted_one(
    finished: Path, copy: Copy, command: Command, contents: Contents, stage: str
) -> None:
    directory = copy("pieces", stage)
    assert main(command(stage, directory, "--minutes", "0")) == 0
    first, whole = contents(directory / stage), contents(finished / stage)
    assert int(first["step"]) == 1
    assert (stage == "stage2") == any(name.startswith("buffers.") for name in first), "it stopped within a story"
    assert main(command(stage, directory)) == 0
    there = contents(directory / stage)
    assert there.keys() == whole.keys()
    assert all(torch.equal(there[name], value) for name, value in whole.items())
    moved = [name for name, value in whole.items() if name.startswith("networks.") and not value.equal(first[name])]
    assert moved, "the steps that were resumed train something"


@pytest.mark.parametrize("stage", ["base", "stage2"])
def test_a_stage_in_bfloat16_that_went_on_equals_the_uninterrupted_one(
    copy: Copy, command: Command, contents: Contents, stage: str
) -> None:
    whole, pieces = copy("whole", stage), copy("pieces", stage)
    assert main(command(stage, whole, changes=(BFLOAT16,))) == 0
    assert main(command(stage, pieces, "--minutes", "0", changes=(BFLOAT16,))) == 0
    assert int(contents(pieces / stage)["step"]) == 1
    assert main(command(stage, pieces, changes=(BFLOAT16,))) == 0
    expected = contents(whole / stage)
    assert all(value.equal(expected[name]) for name, value in contents(pieces / stage).items())


@pytest.mark.parametrize("changes", [(), (BFLOAT16,)], ids=["float32", "bfloat16"])
def test_trajectories_that_went_on_are_the_same(copy: Copy, command: Command, changes: Sequence[str]) -> None:
    directory = copy("pieces", "trajectories")
    assert main(command("trajectories", directory, changes=changes)) == 0
    last = directory / "trajectories" / "00001.safetensors"
    made = last.read_bytes()
    last.unlink()
    assert main(command("trajectories", directory, changes=changes)) == 0
    assert last.read_bytes() == made


def test_a_setting_that_makes_other_networks_does_not_go_on(
    copy: Copy, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = copy("other")
    for stage, change, advice in (
        ("teacher", "trained=all", "name another run"),
        ("stage2", "lora.rank=3", "name another directory"),
    ):
        assert main(command(stage, directory, changes=(change,))) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == error.count(advice) == 1


def test_sigterm_saves_and_the_command_ends_well(copy: Copy, command: Command) -> None:
    directory = copy("stopped", "stage2")
    words = command("stage2", directory, changes=("loop.steps=100000",))
    script = "import sys; from shotstream.cli import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen([sys.executable, "-c", script, *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [json.loads(process.stdout.readline())["step"] for _ in range(3)]
        os.kill(process.pid, signal.SIGTERM)
        told += [json.loads(line)["step"] for line in process.stdout]
        assert process.wait(60) == 0
    assert told == list(range(1, len(told) + 1))
    assert find_checkpoints(directory / "stage2")[-1].name == f"step-{told[-1]:08d}"
