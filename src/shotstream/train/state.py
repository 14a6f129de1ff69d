"""State of a training stage: weights, optimisers, moving average, step, and tensors carried from step to step.

Samples, noise and noise levels are functions of step and micro-batch, so there is no random state to save.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.train.checkpoint import (
    EMA,
    NETWORKS,
    allocate,
    find_difference,
    load_tensors,
    save_checkpoint,
    stored_tensors,
)
from shotstream.train.distributed import DistributedContext
from shotstream.train.trained_network import TrainedNetwork

STEP, BUFFERS = "step", "buffers"


class TrainState:
    """Everything that a stage needs to go on after an interruption.

    Attributes:
        trained: the networks that the stage trains, by name. The first one is the averaged one.
        step: how many steps are done.
        ema: the moving average of the first network's weights, in float32; empty without an average.
        buffers: tensors that later steps need, by micro-batch of this process.
    """

    def __init__(self, trained: Mapping[str, TrainedNetwork], ema_decay: float = 0.0) -> None:
        """Begin at step 0; `ema_decay` 0 keeps no average."""
        self.trained, self.step, self.ema_decay = dict(trained), 0, ema_decay
        self.averaged = next(iter(trained))
        self.buffers: dict[int, dict[str, Tensor]] = {}
        self._restart_average()

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Load other weights into the averaged network, and restart the average from them."""
        self.trained[self.averaged].network.load_state_dict(weights)
        self._restart_average()

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the average towards the current weights; faster in the first steps."""
        decay = min(self.ema_decay, (1 + self.step) / (10 + self.step))
        weights = self.trained[self.averaged].network.state_dict() if self.ema else {}
        if weights:
            torch._foreach_lerp_(list(self.ema.values()), [weights[name].float() for name in self.ema], 1 - decay)

    def save(self, directory: Path, distributed: DistributedContext, keep: int) -> None:
        """Write a checkpoint of this step, whole or not at all, and remove all but the latest `keep`.

        Raises:
            InputError: it cannot be written.
        """
        buffers = {str(micro_batch): tensors for micro_batch, tensors in self.buffers.items()}
        state = {**self._tensors(), BUFFERS: buffers, STEP: torch.tensor(self.step)}
        save_checkpoint(directory, self.step, state, distributed, keep)

    def load(self, path: Path, micro_batches: Sequence[int]) -> None:
        """Continue from a checkpoint, with the buffers of the given micro-batches.

        Raises:
            DamagedCheckpointError: it cannot be read. The state may be half loaded then: load another checkpoint.
            InputError: it is of other networks.
        """
        stored = stored_tensors(path)
        state = self._tensors()
        shapes = {name: entry.size for name, entry in stored.items()}
        if found := find_difference({name: value.shape for name, value in _flatten(state)}, shapes):
            raise InputError(f"{path}: {found}; name another run")
        prefixes = tuple(f"{BUFFERS}.{micro_batch}." for micro_batch in micro_batches)
        buffers = {key: allocate(stored[key]) for key in stored if key.startswith(prefixes)}
        step = torch.zeros((), dtype=torch.long)
        load_tensors(path, {**state, **buffers, STEP: step})
        self.step, self.buffers = int(step), {}
        for key, value in buffers.items():
            _, micro_batch, name = key.split(".", 2)
            self.buffers.setdefault(int(micro_batch), {})[name] = value

    def _restart_average(self) -> None:
        weights = self.trained[self.averaged].network.state_dict() if self.ema_decay else {}
        self.ema = {name: value.detach().clone().float() for name, value in weights.items()}

    def _tensors(self) -> dict[str, Any]:
        """Return references to all tensors but buffers and step, so that loading into them loads the networks."""
        return {
            NETWORKS: {name: one.network.state_dict() for name, one in self.trained.items()},
            "optimizers": {name: one.moments() for name, one in self.trained.items()},
            EMA: self.ema,
        }


def _flatten(state: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors with the names that they have in a checkpoint."""
    for name, value in state.items():
        inner = _flatten(value) if isinstance(value, Mapping) else [("", value)]
        yield from ((f"{name}.{rest}".removesuffix("."), tensor) for rest, tensor in inner)
