"""The training loop: exact resume, checkpoints that survive anything, and losses that are no numbers."""

import errno
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.train.checkpoint import CHECKPOINTS, find_checkpoints, read_weights
from shotstream.train.config import DistributedConfig, LoopConfig, OptimizerConfig
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import MAX_BAD_STEPS, NETWORK, Stage, train
from shotstream.train.metrics_log import METRICS, MetricsLog
from shotstream.train.state import TrainState
from shotstream.train.trained_network import TrainedNetwork

STEPS = 8
CONFIG = LoopConfig(STEPS, ema_decay=0.9, log_every_steps=1)
OPTIMIZER = OptimizerConfig(lr=0.1, warmup_steps=3)
EXECUTION = DistributedContext(torch.device("cpu"), DistributedConfig(precision="float32"))  # the same on every chip
Contents = Callable[[Path], dict[str, Tensor]]
Factor = Callable[[int], float]


class Line(Stage):
    """A linear map in training; `asked` lists the step and part of every loss. `factor` of a step spoils its loss."""

    def __init__(self, config: LoopConfig = CONFIG, *, factor: Factor = lambda _: 1.0, inputs: int = 4) -> None:
        torch.manual_seed(0)
        self.network, self._factor = nn.Linear(inputs, 2), factor
        self.state = TrainState({NETWORK: TrainedNetwork(self.network, OPTIMIZER, config.steps)}, config.ema_decay)
        self.config, self.asked = config, list[tuple[int, int]]()

    @property
    def steps(self) -> list[int]:
        return [step for step, _ in self.asked]

    def loss(self, network: str, step: int, micro_batch: int) -> Tensor:  # noqa: ARG002
        self.asked.append((step, micro_batch))
        data = torch.randn(
            3, self.network.in_features, generator=torch.Generator().manual_seed(100 * micro_batch + step)
        )
        return self.network(data).square().mean() * self._factor(step)

    def run(self, directory: Path, minutes: float | None = None) -> bool:
        metrics = MetricsLog(directory, lambda *_: None)
        return train(self, directory, self.config, EXECUTION, metrics, minutes=minutes)


def saved_names(directory: Path) -> list[str]:
    """Everything that lies beside the checkpoints, partials too."""
    return sorted(path.name for path in (directory / CHECKPOINTS).iterdir())


def rows(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / METRICS).read_text().splitlines()]


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert len(one) > 6
    assert all(torch.equal(value, other[name]) for name, value in one.items())


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
def whole(tmp_path: Path, contents: Contents) -> dict[str, Tensor]:
    """The last checkpoint of an uninterrupted run."""
    assert Line().run(tmp_path / "whole")
    return contents(tmp_path / "whole")


@pytest.mark.parametrize("stop_after", [1, 3, 7])
def test_resumed_after_sigterm_equals_uninterrupted(
    whole: dict[str, Tensor], tmp_path: Path, contents: Contents, stop_after: int
) -> None:
    def stop(step: int) -> float:
        if step == stop_after - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return 1.0

    directory, before = tmp_path / "broken", signal.getsignal(signal.SIGTERM)
    broken = Line(factor=stop)
    assert not broken.run(directory)
    assert signal.getsignal(signal.SIGTERM) is before
    assert int(contents(directory)["step"]) == stop_after, "the step in work is finished, and saved"
    resumed = Line()
    assert resumed.run(directory)
    assert broken.steps + resumed.steps == list(range(STEPS))
    assert_same(contents(directory), whole)


def test_resumed_after_a_crash_equals_uninterrupted(
    whole: dict[str, Tensor], tmp_path: Path, contents: Contents
) -> None:
    def crash(step: int) -> float:
        if step == 5:
            raise MemoryError
        return 1.0

    with pytest.raises(MemoryError):
        Line(replace(CONFIG, save_every_s=0.0), factor=crash).run(tmp_path / "broken")
    resumed = Line()
    assert resumed.run(tmp_path / "broken")
    assert resumed.steps == [5, 6, 7]
    assert_same(contents(tmp_path / "broken"), whole)


def test_resumed_after_its_minutes_equals_uninterrupted(
    whole: dict[str, Tensor], tmp_path: Path, contents: Contents
) -> None:
    for step in range(STEPS):
        piece = Line()
        assert piece.run(tmp_path / "pieces", minutes=0) == (step == STEPS - 1)
        assert piece.steps == [step]
    assert_same(contents(tmp_path / "pieces"), whole)


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    assert Line().run(tmp_path)
    again = Line()
    assert again.run(tmp_path)
    assert again.steps == []


