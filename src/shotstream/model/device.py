"""Choice of device and dtype, and facts about the processor."""

import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from shotstream.core.errors import InputError

DEVICES = ("auto", "cpu", "cuda", "mps")
_DEVICE = re.compile(rf"({'|'.join(DEVICES)})|cuda:(\d+)", re.ASCII)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
BFLOAT16_FLAGS = frozenset({"amx_bf16", "bf16"})
"""Flags in /proc/cpuinfo of processors that are fast in bfloat16, on x86 and on Arm. avx512_bf16 is none of them: on an
Intel Xeon with it and without AMX, matrix products ran at 150 GFLOP/s in bfloat16 and 300 in float32."""

AMD_FLAG = "sse4a"
"""A flag in /proc/cpuinfo that AMD's processors have and Intel's do not."""
LITTLE_MEMORY = 20 * 2**30
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""Parts of the messages of torch's RuntimeErrors for too little memory."""


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of a name; `auto` is cuda if there is one, else mps, else cpu. `cuda:1` is the second GPU.

    Raises:
        InputError: the name is unknown, or this machine has no such device.
    """
    match = _DEVICE.fullmatch(name)
    if match is None:
        raise InputError(f"expected a device of {', '.join(DEVICES)}, or cuda:N, got '{name}'")
    kind, index = match[1] or "cuda", match[2]
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if available[device]))
    if not available[kind]:
        raise InputError(f"expected a {kind.upper()} device, found none; use --device cpu")
    if index and int(index) >= torch.cuda.device_count():
        raise InputError(
            f"expected a CUDA device number below {torch.cuda.device_count()}, got {index}; use --device cuda"
        )
    return torch.device(kind, int(index)) if index else torch.device(kind)


def pick_dtype(device: torch.device, name: str = "auto") -> torch.dtype:
    """Return the dtype of a name; `auto` is bfloat16 if the device is fast in it (cuda, some CPUs), else float32.

    Raises:
        InputError: the name is unknown.
    """
    if name != "auto":
        if name not in DTYPES:
            raise InputError(f"expected a dtype of auto, {', '.join(DTYPES)}, got '{name}'")
        return DTYPES[name]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and bool(BFLOAT16_FLAGS & cpu_flags())
    return torch.bfloat16 if fast else torch.float32


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return whether large matrix products are at least twice as fast in bfloat16 as in float32.

    On a CPU that is so with AMX or Arm's bfloat16, and on AMD's with avx512_bf16 (Zen 4: 224 GFLOP/s a core in
    bfloat16, 92 in float32; Intel's avx512_bf16 without AMX is slower than float32, see `BFLOAT16_FLAGS`).
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = cpu_flags() if device.type == "cpu" else frozenset()
    return bool(BFLOAT16_FLAGS & flags) or {"avx512_bf16", AMD_FLAG} <= flags


def cuda_capability(device: torch.device) -> tuple[int, int] | None:
    """Return the compute capability of an NVIDIA device, such as (9, 0); None for any other device."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" and torch.version.hip is None else None


def has_little_memory(device: torch.device) -> bool:
    """Return whether a CUDA device has less memory than a full-size model comfortably needs (docs/performance.md)."""
    return device.type == "cuda" and torch.cuda.get_device_properties(device).total_memory < LITTLE_MEMORY


@contextmanager
def within_memory(what: str) -> Iterator[None]:
    """Raise an InputError that names `what` when torch runs out of memory."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
            raise InputError(f"{what} needs more memory than there is; make it smaller or run it elsewhere") from error
        raise


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; from CPU to CUDA through pinned memory, without waiting."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Read the processor's feature flags from Linux's /proc/cpuinfo; empty on other systems."""
    if platform.system() != "Linux" or not path.is_file():
        return frozenset()
    for line in path.read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() in ("flags", "features"):
            return frozenset(value.split())
    return frozenset()


@contextmanager
def shapes_only() -> Iterator[None]:
    """Create networks on the meta device, without values, until the context ends.

    Initial weights are not drawn: on that device, draws import torch's compiler, which takes a second. A text encoder
    is made by transformers, which imports it as well.
    """
    with torch.device("meta"), _NoDraws():
        yield


class _NoDraws(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        values = kwargs or {}
        drawn = func in (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_)
        return values["tensor"] if drawn else func(*args, **values)
