"""Checkpoints on disk: PyTorch's distributed format, written whole or not at all, with checksums.

Any number of processes writes one, and any other number reads it, on any device.
"""

import json
import logging
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from shotstream.core.atomic_files import PARTIAL_SUFFIX, hash_file, make_directory, write_json, writing
from shotstream.core.errors import InputError
from shotstream.train.distributed import DistributedContext

CHECKPOINTS, PREFIX, CHECKSUMS = "checkpoints", "step-", "checksums.json"
NETWORKS, EMA = "networks", "ema"
T = TypeVar("T")
_NAME = re.compile(rf"{PREFIX}\d{{8,}}", re.ASCII)
_log = logging.getLogger(__name__)


class DamagedCheckpointError(InputError):
    """A checkpoint that cannot be read: one of its files is missing, cut off or changed."""


def find_checkpoints(directory: Path) -> list[Path]:
    """List the checkpoints of a stage, oldest first. Other files beside them are left alone."""
    found = (directory / CHECKPOINTS).glob(f"{PREFIX}*")
    return sorted(path for path in found if _NAME.fullmatch(path.name) and path.is_dir())


def save_checkpoint(
    directory: Path, step: int, state: Mapping[str, Any], distributed: DistributedContext, keep: int
) -> None:
    """Write a checkpoint of a stage, whole or not at all, and remove all but the latest `keep`.

    All processes call it together. A step that has its checkpoint already is left as it is.

    Raises:
        InputError: it cannot be written.
    """
    final = make_directory(directory / CHECKPOINTS) / f"{PREFIX}{step:08d}"
    if final.exists():
        return
    partial = final.with_name(f".{final.name}{PARTIAL_SUFFIX}")
    if distributed.main:
        _remove_partials(final.parent)
    distributed.wait()
    try:
        with _writing_checkpoint(final):
            dcp.save(dict(state), checkpoint_id=partial)
            if distributed.main:
                write_json(partial / CHECKSUMS, {path.name: hash_file(path) for path in partial.glob("*.distcp")})
                partial.rename(final)
                for old in find_checkpoints(directory)[:-keep]:
                    old.rename(old.with_name(f".{old.name}{PARTIAL_SUFFIX}"))
    finally:
        if distributed.main:
            _remove_partials(final.parent)
    distributed.wait()


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
    """Read the newest weights of a stage onto the CPU: of `network`, or their average if there is one.

    Args:
        directory: of the stage.
        network: name of the network in the stage.
        average: whether to prefer the average.

    Raises:
        InputError: the stage has no checkpoint yet, or none that can be read.
    """
    if not find_checkpoints(directory):
        stage = directory.name
        raise InputError(f"{directory.parent} has no {stage} yet; run 'shotstream train {stage}' first")

    def read(path: Path) -> dict[str, Tensor]:
        stored = stored_tensors(path)
        averaged = average and any(key.startswith(f"{EMA}.") for key in stored)
        prefix = f"{EMA}." if averaged else f"{NETWORKS}.{network}."
        tensors = {key: allocate(entry) for key, entry in stored.items() if key.startswith(prefix)}
        load_tensors(path, tensors)
        return {key.removeprefix(prefix): value for key, value in tensors.items()}

    return read_newest(directory, read)


def load_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    """Read tensors of a checkpoint into those given, which may be nested and sharded, after checking the checksums.

    Raises:
        DamagedCheckpointError: the checkpoint cannot be read.
    """
    with _reading_checkpoint(path):
        _verify_checksums(path)
        dcp.load(dict(tensors), checkpoint_id=path)


def stored_tensors(path: Path) -> dict[str, TensorStorageMetadata]:
    """Return shape and type of every tensor in a checkpoint, by name.

    Raises:
        DamagedCheckpointError: its list of contents (the file `.metadata`) is missing or damaged.
    """
    with _reading_checkpoint(path):
        entries = dcp.FileSystemReader(path).read_metadata().state_dict_metadata
        return {name: entry for name, entry in entries.items() if isinstance(entry, TensorStorageMetadata)}


def allocate(entry: TensorStorageMetadata) -> Tensor:
    """Return an empty tensor on the CPU of the shape and type of a stored one."""
    return torch.empty(entry.size, dtype=entry.properties.dtype)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], whose: str) -> None:
    """Load all weights of a network; `whose` says in an error where they come from.

    Raises:
        InputError: they are of a network of another shape.
    """
    wanted, found = ({name: value.shape for name, value in one.items()} for one in (network.state_dict(), weights))
    problem = find_difference(wanted, found) or next(
        (f"expected no {name}" for name in found if name not in wanted), ""
    )
    if problem:
        raise InputError(f"{whose} has another shape: {problem}; give the --preset and the --set that it was made with")
    network.load_state_dict(weights)


def find_difference(wanted: Mapping[str, torch.Size], found: Mapping[str, torch.Size]) -> str:
    """Describe the first wanted tensor that is missing or has another shape; empty if there is none."""
    for name, shape in wanted.items():
        if found.get(name) != shape:
            what = f"has {list(found[name])}" if name in found else "lacks it"
            return f"expected {name} of shape {list(shape)}, it {what}"
    return ""


def _remove_partials(directory: Path) -> None:
    """Remove the checkpoints that were being written or removed when a run was killed, and no other file."""
    for partial in directory.glob(f".{PREFIX}*{PARTIAL_SUFFIX}"):
        if _NAME.fullmatch(partial.name[1 : -len(PARTIAL_SUFFIX)]) and partial.is_dir():
            shutil.rmtree(partial)


def _verify_checksums(checkpoint: Path) -> None:
    """Raise ValueError for a file that is not as it was written: PyTorch's reader does not notice a changed weight."""
    for name, expected in json.loads((checkpoint / CHECKSUMS).read_bytes()).items():
        if hash_file(checkpoint / name) != expected:
            raise ValueError(f"{name} is not as it was written")


@contextmanager
def _writing_checkpoint(path: Path) -> Iterator[None]:
    """Report a failed write as an InputError, also where another process failed."""
    with writing(path), _without_warnings():
        try:
            yield
        except dcp.api.CheckpointException as error:
            causes = [_system_error(cause) for cause, _ in error.failures.values()]
            cause = next((cause for cause in causes if cause is not None), None)
            if cause is None:
                raise
            raise cause from error


def _system_error(error: BaseException) -> OSError | None:
    """Find the file system's error: PyTorch's writer covers it with its own, and other processes lose it."""
    covered: BaseException | None = error
    while covered is not None and not isinstance(covered, OSError):
        covered = covered.__context__
    if covered is None and "inline_container" in str(error):
        return OSError("a part was not written whole")
    return covered


@contextmanager
def _reading_checkpoint(path: Path) -> Iterator[None]:
    """Report any failure to read a checkpoint as DamagedCheckpointError; being out of memory is passed on as it is.

    Damaged bytes can make the readers below (pickle, zip) raise almost any exception.
    """
    try:
        with _without_warnings():
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
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