def test_gradient_and_logged_loss_are_means_over_the_micro_batches(tmp_path: Path) -> None:
    line = Line(LoopConfig(1, micro_batches=4))
    reference, data = nn.Linear(4, 2), Line()
    reference.load_state_dict(line.network.state_dict())
    data.network = reference
    loss = torch.stack([data.loss(NETWORK, 0, micro_batch) for micro_batch in range(4)]).mean()
    loss.backward()
    line.run(tmp_path)
    assert rows(tmp_path)[0]["network/loss"] == pytest.approx(loss.item())
    assert line.asked == [(0, micro_batch) for micro_batch in range(4)]
    moments = line.state.trained[NETWORK].moments()
    beta = OPTIMIZER.betas[0]
    norm = nn.utils.clip_grad_norm_(reference.parameters(), OPTIMIZER.clip_norm)
    assert norm > 0
    for moment, parameter in zip(moments.values(), reference.parameters(), strict=True):
        torch.testing.assert_close(moment["exp_avg"], (1 - beta) * parameter.grad)


def test_the_average_lags_behind(whole: dict[str, Tensor]) -> None:
    weights = {name.split(".")[-1]: value for name, value in whole.items() if name.startswith("networks.")}
    average = {name.split(".")[-1]: value for name, value in whole.items() if name.startswith("ema.")}
    assert weights.keys() == average.keys() == {"weight", "bias"}
    assert all(not torch.equal(weights[name], average[name]) for name in weights)


def test_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    assert Line(replace(CONFIG, save_every_s=0.0, keep_checkpoints=3)).run(tmp_path)
    assert saved_names(tmp_path) == ["step-00000006", "step-00000007", "step-00000008"]


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / CHECKPOINTS / ".step-00000005.part"
    left.mkdir(parents=True)
    (left / "__0_0.distcp").write_bytes(b"half")
    assert Line().run(tmp_path)
    assert saved_names(tmp_path) == ["step-00000000", "step-00000008"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line()
    line.state.save(tmp_path, EXECUTION, keep=1)
    good = contents(tmp_path)
    calls = []

    def fill_the_disk(_: object, target: Any, *__: object, **___: object) -> None:
        calls.append(target.write(b"half a checkpoint"))
        raise OSError(errno.ENOSPC, "No space left on device")

    line.state.step = 5
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fill_the_disk)
        with pytest.raises(InputError, match="the disk is full"):
            line.state.save(tmp_path, EXECUTION, keep=1)
    assert calls
    assert saved_names(tmp_path) == ["step-00000000"], "nothing half written is left"
    assert_same(contents(tmp_path), good)


def test_a_disk_that_really_fills_leaves_the_last_checkpoint(
    tmp_path: Path, contents: Contents, file_size_limit: FileSizeLimit
) -> None:
    line = Line(inputs=5000)
    line.state.save(tmp_path, EXECUTION, keep=1)
    good = contents(tmp_path)
    line.state.step = 5
    with file_size_limit(20_000), pytest.raises(InputError, match="cannot write"):
        line.state.save(tmp_path, EXECUTION, keep=1)
    assert saved_names(tmp_path) == ["step-00000000"]
    assert_same(contents(tmp_path), good)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    Line(inputs=5).state.save(tmp_path, EXECUTION, keep=1)
    with pytest.raises(InputError, match=r"expected networks\.network\.weight of shape \[2, 4\].*has \[2, 5\]"):
        Line().run(tmp_path)


def test_a_checkpoint_that_lacks_an_optimiser_or_an_average_is_refused(tmp_path: Path) -> None:
    line = Line(replace(CONFIG, ema_decay=0.0))
    line.state.save(tmp_path / "average", EXECUTION, keep=1)
    with pytest.raises(InputError, match=r"expected ema\.weight .* lacks it; name another run"):
        Line().run(tmp_path / "average")
    line.network.weight.requires_grad_(False)
    line.state.save(tmp_path / "optimiser", EXECUTION, keep=1)
    with pytest.raises(InputError, match=r"expected optimizers\.network\.weight\.\w+ .* lacks it"):
        Line(replace(CONFIG, ema_decay=0.0)).run(tmp_path / "optimiser")


