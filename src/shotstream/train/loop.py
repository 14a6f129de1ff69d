"""The training loop of every stage: steps, metrics, samples, checkpoints and exact resume."""

import math
import signal
import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Self

import torch
from torch import Tensor

from shotstream.core.atomic_files import make_directory
from shotstream.core.errors import InputError
from shotstream.train.checkpoint import find_checkpoints, read_newest, set_damaged_aside
from shotstream.train.config import LoopConfig
from shotstream.train.distributed import DistributedContext
from shotstream.train.metrics_log import MetricsLog
from shotstream.train.state import TrainState

MAX_BAD_STEPS = 10
NETWORK = "network"
"""Name of the only network of a stage that has no critic."""
SampleWriter = Callable[[int, Path], Mapping[str, float]]
"""Writes samples of a step's weights into a directory, and returns their scores by name."""


class Stage(ABC):
    """Networks in training, and the loss of each.

    A stage returns the mean loss of one micro-batch. The loop divides it by the number of micro-batches, so that
    gradient and logged loss are means over the whole batch.
    """

    state: TrainState

    def updates(self, step: int) -> Sequence[str]:  # noqa: ARG002
        """Return the names of the networks that a step updates, in that order."""
        return tuple(self.state.trained)

    @abstractmethod
    def loss(self, network: str, step: int, micro_batch: int) -> Tensor:
        """Return a network's mean loss over one micro-batch.

        It depends on nothing but the arguments, the weights and the buffers: a resumed run repeats it exactly.
        """

    def finish_step(self, step: int, micro_batch: int) -> None:  # noqa: B027
        """Update the state's buffers of a micro-batch after the optimiser steps, with what later steps need."""


def train(
    stage: Stage,
    directory: Path,
    config: LoopConfig,
    distributed: DistributedContext,
    metrics: MetricsLog,
    *,
    minutes: float | None = None,
    sample: SampleWriter | None = None,
) -> bool:
    """Run a stage to its last step, from the newest checkpoint in `directory` that can be read, if there is one.

    Args:
        stage: freshly made; the checkpoint's contents replace its state.
        directory: where checkpoints and samples live.
        config: how long, and what is kept.
        distributed: the processes, and the precision of the forward pass.
        metrics: receives the means of every `config.log_every_steps` steps.
        minutes: stop after that long, to be continued later. None: no limit.
        sample: called every `config.sample_every_steps` steps and at the end, in all processes.

    Returns:
        Whether the last step is done. SIGTERM ends the step at hand, saves and returns False.

    Raises:
        InputError: a network's loss was not finite ten times in a row, a checkpoint is of other networks, or the disk
            is full.
    """
    state, micro_batches = stage.state, distributed.own_micro_batches(config.micro_batches)
    if find_checkpoints(make_directory(directory)):
        set_aside = set_damaged_aside if distributed.main else None
        read_newest(directory, lambda path: state.load(path, micro_batches), set_aside)
        distributed.wait()
    else:
        state.save(directory, distributed, config.keep_checkpoints)
    step_metrics = _StepMetrics(stage, metrics, distributed)
    saved = time.monotonic()
    with StopRequest(minutes) as stop:
        while state.step < config.steps:
            _step(stage, micro_batches, config.micro_batches, distributed, step_metrics)
            if state.step % config.log_every_steps == 0 or state.step == config.steps:
                step_metrics.write()
            done = state.step == config.steps
            if sample and config.sample_every_steps and (done or state.step % config.sample_every_steps == 0):
                _sample(sample, state, directory, distributed, metrics)
            leave, late = distributed.any(stop.asked), distributed.any(time.monotonic() - saved > config.save_every_s)
            if done or leave or late:
                state.save(directory, distributed, config.keep_checkpoints)
                saved = time.monotonic()
            if leave:
                break
    return state.step >= config.steps


class StopRequest:
    """Context manager that notes SIGTERM, so that the step at hand can be finished and saved."""

    def __init__(self, minutes: float | None = None) -> None:
        """Ask to stop after `minutes` as well; None: no limit."""
        self._ends = math.inf if minutes is None else time.monotonic() + 60 * minutes
        self._signalled = False

    @property
    def asked(self) -> bool:
        """Return whether the loop should stop: SIGTERM came, or the time is over."""
        return self._signalled or time.monotonic() > self._ends

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._signalled = True


def _step(
    stage: Stage, own: Sequence[int], total: int, distributed: DistributedContext, step_metrics: "_StepMetrics"
) -> None:
    """Run all updates of one step; the average moves only if its network was updated."""
    state, moved = stage.state, False
    for name in stage.updates(state.step):
        loss = 0.0
        for micro_batch in own:
            with distributed.autocast():
                share = stage.loss(name, state.step, micro_batch) / total
            (share * distributed.processes).backward()  # sharded gradients are averaged over the processes
            loss += float(share.detach())
        loss, trained = distributed.sum([loss])[0], state.trained[name]
        norm = trained.update(state.step) if math.isfinite(loss) else trained.skip()
        if step_metrics.add(name, loss, norm) and name == state.averaged:
            moved = True
    for micro_batch in own:
        stage.finish_step(state.step, micro_batch)
    state.step += 1
    if moved:
        state.update_average()


def _sample(
    sample: SampleWriter, state: TrainState, directory: Path, distributed: DistributedContext, metrics: MetricsLog
) -> None:
    target = make_directory(directory / "samples") / f"step-{state.step:08d}"
    scores = sample(state.step, target)
    if distributed.main:
        metrics.write(state.step, scores)
    distributed.wait()


class _StepMetrics:
    """Means of the metrics of a few steps. Updates whose loss or gradient is not finite are counted and left out."""

    def __init__(self, stage: Stage, metrics: MetricsLog, distributed: DistributedContext) -> None:
        self._state, self._log, self._distributed = stage.state, metrics, distributed
        self._bad: Counter[str] = Counter()
        self._begin()

    def add(self, name: str, loss: float, norm: float) -> bool:
        """Note loss and gradient norm of a network's update, and return whether they are finite.

        Raises:
            InputError: it is that network's tenth in a row that is not finite.
        """
        if math.isfinite(norm) and math.isfinite(loss):
            self._bad[name] = 0
            self._seen[f"{name}/loss"].append(loss)
            self._seen[f"{name}/gradient_norm"].append(norm)
            return True
        self._bad[name] += 1
        self._skipped += 1
        if self._bad[name] >= MAX_BAD_STEPS:
            where = f"{self._bad[name]} times in a row at step {self._state.step}"
            advice = "lower the rate, or go back to an older checkpoint"
            raise InputError(f"the loss of {name} was not finite {where}; {advice}")
        return False

    def write(self) -> None:
        """Log the means since the last call."""
        steps = max(1, self._state.step - self._since_step)
        rates = {f"{name}/lr": one.learning_rate(self._state.step - 1) for name, one in self._state.trained.items()}
        means = {name: sum(values) / len(values) for name, values in self._seen.items()}
        metrics = {"s_per_step": (time.monotonic() - self._since) / steps, **rates, **means}
        if self._skipped:
            metrics["skipped_updates"] = float(self._skipped)
        if self._distributed.device.type == "cuda":
            metrics["peak_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        if self._distributed.main:
            self._log.write(self._state.step, metrics)
        self._begin()

    def _begin(self) -> None:
        self._since, self._since_step, self._skipped = time.monotonic(), self._state.step, 0
        self._seen: defaultdict[str, list[float]] = defaultdict(list)
