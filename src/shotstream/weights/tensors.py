"""Read files of tensors without running code in them: safetensors (whole or sharded), torch checkpoints and GGUF.

| format | recognised by | what else is read |
|---|---|---|
| safetensors | suffix, or its header | the header's text metadata |
| sharded safetensors | `.safetensors.index.json` | |
| GGUF | its first four bytes | quantised tensors become float16 (`weights.gguf_files`) |
| torch | anything else | numbers and texts beside the tensors, as metadata |

8-bit tensors with scales become plain ones (`weights.scaled`), and names lose the prefixes of wrappers (`model.names`).
"""

import json
import os
import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.model.names import unwrap
from shotstream.weights.containers import Container, open_container
from shotstream.weights.gguf_files import GGUF_MAGIC, read_gguf
from shotstream.weights.scaled import apply_scales

INDEX_SUFFIX = ".safetensors.index.json"
_LFS_POINTER = b"version https://git-lfs"
_ZIP_MAGIC = b"PK\x03\x04"
_PIECE = 2**20
_OTHER_FILES = {
    b"\x89hdf": "HDF5; convert it",
    b"\x1f\x8b": "a gzip of something; unpack it",
    b"{": "JSON, as of a failed download; fetch the file anew",
    b"<": "a web page; download the file itself",
}
"""First bytes, in small letters, of files that are given in place of weights."""


@dataclass(frozen=True)
class Checkpoint:
    """Tensors of one network, and what their file says about them.

    Attributes:
        tensors: by name, without the prefixes that wrappers add.
        metadata: texts of a safetensors header, or numbers and texts beside the tensors of a torch checkpoint.
        key: of the container that was opened (`generator`, for instance); None where tensors lie at the top.
        dtypes: as stored, before quantised tensors became plain ones.
        notes: decisions that were taken while reading, as sentences for the user.
    """

    tensors: dict[str, Tensor]
    metadata: Mapping[str, str]
    key: str | None
    dtypes: tuple[str, ...]
    notes: tuple[str, ...]


def read_checkpoint(path: Path, key: str | None = None) -> Checkpoint:
    """Read a file of weights; tensors are mapped from disk where the format allows it.

    Args:
        path: a `.safetensors`, its sharded index, a torch checkpoint, or a `.gguf`.
        key: the container of a torch checkpoint to open; None: the first of `containers.CONTAINERS` that is there.

    Raises:
        InputError: the file is missing, corrupt, a Git LFS pointer, holds code, or holds no tensors; or it has no
            container of that key.
    """
    container = _read(path, key)
    if not container.tensors:
        raise InputError(f"{path}: expected the tensors of a network, got a file without any; fetch it anew")
    dtypes = tuple(sorted({str(value.dtype).removeprefix("torch.") for value in container.tensors.values()}))
    tensors, notes = apply_scales(_unwrapped(container.tensors, path), str(path))
    return Checkpoint(tensors, container.metadata, container.key, container.dtypes or dtypes, container.notes + notes)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read only the tensors of a file of weights, as `read_checkpoint` does."""
    return read_checkpoint(path).tensors


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises:
        InputError: it is missing, not JSON, or holds something else than a mapping.
    """
    present = _present(path)
    try:
        data = json.loads(present.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, got '{error}'; fetch the file anew") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a JSON mapping, got {type(data).__name__}; fetch the file anew")
    return data


def files_of(path: Path) -> tuple[Path, ...]:
    """List the files that `read_checkpoint(path)` reads: the one, or an index and its shards."""
    if not path.name.endswith(INDEX_SUFFIX):
        return (path,)
    return (path, *(path.parent / shard for shard in sorted(set(_weight_map(path).values()))))


def _read(path: Path, key: str | None) -> Container:
    if path.name.endswith(INDEX_SUFFIX):
        container = _read_shards(path)
    else:
        with _present(path).open("rb") as file:
            head = file.read(16)
        if head.startswith(GGUF_MAGIC):
            container = read_gguf(path)
        elif _is_safetensors(path, head):
            container = _read_safetensors(path)
        else:
            return open_container(_read_torch(path), path, key)
    if key is not None:
        raise InputError(f"{path}: has no container '{key}': its tensors lie at the top; leave out --checkpoint-key")
    return container


def _present(path: Path) -> Path:
    if not os.path.isfile(path):
        raise InputError(
            f"{path}: expected a file, found {'a directory' if os.path.isdir(path) else 'nothing'} there; "
            "check the path"
        )
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise InputError(f"{path}: expected weights, got a Git LFS pointer to them; run 'git lfs pull' there")
    return path


def _is_safetensors(path: Path, head: bytes) -> bool:
    """Return whether the file is safetensors by its suffix or by its header: a length of 8 bytes, then JSON."""
    has_header = head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size
    return has_header or (path.suffix == ".safetensors" and not head.startswith(_ZIP_MAGIC))


def _read_safetensors(path: Path) -> Container:
    _present(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            return Container(tensors, file.metadata() or {})
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise _corrupt(path, error) from error


def _read_shards(path: Path) -> Container:
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for shard in files_of(path)[1:]:
        container = _read_safetensors(shard)
        if twice := tensors.keys() & container.tensors.keys():
            raise InputError(f"{path}: '{min(twice)}' is in two of its shards; fetch them anew")
        tensors |= container.tensors
        metadata |= container.metadata
    lost = [name for name in _weight_map(path) if name not in tensors]
    if lost:
        raise InputError(f"{path}: lists {len(lost)} tensors that no shard holds (first: {lost[0]}); fetch them anew")
    return Container(tensors, metadata)


def _weight_map(path: Path) -> dict[str, str]:
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise InputError(f"{path}: expected a 'weight_map' of names to files, found none; fetch the file anew")
    return weight_map


def _read_torch(path: Path) -> Any:
    try:
        mapped = zipfile.is_zipfile(path)
        if mapped:
            _check_sums(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # unpickling damaged bytes raises exceptions of any kind
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            raise InputError(
                f"{path}: refused, because it holds code and not only tensors; if you trust it, save its tensors "
                "as .safetensors and pass that"
            ) from error
        raise _corrupt(path, error) from error


def _check_sums(path: Path) -> None:
    """Read the zip of a torch checkpoint and check its CRCs, as torch does not; a CRC of 0 was never computed."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.CRC:
                with archive.open(entry) as record:
                    while record.read(_PIECE):
                        pass


def _corrupt(path: Path, error: Exception) -> InputError:
    with path.open("rb") as file:
        start = file.read(16).lower().lstrip()
    if kind := next((kind for begin, kind in _OTHER_FILES.items() if start.startswith(begin)), None):
        return InputError(f"{path}: expected weights as safetensors, GGUF or torch saves them, got {kind}")
    found = re.search(r"WeightsUnpickler error:\s*(\S.*)", str(error)) or re.search(r"\S.*", str(error))
    reason = found[found.lastindex or 0][:120] if found else type(error).__name__
    return InputError(f"{path}: expected weights, got a corrupt or truncated file ({reason}); fetch it anew")


def _unwrapped(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    plain = {unwrap(name): value for name, value in state.items()}
    if len(plain) != len(state):
        twice = Counter(map(unwrap, state)).most_common(1)[0][0]
        raise InputError(
            f"{path}: '{twice}' is in it several times, under different prefixes; expected one network, save it alone"
        )
    return plain
