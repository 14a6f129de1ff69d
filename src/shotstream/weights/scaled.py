"""Turn weights that are stored in 8 bits with a scale into plain ones: value times scale.

| stored as | scale |
|---|---|
| `X.weight` in float8 | `X.scale_weight` (ComfyUI, beside `scaled_fp8`) or `X.weight_scale` (vLLM, LightX2V) |
| `X.weight` in int8 | `X.weight_scale` |
| `X.weight` in float8 by blocks | `X.weight_scale_inv`, one scale a block (DeepSeek) |

A scale is one number, one a row, or one a block. Scales of activations (`scale_input`, `input_scale`) concern only
8-bit products and are left out.
"""

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from shotstream.core.errors import InputError

FLOAT8_DTYPES = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)
SCALES = ("scale_weight", "weight_scale", "weight_scale_inv")
_ACTIVATION_SCALES = ("scale_input", "input_scale", "comfy_quant")
_MARKER, _EMBEDDED_TOKENIZER = "scaled_fp8", "spiece_model"
_WIDE = (torch.float32, torch.bfloat16, torch.float16)
BLOCK = 128
"""Side of the blocks of DeepSeek's format."""
_UNSUPPORTED = (
    *("weight_scale_2", "weight_packed", "weight_zero_point", "qweight", "qzeros"),
    *("SCB", "absmax", "quant_map"),
)
"""Tensors of 4-bit and of asymmetric formats, and of bitsandbytes."""


def apply_scales(state: Mapping[str, Tensor], where: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Multiply 8-bit weights by their scales and drop the tensors that only serve quantisation.

    Results have the dtype of the file's other floating tensors (bfloat16 where there are none).

    Returns:
        The plain tensors, and a note for the user where 8-bit floats had no scale.

    Raises:
        InputError: a scale has no weight or does not fit it, an integer weight has no scale, or the format is another.
    """
    _check_supported(state, where)
    plain = {name: value for name, value in state.items() if not _serves_quantisation(name)}
    scales = {name: value for name, value in state.items() if name.rpartition(".")[2] in SCALES}
    if not scales and not any(value.dtype in (*FLOAT8_DTYPES, torch.int8) for value in plain.values()):
        return plain, ()
    dtype = _common_dtype(plain)
    targets = {name: f"{name.rpartition('.')[0]}.weight".removeprefix(".") for name in scales}
    if twice := [target for target, count in Counter(targets.values()).items() if count > 1]:
        raise InputError(f"{where}: '{twice[0]}' has two scales in it; expected one, fetch the file anew")
    for name, scale in scales.items():
        target = targets[name]
        plain[target] = _scaled(plain.get(target), target, scale, name, where).to(dtype)
    if unscaled := [name for name, value in plain.items() if value.dtype == torch.int8]:
        raise InputError(f"{where}: '{unscaled[0]}' is int8 without a scale; expected '*.weight_scale' beside it")
    bare = [name for name, value in plain.items() if value.dtype in FLOAT8_DTYPES]
    plain |= {name: plain[name].float().to(dtype) for name in bare}
    if not bare:
        return plain, ()
    if not scales and any(name.rpartition(".")[2] == _MARKER for name in state):
        raise InputError(f"{where}: says that it is scaled ('{_MARKER}'), and holds no scale; fetch the file anew")
    return plain, (
        f"{where}: {len(bare)} tensors are 8-bit floats without a scale (first: {bare[0]}): read as they are",
    )


def _scaled(weight: Tensor | None, target: str, scale: Tensor, name: str, where: str) -> Tensor:
    if weight is None:
        raise InputError(f"{where}: '{name}' scales '{target}', which is not there; fetch the file anew")
    if weight.dtype not in (*FLOAT8_DTYPES, torch.int8):
        kind = str(weight.dtype).removeprefix("torch.")
        raise InputError(f"{where}: '{name}' scales '{target}', which is {kind} and not 8-bit; fetch the file anew")
    return weight.float() * _expand(scale, weight, name, where)


def _serves_quantisation(name: str) -> bool:
    return name.rpartition(".")[2] in (*SCALES, *_ACTIVATION_SCALES, _MARKER, _EMBEDDED_TOKENIZER)


def _check_supported(state: Mapping[str, Tensor], where: str) -> None:
    found = next((name for name in state if name.rpartition(".")[2] in _UNSUPPORTED), None)
    if found is not None:
        raise InputError(
            f"{where}: '{found}' belongs to a quantisation that is not read here; take the model in bf16, in scaled "
            "fp8, or as GGUF"
        )


def _common_dtype(state: Mapping[str, Tensor]) -> torch.dtype:
    counts = Counter(value.dtype for value in state.values() if value.dtype in _WIDE)
    return counts.most_common(1)[0][0] if counts else torch.bfloat16


def _expand(scale: Tensor, weight: Tensor, name: str, where: str) -> Tensor:
    """Bring a scale to a shape that multiplies the weight: one number, one a row, or one a block."""
    rows = weight.shape[0] if weight.ndim else 1
    if scale.dtype not in _WIDE:
        kind = str(scale.dtype).removeprefix("torch.")
        raise InputError(f"{where}: '{name}' is {kind}, a format that is not read here; take the model in bf16 or GGUF")
    scale = scale.float()
    if scale.numel() and not (scale.isfinite().all() and (scale >= 0).all() and scale.any()):
        raise InputError(f"{where}: expected scales above 0 in '{name}', got others, or NaN; fetch the file anew")
    if scale.numel() == 1:
        return scale.reshape(())
    if scale.shape in ((rows,), (rows, *[1] * (weight.ndim - 1))):
        return scale.reshape(rows, *[1] * (weight.ndim - 1))
    if scale.ndim == weight.ndim == 2:
        sides = [_block_side(size, count) for size, count in zip(weight.shape, scale.shape, strict=True)]
        if all(sides):
            blocks = scale.repeat_interleave(sides[0], 0).repeat_interleave(sides[1], 1)
            return blocks[: weight.shape[0], : weight.shape[1]]
    raise InputError(
        f"{where}: '{name}' has the shape {list(scale.shape)}, which does not scale a weight of {list(weight.shape)}; "
        "expected one number, one a row or one a block"
    )


def _block_side(size: int, count: int) -> int:
    """Side of the blocks that divide `size` into `count`: 128 where that fits, else equal ones; 0 where none do."""
    if -(-size // BLOCK) == count:
        return BLOCK
    return size // count if count and size % count == 0 else 0
