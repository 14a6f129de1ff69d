"""Find the tensors of one network in what a torch checkpoint holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, strided

from shotstream.core.errors import InputError

CONTAINERS = (
    "generator", "generator_ema", "generator_lora", "ema", "model", "state_dict", "model_state", "module",
)  # fmt: skip
"""Keys under which published checkpoints keep a network's tensors, the preferred first."""
_DEPTH = 3


@dataclass(frozen=True)
class Container:
    """Tensors as stored, with what lies beside them; fields as in `tensors.Checkpoint`."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    dtypes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def open_container(data: Any, path: Path, key: str | None = None, depth: int = _DEPTH) -> Container:
    """Find the tensors in the contents of a torch checkpoint.

    Args:
        data: the contents.
        path: of the file, for messages.
        key: of the container to open; None: the first of `CONTAINERS`, or the top where there is none.
        depth: how many containers may lie in each other.

    Raises:
        InputError: there is no such container, there are no tensors, or something else lies among them.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{path}: expected named tensors, got {type(data).__name__}; pass a file of weights")
    filled = [str(name) for name, value in data.items() if isinstance(value, Mapping) and value]
    if key is not None and key not in filled:
        known = f"it has {', '.join(filled)}" if filled else "its tensors lie at the top"
        raise InputError(f"{path}: has no container '{key}': {known}; name another with --checkpoint-key")
    eligible = [name for name in CONTAINERS if isinstance(data.get(name), Mapping)]
    chosen = key or next((name for name in eligible if data[name]), None) or next(iter(eligible), None)
    if chosen is None:
        return Container(_only_tensors(data, path, filled))
    inner = data[chosen]
    metadata = {str(name): str(value) for name, value in data.items() if isinstance(value, int | float | str)}
    others = [name for name in eligible if name != chosen and data[name]] if key is None else []
    notes = (f"{path}: took '{chosen}'; --checkpoint-key takes {_quoted(others)}",) if others else ()
    if depth and isinstance(inner, Mapping) and any(isinstance(inner.get(name), Mapping) for name in CONTAINERS):
        nested = open_container(inner, path, depth=depth - 1)
        return Container(nested.tensors, {**metadata, **nested.metadata}, chosen, notes=notes + nested.notes)
    return Container(_only_tensors(inner, path, []), metadata, chosen, notes=notes)


def _only_tensors(data: Mapping[Any, Any], path: Path, containers: list[str]) -> Mapping[str, Tensor]:
    strange = [name for name, value in data.items() if not _is_plain(value) or not isinstance(name, str)]
    if strange or not data:
        found = f"{strange[0]!r} is {_kind(data[strange[0]])}" if strange else "it is empty"
        advice = "; save the network's tensors alone"
        if containers:
            advice = f"; its containers are {_quoted(containers)}: name one with --checkpoint-key"
        places = ", ".join(CONTAINERS)
        raise InputError(f"{path}: expected tensors only (at the top or under {places}), but {found}{advice}")
    return data


def _is_plain(value: Any) -> bool:
    """Return whether a tensor holds its values one by one: not sparse, quantised by torch, or without values."""
    return isinstance(value, Tensor) and value.layout == strided and not value.is_quantized and not value.is_meta


def _kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    if value.is_meta:
        return "a tensor without values"
    return "a tensor quantised by torch" if value.is_quantized else "a sparse tensor"


def _quoted(names: list[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)
