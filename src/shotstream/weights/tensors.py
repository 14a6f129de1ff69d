"""Files of tensors, read without running anything in them: safetensors, whole or sharded, and torch's own format."""

import json
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.model.names import unwrap

INDEX_SUFFIX = ".safetensors.index.json"
CONTAINERS = ("generator", "generator_ema", "generator_lora", "state_dict", "model_state")
"""Where published checkpoints keep the network's tensors, the preferred first."""
_POINTER = b"version https://git-lfs"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping.

    Raises:
        InputError: it is missing, no JSON, or something else than a mapping.
    """
    try:
        data = json.loads(_present(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: expected JSON, got '{error}'; fetch the file anew") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a JSON mapping, got {type(data).__name__}; fetch the file anew")
    return data


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a file of weights, mapped from disk where the format allows it.

    Containers are opened (ShotStream's `generator`, or `generator_ema` where there is only that) and names freed of
    what wrappers add. `path` may be a `.safetensors`, its sharded index (`.safetensors.index.json`), or a torch file.

    Raises:
        InputError: the file is missing, corrupt, a Git LFS pointer, holds code, or holds no tensors.
    """
    if path.name.endswith(INDEX_SUFFIX):
        return _unwrapped(_read_shards(path), path)
    if path.suffix == ".safetensors":
        return _unwrapped(_read_safetensors(path), path)
    return _unwrapped(open_container(_read_torch(path), path), path)


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that `read_tensors(path)` reads: the one, or an index and its shards."""
    if not path.name.endswith(INDEX_SUFFIX):
        return (path,)
    return (path, *(path.parent / shard for shard in sorted(set(_weight_map(path).values()))))


def container_of(data: Mapping[str, Any]) -> str | None:
    """The key under which a checkpoint keeps the network's tensors; None where they lie at its top."""
    return next((key for key in CONTAINERS if isinstance(data.get(key), Mapping)), None)


def open_container(data: Any, path: Path) -> Mapping[str, Tensor]:
    """The tensors in what a torch file holds.

    Raises:
        InputError: there are none, or something else stands among them.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{path}: expected named tensors, got {type(data).__name__}; pass a file of weights")
    key = container_of(data)
    inner = data if key is None else data[key]
    strange = [name for name, value in inner.items() if not isinstance(value, Tensor)]
    if strange or not inner:
        found = f"'{strange[0]}' is {type(inner[strange[0]]).__name__}" if strange else "it is empty"
        raise InputError(f"{path}: expected tensors only (at the top or under {', '.join(CONTAINERS)}), but {found}")
    return inner


def _present(path: Path) -> Path:
    if not os.path.isfile(path):
        raise InputError(f"{path}: expected a file, found {'a directory' if os.path.isdir(path) else 'nothing'} there")
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise InputError(f"{path}: expected weights, got a Git LFS pointer to them; run 'git lfs pull' there")
    return path


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(_present(path))
    except (SafetensorError, OSError) as error:
        raise _corrupt(path, error) from error


def _read_shards(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for shard in files_of(path)[1:]:
        state |= _read_safetensors(shard)
    lost = [name for name in _weight_map(path) if name not in state]
    if lost:
        raise InputError(f"{path}: lists {len(lost)} tensors that no shard holds (first: {lost[0]}); fetch them anew")
    return state


def _weight_map(path: Path) -> dict[str, str]:
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise InputError(f"{path}: expected a 'weight_map' of names to files, found none; fetch the file anew")
    return weight_map


def _read_torch(path: Path) -> Any:
    mapped = zipfile.is_zipfile(_present(path))
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            raise InputError(
                f"{path}: refused, for it holds code and not only tensors; where you trust it, save its tensors "
                "as .safetensors and pass that"
            ) from error
        raise _corrupt(path, error) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise _corrupt(path, error) from error


def _corrupt(path: Path, error: Exception) -> InputError:
    said = re.search(r"WeightsUnpickler error: *(.+)", str(error)) or re.search(r"\S.*", str(error))
    reason = said[said.lastindex or 0][:120] if said else type(error).__name__
    return InputError(f"{path}: expected weights, got a corrupt or truncated file ({reason}); fetch it anew")


def _unwrapped(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    plain = {unwrap(name): value for name, value in state.items()}
    if len(plain) != len(state):
        raise InputError(f"{path}: several tensors have one name once wrappers are left out; expected one network")
    return plain
