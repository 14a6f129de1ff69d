"""Pick the kernel of attention by the device's capability, never by its name.

FlashAttention 3 is made for compute capability 9.0 alone. cuDNN's attention uses what capability 9.0 and later have;
FlashAttention 2 does not, so that it comes first only below. Packages are used where they are installed, none is
needed. Sources: FlashAttention-3 (arXiv 2407.08608, figures of all three on a Hopper card);
`torch.nn.attention.sdpa_kernel`.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from shotstream.core.errors import InputError
from shotstream.model.attention import Attend, attend, attend_by_products
from shotstream.model.device import cuda_capability

PACKAGES: Mapping[str, str] = MappingProxyType({"fa3": "flash_attn_interface", "fa2": "flash_attn"})
"""Module of each that has the function `flash_attn_func`."""
KERNELS = (*PACKAGES, "cudnn", "torch")
AUTO = "auto"
HEAD_DIM_STEP, MAX_HEAD_DIM = 8, 256
FA3_CAPABILITY = (9, 0)
CUDNN_FIRST = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


@dataclass(frozen=True)
class Kernel:
    """An attention by name.

    `scope` is entered around a forward: setting torch's order of kernels takes microseconds, which is too long to do
    at every attention.
    """

    name: str
    attend: Attend
    scope: Callable[[], AbstractContextManager[object]] = nullcontext


TORCH = Kernel("torch", attend)
PRODUCTS = Kernel("products", attend_by_products)
"""For training on a CPU; `pick_kernel` picks for inference."""


def usable_kernels(
    capability: tuple[int, int] | None, dtype: torch.dtype, head_dim: int, installed: Iterable[str]
) -> tuple[str, ...]:
    """Return the kernels that can be used, the best first; torch's own choice is always the last.

    Args:
        capability: of a CUDA device; None for any other device.
        dtype: of queries, keys and values.
        head_dim: channels a head.
        installed: those of `PACKAGES` that are.
    """
    fits = head_dim % HEAD_DIM_STEP == 0 and head_dim <= MAX_HEAD_DIM
    if capability is None or capability < (8, 0) or dtype not in (torch.bfloat16, torch.float16) or not fits:
        return ("torch",)
    order = ("fa3", "cudnn", "fa2") if capability >= (9, 0) else ("fa2", "cudnn")
    return (*(name for name in order if name == "cudnn" or _runs(name, capability, installed)), "torch")


def pick_kernel(device: torch.device, dtype: torch.dtype, head_dim: int, name: str = AUTO) -> Kernel:
    """Return the kernel of that name; `auto` is the best that can be used.

    Raises:
        InputError: the name is unknown, that kernel cannot be used here, or its package is broken.
    """
    if name not in (AUTO, *KERNELS):
        raise InputError(f"expected an attention of {AUTO}, {', '.join(KERNELS)}, got '{name}'")
    installed = [package for package, module in PACKAGES.items() if find_spec(module) is not None]
    usable = usable_kernels(cuda_capability(device), dtype, head_dim, installed)
    if name not in (AUTO, *usable):
        raise InputError(f"expected an attention that runs here, got '{name}'; use {AUTO} or {', '.join(usable)}")
    return _make(usable[0] if name == AUTO else name)


def from_package(function: Callable[..., Tensor | tuple[Tensor, ...]]) -> Attend:
    """Wrap the attention of a FlashAttention package, some versions of which return more than the result."""

    def flash(
        q: Float[Tensor, "b n heads d"], k: Float[Tensor, "b m heads d"], v: Float[Tensor, "b m heads d"]
    ) -> Float[Tensor, "b n heads d"]:
        out = function(q, k, v)
        return out if isinstance(out, Tensor) else out[0]

    return flash


def flash_attention_3() -> Callable[..., Tensor | tuple[Tensor, ...]]:
    """Import the function of FlashAttention 3's package.

    Raises:
        InputError: it is not installed, or broken.
    """
    module = PACKAGES["fa3"]
    if find_spec(module) is None:
        raise InputError(f"expected FlashAttention 3 ({module}), which is not installed; install it")
    function: Callable[..., Tensor | tuple[Tensor, ...]] = _imported(module).flash_attn_func
    return function


def _runs(name: str, capability: tuple[int, int], installed: Iterable[str]) -> bool:
    return name in installed and (name == "fa2" or capability == FA3_CAPABILITY)


def _imported(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:  # built for another torch, most often
        raise InputError(
            f"the package of {package} is installed but cannot be imported ({error}); install one that fits torch "
            f"{torch.__version__}, or remove it"
        ) from error


def _make(name: str) -> Kernel:
    if name in PACKAGES:
        return Kernel(name, from_package(_imported(PACKAGES[name]).flash_attn_func))
    if name == "cudnn":
        return Kernel(name, attend, lambda: sdpa_kernel(CUDNN_FIRST, set_priority=True))
    return TORCH
