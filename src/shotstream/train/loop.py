"""The loop every stage runs in: steps, figures, checkpoints that survive anything, and exact resume."""

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
from shotstream.train.checkpoint import TrainState, find_checkpoints, read_newest, set_damaged_aside
from shotstream.train.config import LoopConfig
from shotstream.train.distributed import DistributedContext
from shotstream.train.metrics_log import MetricsLog

MAX_BAD_STEPS = 10
NETWORK = "network"
"""The name of the one network that a stage without a critic trains."""
Sampler = Callable[[int, Path], Mapping[str, float]]
"""Makes samples of the state after a step in a directory, and says how good they are."""


class Stage(ABC):
    """What a stage trains and on which loss. The loss of a part is its share: over all parts they sum to the mean."""

    state: TrainState

    def updates(self, step: int) -> Sequence[str]:  # noqa: ARG002
        """The networks that a step updates, in that order."""
        return tuple(self.state.trained)

    @abstractmethod
    def loss(self, network: str, step: int, part: int) -> Tensor:
        """The loss of one part of a step's batch: a pure function of the arguments, the weights and the memory."""

    def remember(self, step: int, part: int) -> None:  # noqa: B027
        """Called when a step is done, to keep in the state's memory what later steps need."""


def train(
    stage: Stage,
    directory: Path,
    config: LoopConfig,
    execution: DistributedContext,
    figures: MetricsLog,
    *,
    minutes: float | None = None,
    sample: Sampler | None = None,
) -> bool:
    """Run a stage to its last step, from the newest checkpoint in `directory` that can be read, if there is one.

    Args:
        stage: freshly made; the checkpoint's contents replace its state.
        directory: where checkpoints and samples live.
        config: how long, and what is kept.
        execution: the processes.
        figures: is given the figures of every few steps.
        minutes: stop after that long, to be continued later. None: no limit.
        sample: called every `config.sample_every_steps` steps and at the end, in the main process.

    Returns whether the last step is done. SIGTERM saves and returns False.

    Raises:
        InputError: a network's loss was not finite ten times in a row, a checkpoint is of other networks, or the disk
            is full.
    """
    state, parts = stage.state, execution.own_parts(config.parts)
    if find_checkpoints(make_directory(directory)):
        set_aside = set_damaged_aside if execution.main else None
        read_newest(directory, lambda path: state.load(path, parts), set_aside)
        execution.wait()
    else:
        state.save(directory, execution, config.keep_checkpoints)
    watch = _Watch(stage, figures, execution)
    saved = time.monotonic()
    with StopRequest(minutes) as stop:
        while state.step < config.steps:
            _step(stage, parts, config.parts, execution, watch)
            if state.step % config.log_every_steps == 0 or state.step == config.steps:
                watch.write()
            done = state.step == config.steps
            if sample and config.sample_every_steps and (done or state.step % config.sample_every_steps == 0):
                _sample(sample, state, directory, execution, figures)
            leave, late = execution.any(stop.asked), execution.any(time.monotonic() - saved > config.save_every_s)
            if done or leave or late:
                state.save(directory, execution, config.keep_checkpoints)
                saved = time.monotonic()
            if leave:
                break
    return state.step >= config.steps


class StopRequest:
    """While entered, remembers that SIGTERM came, so that the work in hand can finish and be saved."""

    def __init__(self, minutes: float | None = None) -> None:
        """Also asks to stop after `minutes`; None: no limit."""
        self._ends = math.inf if minutes is None else time.monotonic() + 60 * minutes
        self._signalled = False

    @property
    def asked(self) -> bool:
        """Whether it is time to stop."""
        return self._signalled or time.monotonic() > self._ends

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._signalled = True


def _step(stage: Stage, own: Sequence[int], parts: int, execution: DistributedContext, watch: "_Watch") -> None:
    """Every update of one step, and the average, which moves when the averaged network has."""
    state, moved = stage.state, False
    for name in stage.updates(state.step):
        loss = 0.0
        for part in own:
            with execution.arithmetic():
                share = stage.loss(name, state.step, part) / parts
            (share * execution.processes).backward()  # sharded gradients are averaged over the processes
            loss += float(share.detach())
        loss, trained = execution.total([loss])[0], state.trained[name]
        norm = trained.update(state.step) if math.isfinite(loss) else trained.skip()
        if watch.add(name, loss, norm) and name == state.averaged:
            moved = True
    for part in own:
        stage.remember(state.step, part)
    state.step += 1
    if moved:
        state.average()


def _sample(
    sample: Sampler, state: TrainState, directory: Path, execution: DistributedContext, figures: MetricsLog
) -> None:
    target = make_directory(directory / "samples") / f"step-{state.step:08d}"
    scores = sample(state.step, target)
    if execution.main:
        figures.write(state.step, scores)
    execution.wait()


class _Watch:
    """Gathers the figures of a few steps; a step whose loss or gradient is not finite is counted and left out."""

    def __init__(self, stage: Stage, figures: MetricsLog, execution: DistributedContext) -> None:
        self._state, self._figures, self._execution = stage.state, figures, execution
        self._bad: Counter[str] = Counter()
        self._begin()

    def add(self, name: str, loss: float, norm: float) -> bool:
        """Loss and gradient norm of a network's update; returns whether they are finite.

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
        """Hands on the means since the last time."""
        steps = max(1, self._state.step - self._since_step)
        rates = {f"{name}/lr": one.rate(self._state.step - 1) for name, one in self._state.trained.items()}
        means = {name: sum(values) / len(values) for name, values in self._seen.items()}
        figures = {"s_per_step": (time.monotonic() - self._since) / steps, **rates, **means}
        if self._skipped:
            figures["skipped_updates"] = float(self._skipped)
        if self._execution.device.type == "cuda":
            figures["peak_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        if self._execution.main:
            self._figures.write(self._state.step, figures)
        self._begin()

    def _begin(self) -> None:
        self._since, self._since_step, self._skipped = time.monotonic(), self._state.step, 0
        self._seen: defaultdict[str, list[float]] = defaultdict(list)
