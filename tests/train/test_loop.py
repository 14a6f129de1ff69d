"""The training loop: exact resume, checkpoints that survive anything, and losses that are no numbers."""

import errno
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.train.loop import CHECKPOINT, MAX_BAD_STEPS, METRICS, LoopConfig, TrainState, train

STEPS = 8
CONFIG = LoopConfig(steps=STEPS, lr=0.1, warmup_steps=3, ema_decay=0.9, log_every_steps=1)
Loss = Callable[[int], Tensor]


class Run:
    """A tiny model in training; `steps` lists every step whose loss was asked for."""

    def __init__(self, directory: Path, config: LoopConfig = CONFIG) -> None:
        torch.manual_seed(0)
        self.directory = directory
        self.state = TrainState(nn.Linear(4, 2), config)
        self.steps: list[int] = []

    def loss(self, step: int) -> Tensor:
        self.steps.append(step)
        data = torch.randn(3, 4, generator=torch.Generator().manual_seed(step))
        return self.state.model(data).square().mean()

    def train(self, loss: Loss | None = None, minutes: float | None = None) -> bool:
        return train(self.state, self.directory, loss or self.loss, lambda *_: None, minutes)

    @property
    def contents(self) -> dict[str, Any]:
        return torch.load(self.directory / CHECKPOINT, weights_only=True)


def tensors(value: Any) -> list[Tensor]:
    """All tensors in a checkpoint, in order."""
    if isinstance(value, Tensor):
        return [value]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for inner in values for tensor in tensors(inner)]


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["step"] == other["step"]
    assert len(tensors(one)) == len(tensors(other)) > 6
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


FileSizeLimit = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def file_size_limit() -> FileSizeLimit:
    """Lets no file grow beyond some bytes: what a full disk looks like from here."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, Any]:
    """The checkpoint of an uninterrupted run."""
    run = Run(tmp_path / "whole")
    assert run.train()
    return run.contents


@pytest.mark.parametrize("stop_after", [1, 3, 7])
def test_resumed_after_sigterm_equals_uninterrupted(whole: dict[str, Any], tmp_path: Path, stop_after: int) -> None:
    broken = Run(tmp_path / "broken")

    def loss(step: int) -> Tensor:
        if step == stop_after - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return broken.loss(step)

    before = signal.getsignal(signal.SIGTERM)
    assert not broken.train(loss)
    assert signal.getsignal(signal.SIGTERM) is before
    assert broken.contents["step"] == stop_after, "the step in work is finished, and saved"
    resumed = Run(tmp_path / "broken")
    assert resumed.train()
    assert broken.steps + resumed.steps == list(range(STEPS))
    assert_same(resumed.contents, whole)


def test_resumed_after_a_crash_equals_uninterrupted(whole: dict[str, Any], tmp_path: Path) -> None:
    config = LoopConfig(**{**vars(CONFIG), "save_every_s": 0.0})
    broken = Run(tmp_path / "broken", config)

    def loss(step: int) -> Tensor:
        if step == 5:
            raise MemoryError
        return broken.loss(step)

    with pytest.raises(MemoryError):
        broken.train(loss)
    resumed = Run(tmp_path / "broken")
    assert resumed.train()
    assert resumed.steps == [5, 6, 7]
    assert_same(resumed.contents, whole)


def test_resumed_after_its_minutes_equals_uninterrupted(whole: dict[str, Any], tmp_path: Path) -> None:
    for step in range(STEPS):
        piece = Run(tmp_path / "pieces")
        assert piece.train(minutes=0) == (step == STEPS - 1)
        assert piece.steps == [step]
    assert_same(piece.contents, whole)


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    assert Run(tmp_path).train()
    again = Run(tmp_path)
    assert again.train()
    assert again.steps == []


def test_the_average_lags_behind(whole: dict[str, Any]) -> None:
    model, average = whole["model"], whole["ema"]
    assert average.keys() == model.keys()
    assert all(not torch.equal(model[name], average[name]) for name in model)


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    path = tmp_path / CHECKPOINT
    run.state.save(path)
    good = path.read_bytes()

    def fill_the_disk(_: object, target: IO[bytes]) -> None:
        target.write(b"half a checkpoint")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", fill_the_disk)
    run.state.step = 5
    with pytest.raises(InputError, match="the disk is full"):
        run.state.save(path)
    assert path.read_bytes() == good
    assert list(tmp_path.iterdir()) == [path], "nothing half written is left"


def test_a_disk_that_really_fills_leaves_the_last_checkpoint(tmp_path: Path, file_size_limit: FileSizeLimit) -> None:
    state = TrainState(nn.Linear(100, 50), CONFIG)
    path = tmp_path / CHECKPOINT
    state.save(path)
    good = path.read_bytes()
    state.step = 5
    with file_size_limit(len(good) // 2), pytest.raises(InputError, match="cannot write"):
        state.save(path)
    assert path.read_bytes() == good
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    TrainState(nn.Linear(5, 2), CONFIG).save(tmp_path / CHECKPOINT)
    with pytest.raises(InputError, match="another run"):
        Run(tmp_path).train()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_changes_nothing(tmp_path: Path, bad: float) -> None:
    run = Run(tmp_path)
    run.train(minutes=0)
    before = run.contents
    run.state.update(run.loss(1) * bad)
    after = {name: getattr(run.state, name) for name in ("step", "ema")}
    assert after["step"] == before["step"] + 1
    for kept, now in ((before["model"], run.state.model.state_dict()), (before["ema"], after["ema"])):
        assert all(torch.equal(kept[name], now[name]) for name in kept)
    moments = tensors(run.state.optimizer.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(tensors(before["optimizer"]), moments, strict=True))


def with_bad_steps(run: Run, bad: set[int]) -> Loss:
    return lambda step: run.loss(step) * (float("nan") if step in bad else 1.0)


def test_ten_losses_in_a_row_that_are_no_numbers_stop_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path, LoopConfig(steps=30))
    with pytest.raises(InputError, match="not finite 10 times in a row at step 14"):
        run.train(with_bad_steps(run, set(range(4, 30))))
    assert run.steps[-1] == 13


def test_nine_in_a_row_do_not(tmp_path: Path) -> None:
    run = Run(tmp_path, LoopConfig(steps=24))
    bad = set(range(MAX_BAD_STEPS - 1)) | set(range(MAX_BAD_STEPS, 2 * MAX_BAD_STEPS - 1))
    assert run.train(with_bad_steps(run, bad))
    assert all(bool(torch.isfinite(parameter).all()) for parameter in run.state.parameters)


def test_the_rate_rises_stays_and_falls() -> None:
    state = TrainState(nn.Linear(1, 1), LoopConfig(steps=100, lr=1.0, warmup_steps=10, decay_share=0.5))
    rates = []
    for state.step in range(101):
        rates.append(state.learning_rate())
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10:51] == [1.0] * 41
    assert all(later < sooner for sooner, later in pairwise(rates[50:]))
    assert rates[100] == pytest.approx(0.02)


def test_metrics_are_a_row_a_log(tmp_path: Path) -> None:
    told: list[int] = []
    run = Run(tmp_path, LoopConfig(steps=6, log_every_steps=2))
    train(run.state, tmp_path, run.loss, lambda step, _: told.append(step))
    rows = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [row["step"] for row in rows] == told == [2, 4, 6]
    assert {"loss", "gradient_norm", "lr", "s_per_step"} < set(rows[0])
