"""Everything a resume needs: weights, optimisers, average, step, and what a stage remembers.

Data, noise and noise levels are functions of the step and the part, so there is no random state to keep. Checkpoints
are PyTorch's distributed ones: written by any number of processes, read by any other number, on any device.
"""

import json
import logging
import math
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.tensor import DTensor

from shotstream.core.atomic_files import PARTIAL_SUFFIX, hash_file, make_directory, write_json, writing
from shotstream.core.errors import InputError
from shotstream.train.config import OptimizerConfig
from shotstream.train.distributed import DistributedContext
from shotstream.train.muon import Muon, is_hidden_matrix

CHECKPOINTS, PREFIX, CHECKSUMS = "checkpoints", "step-", "checksums.json"
STEP, EMA, MEMORY = "step", "ema", "memory"
T = TypeVar("T")
_NAME = re.compile(rf"{PREFIX}\d{{8,}}", re.ASCII)
_log = logging.getLogger(__name__)


class DamagedCheckpointError(InputError):
    """A checkpoint that cannot be read: a file of it is missing, cut off or changed."""


class Trained:
    """A network that is trained, with its optimisers: AdamW, and Muon for hidden matrices where that is wanted."""

    def __init__(self, network: nn.Module, config: OptimizerConfig, steps: int, *, bfloat16: bool = False) -> None:
        """Optimisers for the weights of `network` that have gradients; weights and moments stay in float32.

        Args:
            network: where it is to be trained.
            config: the optimiser's.
            steps: how many there will be, which decides the learning rates.
            bfloat16: whether Muon iterates in bfloat16.
        """
        self.network, self.config, self.steps = network, config, steps
        named = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
        matrices = {
            name: one for name, one in named.items() if config.matrices == "muon" and is_hidden_matrix(name, one)
        }
        rest = [parameter for name, parameter in named.items() if name not in matrices]
        self.parameters = list(named.values())
        self.optimizers: list[torch.optim.Optimizer] = []
        if rest:
            decay = config.weight_decay
            self.optimizers.append(
                torch.optim.AdamW(rest, lr=config.lr, betas=config.betas, weight_decay=decay, fused=True)
            )
        if matrices:
            dtype = torch.bfloat16 if bfloat16 else torch.float32
            self.optimizers.append(Muon(matrices.values(), config.lr, config.weight_decay, dtype))

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        config = self.config
        rate = config.lr * min(1.0, (step + 1) / max(1, config.warmup_steps))
        left = (self.steps - step) / max(1.0, config.decay_share * self.steps)
        if left >= 1:
            return rate
        fall = 0.5 - 0.5 * math.cos(math.pi * left)
        return rate * (config.final_lr_ratio + (1 - config.final_lr_ratio) * fall)

    def update(self, step: int) -> float:
        """One optimiser step with the gradients there are, which it clears; returns their norm.

        A norm that is not finite changes nothing but the gradients.
        """
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        value = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        if math.isfinite(value):
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = self.rate(step)
                optimizer.step()
        self.network.zero_grad(set_to_none=True)
        return value

    def skip(self) -> float:
        """Clears the gradients there are instead; their norm counts as NaN."""
        self.network.zero_grad(set_to_none=True)
        return math.nan

    def moments(self) -> dict[str, dict[str, Tensor]]:
        """What the optimisers keep of every trained weight, by its name; zeros before the first step."""
        names = {parameter: name for name, parameter in self.network.named_parameters()}
        kept = {}
        for optimizer in self.optimizers:
            parameters = [one for group in optimizer.param_groups for one in group["params"] if one.requires_grad]
            for parameter in parameters:
                state = optimizer.state[parameter]
                if not state and isinstance(optimizer, Muon):
                    state["momentum"] = torch.zeros_like(parameter)
                elif not state:
                    state["step"] = torch.zeros((), device=parameter.device)
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                kept[names[parameter]] = dict(state)
        return kept


