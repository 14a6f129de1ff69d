"""A model of other chunk, context and shot lengths, through the whole recipe by the commands people use."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import shotstream
from shotstream.cli import main
from shotstream.core.errors import InputError
from shotstream.core.spec import ShotShape
from shotstream.train.distributed import DistributedContext
from shotstream.train.presets import Preset, get_preset
from shotstream.train.recipe import Run
from tiny import SHORT_SHOTS

CHANGES = tuple(f"model.transformer.shot.{name}" for name in ("chunk_latents=2", "context_latents=4", "max_chunks=3"))
TRAINED = ("base", "teacher", "init", "stage1", "stage2")


@pytest.fixture(scope="module")
def short(finished: Path, command: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of such a model; codec and text encoder are those of another run, because they know nothing of shots."""
    directory = tmp_path_factory.mktemp("short") / "run"
    for stage in ("codec", "text"):
        (directory / stage).parent.mkdir(exist_ok=True)
        (directory / stage).symlink_to(finished / stage)
    assert main(command("all", directory, changes=CHANGES)) == 0
    return directory


def test_every_stage_trains_on_shots_of_that_shape(short: Path, lively: Callable[..., Preset]) -> None:
    for stage in TRAINED:
        rows = [json.loads(line) for line in (short / stage / "metrics.jsonl").read_text().splitlines()]
        losses = [value for row in rows for name, value in row.items() if name.endswith("/loss")]
        assert losses
        assert np.isfinite(losses).all()
    run = Run(short, lively(*CHANGES), DistributedContext(torch.device("cpu"), lively().distributed))
    batches = [run.shots(1).read_file(number) for number in range(2)]
    assert {batch.context.shape[1] for batch in batches} == {4}
    assert {batch.target.shape[1] for batch in batches} <= {2, 4}
    assert all(batch.layout.positions[0].tolist() == list(range(4 + batch.target.shape[1])) for batch in batches)


def test_what_is_exported_keeps_the_shape_and_tells_a_story(
    short: Path, command: Callable[..., list[str]], tmp_path: Path
) -> None:
    assert main([*command("export", short, changes=CHANGES), "-o", str(tmp_path / "model")]) == 0
    model = shotstream.open(tmp_path / "model", device="cpu", dtype="float32")
    assert model.config.shot == SHORT_SHOTS
    with model.story("A red fox in a forest by day.", seed=3) as story:
        assert [[len(frames) for frames in story.shot(text)] for text in ("it walks.", "it jumps.")] == [[5, 8, 8]] * 2


def test_samples_of_another_shape_are_others(lively: Callable[..., Preset], tmp_path: Path) -> None:
    context = DistributedContext(torch.device("cpu"), lively().distributed)
    plain, other = (Run(tmp_path, lively(*changes), context).source.identity for changes in ((), CHANGES))
    assert "shape" not in plain
    assert other == {**plain, "shape": {"chunk_latents": 2, "context_latents": 4, "max_chunks": 3}}


def test_lengths_beyond_the_models_longest_shot_are_refused() -> None:
    most = "model.transformer.shot.max_chunks="
    with pytest.raises(InputError, match=r"expected shots.chunks of 1 to 3, the longest shot of the .* got \[2, 4\]"):
        get_preset("tiny", (f"{most}3", "shots.chunks=[2,4]"))
    assert get_preset("tiny", (f"{most}9", "stage2.chunks=[9]")).model.shot == ShotShape(max_chunks=9)
