"""The loop every stage of training runs in: steps, logging, checkpoints that survive anything, and exact resume."""

import json
import math
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.core.files import make_directory, replacing, writing

CHECKPOINT, METRICS = "checkpoint.pt", "metrics.jsonl"
MAX_BAD_STEPS = 10
Report = Callable[[int, dict[str, float]], None]
"""Told a step's number and its figures."""


@dataclass(frozen=True)
class LoopConfig:
    """How long and how fast a stage learns.

    The learning rate rises over `warmup_steps`, stays, and falls to `final_lr_ratio` of itself over the last
    `decay_share` of the run. `ema_decay` 0 keeps no average.
    """

    steps: int
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    warmup_steps: int = 100
    decay_share: float = 0.3
    final_lr_ratio: float = 0.02
    ema_decay: float = 0.0
    log_every_steps: int = 20
    save_every_s: float = 120.0


class TrainState:
    """Everything a resume needs: weights, optimiser, average, and the step. Data and noise follow from the step."""

    def __init__(self, model: nn.Module, config: LoopConfig) -> None:
        self.model, self.config, self.step = model, config, 0
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        keep = model.state_dict() if config.ema_decay else {}
        self.ema = {name: value.detach().clone().float() for name, value in keep.items()}

    def save(self, path: Path) -> None:
        """Writes the state whole or not at all."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema,
        }
        with replacing(path) as partial, writing(path), partial.open("wb") as file:
            torch.save(state, file)

    def load(self, path: Path) -> None:
        """Continues from a state written by `save`.

        Raises:
            InputError: it is of a model of another shape.
        """
        state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path}: this checkpoint is of another run ({reason}); name another run") from error
        self.ema = {name: value.to(self.parameters[0].device, copy=True) for name, value in state["ema"].items()}
        self.step = int(state["step"])

    def average(self) -> dict[str, Tensor]:
        """The averaged weights, or the weights themselves where no average is kept."""
        return self.ema or {name: value.detach() for name, value in self.model.state_dict().items()}

    def learning_rate(self) -> float:
        """The rate of the current step."""
        config = self.config
        rate = config.lr * min(1.0, (self.step + 1) / config.warmup_steps)
        left = (config.steps - self.step) / max(1.0, config.decay_share * config.steps)
        if left >= 1:
            return rate
        fall = 0.5 - 0.5 * math.cos(math.pi * left)
        return rate * (config.final_lr_ratio + (1 - config.final_lr_ratio) * fall)

    def update(self, loss: Tensor) -> float:
        """One optimiser step; returns the gradient norm. A loss or gradient that is not finite changes nothing."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm))
        if math.isfinite(norm):
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate()
            self.optimizer.step()
            self._average()
        self.step += 1
        return norm

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            if name in self.ema:
                self.ema[name].lerp_(value.float(), 1 - decay)


def train(
    state: TrainState,
    directory: Path,
    loss_of_step: Callable[[int], Tensor],
    report: Report,
    minutes: float | None = None,
) -> bool:
    """Runs `state` to its last step, from the checkpoint in `directory` where there is one.

    Args:
        state: freshly made; the checkpoint's contents replace it.
        directory: where the checkpoint and `metrics.jsonl` live.
        loss_of_step: the loss of a step, a pure function of the step's number and the weights.
        report: told the step and its figures every few steps.
        minutes: stop after that long, to be continued later. None: no limit.

    Returns whether the last step is done. SIGTERM saves and returns False.

    Raises:
        InputError: the loss was not finite ten times in a row.
    """
    checkpoint = make_directory(directory) / CHECKPOINT
    if checkpoint.exists():
        state.load(checkpoint)
    else:
        state.save(checkpoint)
    log = _Log(directory / METRICS, report)
    started = saved = time.monotonic()
    with _StopOnSignal() as stop:
        while state.step < state.config.steps and not stop.asked:
            loss = loss_of_step(state.step)
            rate = state.learning_rate()
            log.add(float(loss.detach()), state.update(loss))
            if log.bad >= MAX_BAD_STEPS:
                where = f"{log.bad} times in a row at step {state.step}"
                raise InputError(f"the loss was not finite {where}; lower the rate")
            if state.step % state.config.log_every_steps == 0:
                log.write(state.step, rate)
            now = time.monotonic()
            if now - saved > state.config.save_every_s:
                state.save(checkpoint)
                saved = now
            if minutes is not None and now - started > 60 * minutes:
                break
        state.save(checkpoint)
    return state.step >= state.config.steps


class _Log:
    """Gathers the figures of a few steps and writes them as one row. `bad` counts the latest steps without a number."""

    def __init__(self, path: Path, report: Report) -> None:
        self._path, self._report = path, report
        self.bad = 0
        self._begin()

    def add(self, loss: float, norm: float) -> None:
        """A step's loss and gradient norm; a step that is not finite is only counted."""
        finite = math.isfinite(norm)
        self.bad = 0 if finite else self.bad + 1
        self._steps += 1
        if finite:
            self._losses.append(loss)
            self._norms.append(norm)

    def write(self, step: int, rate: float) -> None:
        """Appends a row and tells `report`."""
        figures = {"lr": rate, "s_per_step": (time.monotonic() - self._since) / max(1, self._steps)}
        if self._losses:
            figures["loss"] = sum(self._losses) / len(self._losses)
            figures["gradient_norm"] = sum(self._norms) / len(self._norms)
        if len(self._losses) < self._steps:
            figures["skipped_steps"] = self._steps - len(self._losses)
        with writing(self._path), self._path.open("a", encoding="utf8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        self._report(step, figures)
        self._begin()

    def _begin(self) -> None:
        self._steps, self._since = 0, time.monotonic()
        self._losses: list[float] = []
        self._norms: list[float] = []


class _StopOnSignal:
    """While entered, remembers that SIGTERM came, so that the step in work can finish and be saved."""

    def __enter__(self) -> Self:
        self.asked = False
        self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