class TrainState:
    """The networks a stage trains, by name; the average of the first of them; the step; and the stage's memory.

    `memory` holds, for each part of a batch that is this process's, tensors that later steps need.
    """

    def __init__(self, trained: Mapping[str, Trained], ema_decay: float = 0.0) -> None:
        self.trained, self.step, self.ema_decay = dict(trained), 0, ema_decay
        self.averaged = next(iter(trained))
        weights = self.trained[self.averaged].network.state_dict() if ema_decay else {}
        self.ema = {name: value.detach().clone().float() for name, value in weights.items()}
        self.memory: dict[int, dict[str, Tensor]] = {}

    @torch.no_grad()
    def begin(self, weights: Mapping[str, Tensor]) -> None:
        """Other weights for the network whose average is kept, and for the average."""
        network = self.trained[self.averaged].network
        network.load_state_dict(weights)
        self.ema = {name: value.detach().clone().float() for name, value in network.state_dict().items() if self.ema}

    @torch.no_grad()
    def average(self) -> None:
        """Moves the average towards the weights."""
        decay = min(self.ema_decay, (1 + self.step) / (10 + self.step))
        weights = self.trained[self.averaged].network.state_dict() if self.ema else {}
        if weights:
            torch._foreach_lerp_(list(self.ema.values()), [weights[name].float() for name in self.ema], 1 - decay)

    def save(self, directory: Path, execution: DistributedContext, keep: int) -> None:
        """Writes a checkpoint whole or not at all, and removes all but the latest `keep`.

        Raises:
            InputError: it cannot be written.
        """
        final = make_directory(directory / CHECKPOINTS) / f"{PREFIX}{self.step:08d}"
        if final.exists():
            return
        partial = final.with_name(f".{final.name}{PARTIAL_SUFFIX}")
        memory = {str(part): tensors for part, tensors in self.memory.items()}
        state = {**self._tensors(), MEMORY: memory, STEP: torch.tensor(self.step)}
        if execution.main:
            _remove_partials(final.parent)
        execution.wait()
        try:
            with _saving(final):
                dcp.save(state, checkpoint_id=partial)
                if execution.main:
                    write_json(partial / CHECKSUMS, {path.name: hash_file(path) for path in _data_files(partial)})
                    partial.rename(final)
                    for old in find_checkpoints(directory)[:-keep]:
                        old.rename(old.with_name(f".{old.name}{PARTIAL_SUFFIX}"))
        finally:
            if execution.main:
                _remove_partials(final.parent)
        execution.wait()

    def load(self, path: Path, parts: Sequence[int]) -> None:
        """Continues from a checkpoint; of the memory, what belongs to `parts`.

        Raises:
            DamagedCheckpointError: it cannot be read. The state may be half loaded then: load another checkpoint.
            InputError: it is of other networks.
        """
        stored = stored_tensors(path)
        state = self._tensors()
        there = {name: entry.size for name, entry in stored.items()}
        if found := _difference({name: value.shape for name, value in _flat(state)}, there):
            raise InputError(f"{path}: {found}; name another run")
        memory = {key: _empty(stored, key) for part in parts for key in stored if key.startswith(f"{MEMORY}.{part}.")}
        step = torch.zeros((), dtype=torch.long)
        with _reading(path):
            _check_files(path)
            dcp.load({**state, **memory, STEP: step}, checkpoint_id=path)
        self.step, self.memory = int(step), {}
        for key, value in memory.items():
            _, part, name = key.split(".", 2)
            self.memory.setdefault(int(part), {})[name] = value

    def _tensors(self) -> dict[str, Any]:
        """Everything but memory and step, as it lies in memory: what is loaded into it is where it belongs."""
        return {
            "networks": {name: one.network.state_dict() for name, one in self.trained.items()},
            "optimizers": {name: one.moments() for name, one in self.trained.items()},
            EMA: self.ema,
        }


def find_checkpoints(directory: Path) -> list[Path]:
    """List the checkpoints of a stage, oldest first. Other files beside them are left alone."""
    found = (directory / CHECKPOINTS).glob(f"{PREFIX}*")
    return sorted(path for path in found if _NAME.fullmatch(path.name) and path.is_dir())


def read_newest(directory: Path, read: Callable[[Path], T], when_damaged: Callable[[Path], None] | None = None) -> T:
    """Read the newest checkpoint of a stage that can be read, and warn about each newer one that cannot.

    Args:
        directory: of the stage; it has at least one checkpoint.
        read: returns what is wanted of a checkpoint, or raises DamagedCheckpointError.
        when_damaged: called with the path of each damaged checkpoint, once an older one was read.

    Raises:
        InputError: none of the checkpoints can be read.
    """
    damaged: list[tuple[Path, DamagedCheckpointError]] = []
    for path in reversed(find_checkpoints(directory)):
        try:
            result = read(path)
        except DamagedCheckpointError as error:
            damaged.append((path, error))
            continue
        for bad, reason in damaged:
            _log.warning("%s; the checkpoint before it, %s, is used instead", reason, path.name)
            if when_damaged:
                when_damaged(bad)
        return result
    raise InputError(
        f"{damaged[0][1]}; {directory / CHECKPOINTS} has no other that can be read: put the files back from a copy, or "
        f"remove {directory} to train the stage from its start"
    )


def set_damaged_aside(path: Path) -> None:
    """Rename a damaged checkpoint to `NAME.damaged`, so that training can write that step again."""
    aside = path.with_name(f"{path.name}.damaged")
    if aside.exists():
        shutil.rmtree(aside)
    path.rename(aside)