def cut_off(checkpoint: Path) -> None:
    micro_batch = next(checkpoint.glob("*.distcp"))
    micro_batch.write_bytes(micro_batch.read_bytes()[: micro_batch.stat().st_size // 2])


def lose_the_list(checkpoint: Path) -> None:
    (checkpoint / ".metadata").unlink()


def spoil_the_list(checkpoint: Path) -> None:
    data = bytearray((checkpoint / ".metadata").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    (checkpoint / ".metadata").write_bytes(data)


def flip_a_bit(checkpoint: Path) -> None:
    micro_batch = next(checkpoint.glob("*.distcp"))
    data = bytearray(micro_batch.read_bytes())
    data[len(data) // 2] ^= 1
    micro_batch.write_bytes(data)


@pytest.mark.parametrize("spoil", [cut_off, flip_a_bit, lose_the_list, spoil_the_list])
def test_the_checkpoint_before_a_damaged_one_is_used(
    spoil: Callable[[Path], None],
    tmp_path: Path,
    whole: dict[str, Tensor],
    contents: Contents,
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Line(replace(CONFIG, save_every_s=0.0, keep_checkpoints=2))
    line.config = replace(line.config, steps=4)
    line.run(tmp_path)
    notes = tmp_path / CHECKPOINTS / "step-by-step notes.txt"
    notes.write_text("a foreign file")
    spoil(find_checkpoints(tmp_path)[-1])
    assert len(read_weights(tmp_path, NETWORK)) == 2
    assert Line().run(tmp_path)
    assert_same(contents(tmp_path), whole)
    assert saved_names(tmp_path) == ["step-00000003", "step-00000004.damaged", "step-00000008", notes.name]
    said = [one.getMessage() for one in caplog.records if one.name.startswith("shotstream")]
    assert len(said) == 2, "one warning each time it was read"
    assert all("step-00000004" in line and "step-00000003, is used instead" in line for line in said)


@pytest.mark.parametrize("spoil", [cut_off, lose_the_list])
def test_where_no_checkpoint_can_be_read_the_advice_says_what_to_remove(
    spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    Line().run(tmp_path)
    for checkpoint in find_checkpoints(tmp_path):
        spoil(checkpoint)
    with pytest.raises(InputError, match=r"cannot read the checkpoint .*step-00000008: .*; .* or remove .* to train"):
        Line().run(tmp_path)
    assert saved_names(tmp_path) == ["step-00000000", "step-00000008"], "nothing is renamed where nothing can go on"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_changes_nothing(tmp_path: Path, contents: Contents, bad: float) -> None:
    line = Line(replace(CONFIG, save_every_s=0.0), factor=lambda step: bad if step == 4 else 1.0)
    line.config = replace(line.config, steps=4)
    line.run(tmp_path)
    before = contents(tmp_path)
    line.config = replace(line.config, steps=5)
    line.run(tmp_path)
    after = contents(tmp_path)
    assert (int(before.pop("step")), int(after.pop("step"))) == (4, 5)
    assert_same(after, before)
    assert [row.get("skipped_updates") for row in rows(tmp_path)] == [None] * 4 + [1.0]


def test_a_loss_that_is_no_number_but_has_a_gradient_changes_nothing(tmp_path: Path, contents: Contents) -> None:
    class Offset(Line):
        def loss(self, network: str, step: int, micro_batch: int) -> Tensor:
            return super().loss(network, step, micro_batch) + float("inf")

    line = Offset(LoopConfig(1))
    before = {name: value.clone() for name, value in line.network.state_dict().items()}
    line.run(tmp_path)
    after = contents(tmp_path)
    assert int(after["step"]) == 1
    assert all(torch.equal(after[f"networks.network.{name}"], value) for name, value in before.items())


def spoilt(bad: set[int]) -> Factor:
    return lambda step: float("nan") if step in bad else 1.0


def test_ten_losses_in_a_row_that_are_no_numbers_stop_the_run(tmp_path: Path) -> None:
    line = Line(LoopConfig(30), factor=spoilt(set(range(4, 30))))
    with pytest.raises(InputError, match="not finite 10 times in a row at step 13"):
        line.run(tmp_path)
    assert line.steps[-1] == 13


def test_nine_in_a_row_do_not(tmp_path: Path) -> None:
    bad = set(range(MAX_BAD_STEPS - 1)) | set(range(MAX_BAD_STEPS, 2 * MAX_BAD_STEPS - 1))
    line = Line(LoopConfig(24), factor=spoilt(bad))
    assert line.run(tmp_path)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in line.network.parameters())
    assert sum(row["skipped_updates"] for row in rows(tmp_path) if "skipped_updates" in row) == len(bad)


class Pair(Line):
    """Two of them, of which the first is averaged; `bad` ones of them are spoilt at every step."""

    def __init__(self, config: LoopConfig, bad: str) -> None:
        super().__init__(config)
        self._networks, self._bad = {name: nn.Linear(4, 2) for name in ("generator", "critic")}, bad
        trained = {name: TrainedNetwork(one, OPTIMIZER, config.steps) for name, one in self._networks.items()}
        self.state = TrainState(trained, config.ema_decay)

    def loss(self, network: str, step: int, micro_batch: int) -> Tensor:
        self.network = self._networks[network]
        return super().loss(network, step, micro_batch) * (float("nan") if network == self._bad else 1.0)


@pytest.mark.parametrize("bad", ["generator", "critic"])
def test_one_network_of_two_is_never_spoilt_for_long(tmp_path: Path, bad: str) -> None:
    with pytest.raises(InputError, match=f"loss of {bad} was not finite 10 times in a row at step 9"):
        Pair(LoopConfig(30), bad).run(tmp_path)


@pytest.mark.parametrize(("bad", "moves"), [("critic", True), ("generator", False)])
def test_the_average_follows_its_network_whatever_the_other_does(tmp_path: Path, bad: str, moves: bool) -> None:
    pair = Pair(replace(CONFIG, steps=1), bad)
    before = {name: value.clone() for name, value in pair.state.ema.items()}
    pair.run(tmp_path)
    assert [not torch.equal(value, before[name]) for name, value in pair.state.ema.items()] == [moves] * len(before)


def test_the_rate_rises_stays_and_falls() -> None:
    trained = TrainedNetwork(nn.Linear(1, 1), OptimizerConfig(lr=1.0, warmup_steps=10, decay_share=0.5), 100)
    rates = [trained.learning_rate(step) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10:51] == [1.0] * 41
    assert all(later < sooner for sooner, later in pairwise(rates[50:]))
    assert rates[100] == pytest.approx(0.02)


def test_a_rate_that_does_not_fall_stays_to_the_end() -> None:
    trained = TrainedNetwork(nn.Linear(1, 1), OptimizerConfig(lr=1.0, warmup_steps=1, decay_share=0.0), 100)
    assert [trained.learning_rate(step) for step in range(100)] == [1.0] * 100


def test_metrics_are_a_row_a_log(tmp_path: Path) -> None:
    told: list[int] = []
    line = Line(LoopConfig(6, log_every_steps=2))
    train(line, tmp_path, line.config, EXECUTION, MetricsLog(tmp_path, lambda step, _: told.append(step)))
    assert [row["step"] for row in rows(tmp_path)] == told == [2, 4, 6]
    assert {"network/loss", "network/gradient_norm", "network/lr", "s_per_step"} < set(rows(tmp_path)[0])


def test_samples_are_made_every_few_steps_and_at_the_end(tmp_path: Path) -> None:
    line, made = Line(replace(CONFIG, sample_every_steps=3)), dict[int, Path]()

    def sample(step: int, directory: Path) -> Mapping[str, float]:
        made[step] = directory
        return {"reader/cut_accuracy": 0.5}

    train(line, tmp_path, line.config, EXECUTION, MetricsLog(tmp_path, lambda *_: None), sample=sample)
    assert list(made) == [3, 6, 8]
    assert made[3] == tmp_path / "samples" / "step-00000003"
    assert [row["step"] for row in rows(tmp_path) if "reader/cut_accuracy" in row] == [3, 6, 8]


def test_parts_that_cannot_be_shared_out_are_refused(tmp_path: Path) -> None:
    several = DistributedContext(torch.device("cpu"), DistributedConfig())
    several.processes = 3
    line = Line(LoopConfig(2, micro_batches=4))
    with pytest.raises(InputError, match=r"loop\.micro_batches to be a multiple of the 3 processes, got 4"):
        train(line, tmp_path, line.config, several, MetricsLog(tmp_path, lambda *_: None))
    assert [list(several.own_micro_batches(6)), line.steps] == [[0, 3], []]


def test_the_oldest_checkpoints_go_first(tmp_path: Path) -> None:
    line = Line()
    for step in (9, 10, 100):
        line.state.step = step
        line.state.save(tmp_path, EXECUTION, keep=2)
    assert [path.name for path in find_checkpoints(tmp_path)] == ["step-00000010", "step-00000100"]
