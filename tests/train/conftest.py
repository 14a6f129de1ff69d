"""Runs of the tiny preset, and what a checkpoint holds."""

import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from filelock import FileLock
from torch import Tensor

from shotstream.cli import main
from shotstream.train.checkpoint import find_checkpoints, stored_tensors
from shotstream.train.presets import Preset, get_preset

OPTIMIZERS = (
    *(f"{stage}.optimizer" for stage in ("base", "teacher", "init")),
    *(f"{stage}.{network}" for stage in ("stage1", "stage2") for network in ("generator", "critic")),
)
LIVELY = (
    *(f"{one}.{change}" for one in OPTIMIZERS for change in ("lr=1e-3", "warmup_steps=1", "decay_share=0.0")),
    "stage1.critic_updates=2",
    "stage2.critic_updates=2",
)
"""Learning rates at which a few steps change the weights visibly."""
Contents = Callable[[Path], dict[str, Tensor]]
Command = Callable[..., list[str]]
Copy = Callable[..., Path]


def _contents(directory: Path) -> dict[str, Tensor]:
    path = find_checkpoints(directory)[-1]
    stored = stored_tensors(path)
    tensors = {name: torch.empty(entry.size, dtype=entry.properties.dtype) for name, entry in stored.items()}
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # that there is one process only
        dcp.load(tensors, checkpoint_id=path)
    return tensors


def _command(stage: str, run: Path, *options: str, changes: Sequence[str] = ()) -> list[str]:
    given = [word for change in (*LIVELY, *changes) for word in ("--set", change)]
    return [
        "train",
        stage,
        "--preset",
        "tiny",
        "--run",
        str(run),
        "--device",
        "cpu",
        "--threads",
        "1",
        *options,
        *given,
    ]


@pytest.fixture(scope="session")
def contents() -> Contents:
    """Every tensor of a stage's latest checkpoint by name."""
    return _contents


@pytest.fixture(scope="session")
def command() -> Command:
    """The words of a command on the lively tiny preset: stage, run, further options, and `changes` of the preset."""
    return _command


@pytest.fixture(scope="session")
def lively() -> Callable[..., Preset]:
    """The tiny preset as those commands have it, with further changes."""
    return lambda *changes: get_preset("tiny", (*LIVELY, *changes))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every stage done, made once for all workers of pytest-xdist; nobody writes into it."""
    own = tmp_path_factory.getbasetemp()
    place = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    directory, done = place / "recipe" / "run", place / "recipe.done"
    with FileLock(place / "recipe.lock"):
        if not done.exists():
            assert main(_command("all", directory)) == 0
            done.touch()
    return directory


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Copy:
    """A copy of the finished run under a name, without some of its folders."""

    def make(name: str, *without: str) -> Path:
        return Path(shutil.copytree(finished, tmp_path / name, ignore=shutil.ignore_patterns(*without)))

    return make