def read_weights(directory: Path, network: str, *, average: bool = True) -> dict[str, Tensor]:
    """What a stage has made so far, on the CPU: the weights of `network`, or the average where one is kept and wanted.

    Raises:
        InputError: the stage has no checkpoint yet, or none that can be read.
    """
    if not find_checkpoints(directory):
        stage = directory.name
        raise InputError(f"{directory.parent} has no {stage} yet; run 'shotstream train {stage}' first")

    def read(path: Path) -> dict[str, Tensor]:
        stored = stored_tensors(path)
        averaged = average and any(key.startswith(f"{EMA}.") for key in stored)
        prefix = f"{EMA}." if averaged else f"networks.{network}."
        tensors = {key: _empty(stored, key) for key in stored if key.startswith(prefix)}
        with _reading(path):
            _check_files(path)
            dcp.load(tensors, checkpoint_id=path)
        return {key.removeprefix(prefix): value for key, value in tensors.items()}

    return read_newest(directory, read)


def stored_tensors(path: Path) -> dict[str, TensorStorageMetadata]:
    """Name, shape and type of every tensor in a checkpoint.

    Raises:
        DamagedCheckpointError: its list of contents (the file `.metadata`) is missing or damaged.
    """
    with _reading(path):
        entries = dcp.FileSystemReader(path).read_metadata().state_dict_metadata
        return {name: entry for name, entry in entries.items() if isinstance(entry, TensorStorageMetadata)}


def _remove_partials(directory: Path) -> None:
    """Remove the checkpoints that were being written or removed when a run was killed, and no other file."""
    for partial in directory.glob(f".{PREFIX}*{PARTIAL_SUFFIX}"):
        if _NAME.fullmatch(partial.name[1 : -len(PARTIAL_SUFFIX)]) and partial.is_dir():
            shutil.rmtree(partial)


def _flat(state: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Tensors by the names that they have in a checkpoint."""
    for name, value in state.items():
        inner = _flat(value) if isinstance(value, Mapping) else [("", value)]
        yield from ((f"{name}.{rest}".removesuffix("."), tensor) for rest, tensor in inner)


def _empty(stored: Mapping[str, TensorStorageMetadata], key: str) -> Tensor:
    return torch.empty(stored[key].size, dtype=stored[key].properties.dtype)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], whose: str) -> None:
    """Gives a network all of its weights; `whose` says in an error where they come from.

    Raises:
        InputError: they are of a network of another shape.
    """
    wanted, there = ({name: value.shape for name, value in one.items()} for one in (network.state_dict(), weights))
    found = _difference(wanted, there) or next((f"expected no {name}" for name in there if name not in wanted), "")
    if found:
        raise InputError(f"{whose} has another shape: {found}; give the --preset and the --set that it was made with")
    network.load_state_dict(weights)


def _difference(wanted: Mapping[str, torch.Size], there: Mapping[str, torch.Size]) -> str:
    """The first of the wanted tensors that is not there in that shape, in words; empty where all are."""
    for name, shape in wanted.items():
        if there.get(name) != shape:
            what = f"has {list(there[name])}" if name in there else "lacks it"
            return f"expected {name} of shape {list(shape)}, it {what}"
    return ""


@contextmanager
def _saving(path: Path) -> Iterator[None]:
    """A failed write as an InputError, also where another process failed."""
    with writing(path), _quiet():
        try:
            yield
        except dcp.api.CheckpointException as error:
            causes = [_system_error(cause) for cause, _ in error.failures.values()]
            cause = next((cause for cause in causes if cause is not None), None)
            if cause is None:
                raise
            raise cause from error


def _system_error(error: BaseException) -> OSError | None:
    """What the file system said: PyTorch's writer covers it with an error of its own, and other processes lose it."""
    covered: BaseException | None = error
    while covered is not None and not isinstance(covered, OSError):
        covered = covered.__context__
    if covered is None and "inline_container" in str(error):
        return OSError("a part was not written whole")
    return covered


def _data_files(checkpoint: Path) -> list[Path]:
    return sorted(checkpoint.glob("*.distcp"))


def _check_files(checkpoint: Path) -> None:
    """Raise ValueError for a file that is not as it was written: PyTorch's reader does not notice a changed weight."""
    if not (checkpoint / CHECKSUMS).is_file():
        return
    for name, expected in json.loads((checkpoint / CHECKSUMS).read_bytes()).items():
        if hash_file(checkpoint / name) != expected:
            raise ValueError(f"{name} is not as it was written")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Report any failure to read a checkpoint as DamagedCheckpointError; being out of memory is passed on as it is.

    Damaged bytes can make the readers below (pickle, zip) raise almost any exception.
    """
    try:
        with _quiet():
            yield
    except (Exception, dcp.api.CheckpointException) as error:
        failures = error.failures.values() if isinstance(error, dcp.api.CheckpointException) else [(error, None)]
        causes = [cause for cause, _ in failures]
        if memory := next((one for one in causes if isinstance(one, MemoryError | torch.OutOfMemoryError)), None):
            raise memory from error
        reason = " ".join(str(causes[0] if causes else error).split())[:160]
        if not (path / ".metadata").is_file():
            reason = "its file .metadata is missing; it is hidden, and copies such as 'cp dir/*' leave it behind"
        raise DamagedCheckpointError(f"cannot read the checkpoint {path}: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
