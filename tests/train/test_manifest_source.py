"""Training on a dataset of one's own, end to end at the tiny size."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from shotstream.cli import main
from shotstream.core.spec import PAPER_SHOT
from shotstream.world.dataset import write_dataset
from shotstream.world.stories import sample_story

Command = Callable[..., list[str]]
Copy = Callable[..., Path]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stories of two shots on disk."""
    return write_dataset([sample_story(seed, shots=2) for seed in (1, 2)], tmp_path_factory.mktemp("dataset"))


def test_a_teacher_and_stage2_train_on_a_manifest(
    copy: Copy, command: Command, contents: Callable[[Path], dict[str, Tensor]], manifest: Path
) -> None:
    directory = copy("own", "latents", "teacher", "stage2")
    copied = copy("with-teacher", "latents", "stage2")
    changes = ("source.kind=manifest", f"source.manifest={manifest}")
    lengths = [shot.frames for seed in (1, 2) for shot in sample_story(seed, shots=2).shots]
    assert min(lengths) >= PAPER_SHOT.frames_of_chunks(1)
    assert main(command("teacher", directory, changes=(*changes, "shots.chunks=[1]", "shots.chunk_shares=[1.0]"))) == 0
    assert int(contents(directory / "teacher")["step"]) == 2
    identity = json.loads((directory / "latents" / "shots" / "pool.json").read_text())
    assert identity["source"]["source"] == "manifest"
    targets = load_file(directory / "latents" / "shots" / "00000.safetensors")["target"]
    assert targets.shape[1:] == (3, 4, 10, 16)
    assert bool(torch.isfinite(targets).all())
    assert main(command("stage2", copied, changes=changes)) == 0
    assert int(contents(copied / "stage2")["step"]) == 2


def test_stories_longer_than_the_manifests_are_refused(
    copy: Copy, command: Command, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ("source.kind=manifest", f"source.manifest={manifest}", "stage2.shots=3")
    assert main(command("stage2", copy("long", "stage2"), changes=changes)) == 2
    error = capsys.readouterr().err
    assert "expected a video of 3 shots, the longest has 2" in error
    assert error.count("\n") == 1


def test_a_manifest_that_is_not_there_is_one_line(
    copy: Copy, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ("source.kind=manifest", f"source.manifest={tmp_path / 'none.csv'}")
    assert main(command("teacher", copy("none", "latents", "teacher"), changes=changes)) == 2
    error = capsys.readouterr().err
    assert "none.csv" in error
    assert error.count("\n") == 1
