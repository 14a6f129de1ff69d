"""Several processes train as one does, and go on where one or several have stopped."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
import torch
from torch import Tensor

from shotstream.cli import main
from shotstream.train.presets import TINY

Contents = Callable[[Path], dict[str, Tensor]]
Command = Callable[..., list[str]]
COMMANDS = Path(__file__).parent / "commands.py"
PARTS = {"base": 2, "teacher": 4, "init": 2, "stage1": 2, "stage2": 2}
"""Parts of a batch a stage; with two processes each has half of them."""
STEPS = 5
FILLED = "teacher"
"""The stage whose samples are all made before two processes begin."""
STOPPED = "stopped"
"""Stage 2 on two processes until the middle of its first story."""


def changes(stage: str) -> tuple[str, ...]:
    """Changes of the preset that leave the shots of other numbers of parts alone."""
    return (f"{stage}.loop.steps={STEPS}", f"{stage}.loop.micro_batches={PARTS[stage]}")


@pytest.fixture(scope="module")
def runs(finished: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `one-STAGE` on one process, `two-STAGE` on two, and on two stage 2 that stopped, and one that went on."""
    base = tmp_path_factory.mktemp("parallel")
    names = [f"{count}-{stage}" for stage in PARTS for count in ("one", "two")]
    for name in (*names, f"{STOPPED}-stage2", "resumed-stage2"):
        copytree(finished, base / name, ignore=ignore_patterns(name.split("-")[1]))
    ahead = {FILLED: ("--workers", "1")}
    two = [command(stage, base / f"two-{stage}", *ahead.get(stage, ()), changes=changes(stage)) for stage in PARTS]
    for name in (f"{STOPPED}-stage2", "resumed-stage2"):
        two.append(command("stage2", base / name, "--minutes", "0", changes=changes("stage2")))
    two.append(command("stage2", base / "resumed-stage2", changes=changes("stage2")))
    (base / "two-trajectories").mkdir()
    copytree(finished, base / "two-trajectories", ignore=ignore_patterns("trajectories"), dirs_exist_ok=True)
    two.append(command("trajectories", base / "two-trajectories", changes=("trajectories.batches=3",)))
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(COMMANDS)]
    done = subprocess.run([*start, json.dumps(two)], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    for stage in PARTS:
        assert main(command(stage, base / f"one-{stage}", changes=changes(stage))) == 0
    return base


def assert_near(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: name + text)


def losses(directory: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name.endswith("/loss")} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("stage", PARTS)
def test_two_processes_train_as_one(runs: Path, contents: Contents, stage: str) -> None:
    one, two = (runs / f"{count}-{stage}" / stage for count in ("one", "two"))
    assert len(losses(one)) == STEPS
    for mine, theirs in zip(losses(one), losses(two), strict=True):
        assert theirs == pytest.approx(mine, rel=1e-5, abs=1e-5)
    assert_near(contents(one), contents(two))
    first = losses(one)[0]
    assert losses(one)[2:] != [first] * (STEPS - 2)


def test_one_of_two_processes_makes_all_samples_and_the_other_waits(runs: Path) -> None:
    pool = runs / f"two-{FILLED}" / "latents" / f"shots-{PARTS[FILLED]}"
    assert len(list(pool.glob("*.safetensors"))) == TINY.shots.batches * PARTS[FILLED]


def test_two_processes_go_on_as_they_were(runs: Path, contents: Contents) -> None:
    whole, resumed = (contents(runs / name / "stage2") for name in ("two-stage2", "resumed-stage2"))
    assert_near(whole, resumed)


def test_one_process_goes_on_where_two_stopped(runs: Path, contents: Contents, command: Command) -> None:
    directory = runs / f"{STOPPED}-stage2"
    kept = {name for name in contents(directory / "stage2") if name.startswith("buffers.")}
    assert kept == {"buffers.0.shot0", "buffers.1.shot0"}, "each process has kept its own story"
    assert main(command("stage2", directory, changes=changes("stage2"))) == 0
    assert_near(contents(runs / "two-stage2" / "stage2"), contents(directory / "stage2"))


def test_an_odd_number_of_trajectories_is_shared_out(runs: Path, finished: Path) -> None:
    made = sorted((runs / "two-trajectories" / "trajectories").glob("*.safetensors"))
    assert [path.name for path in made] == [f"{number:05d}.safetensors" for number in range(3)]
    for path in (finished / "trajectories").iterdir():
        assert path.read_bytes() == (runs / "two-trajectories" / "trajectories" / path.name).read_bytes()
