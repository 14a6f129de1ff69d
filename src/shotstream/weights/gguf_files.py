"""Read GGUF files (llama.cpp's format, also of quantised video models) by the `gguf` package."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.extras import require_packages
from shotstream.weights.containers import Container

if TYPE_CHECKING:
    from gguf import GGUFReader, ReaderTensor

GGUF_MAGIC = b"GGUF"
_SHAPE_FIELDS = ("comfy.gguf.orig_shape.{}", "{}.orig_shape")
"""Fields that hold the true shape of a tensor that was reshaped for its quantisation."""


def read_gguf(path: Path) -> Container:
    """Read all tensors of a GGUF file; quantised ones (Q8_0, Q4_K, ...) are dequantised to float16.

    float16 because the scales of GGUF's blocks have no more digits. Stored float32, float16 and bfloat16 stay.

    Raises:
        InputError: the package `gguf` is missing, the file is corrupt, or it has a quantisation unknown to `gguf`.
    """
    require_packages(f"{path}: a GGUF file", "gguf")
    import gguf

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            reader = _bounded_reader(gguf)(path)
            tensors = {tensor.name: _to_tensor(reader, tensor) for tensor in reader.tensors}
    except NotImplementedError as error:
        raise InputError(f"{path}: this GGUF file cannot be dequantised ({error}); take a Q8_0 or Q4_K one") from error
    except Exception as error:  # the package raises exceptions of any kind on damaged bytes
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        if "GGMLQuantizationType" in reason:
            raise InputError(
                f"{path}: a tensor is of a kind that this gguf does not know ({reason}); update gguf, or take a Q8_0"
            ) from error
        raise InputError(
            f"{path}: expected a GGUF file of weights (version 2 or 3), got another version, or a corrupt or truncated "
            f"file ({reason}); download it again"
        ) from error
    if not tensors:
        raise InputError(f"{path}: this GGUF file holds no tensors; expected those of a transformer or text encoder")
    kinds = tuple(sorted({tensor.tensor_type.name for tensor in reader.tensors}))
    return Container(tensors, dtypes=kinds)


def _bounded_reader(gguf: Any) -> type[GGUFReader]:
    """Make a reader class that raises at the file's end; the package's own loops on over sizes that are damaged."""

    class BoundedReader(gguf.GGUFReader):
        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            if int(offset) + np.dtype(dtype).itemsize * int(count) > len(self.data):
                raise ValueError("the file ends too early")
            return super()._get(offset, dtype, count, override_order)

    return BoundedReader


def _to_tensor(reader: GGUFReader, tensor: ReaderTensor) -> Tensor:
    from gguf import GGMLQuantizationType, dequantize

    kind = tensor.tensor_type
    shape = _shape(reader, tensor)
    if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        return torch.from_numpy(np.array(tensor.data)).reshape(shape)
    if kind == GGMLQuantizationType.BF16:
        return torch.from_numpy(np.array(tensor.data)).view(torch.bfloat16).reshape(shape)
    return torch.from_numpy(dequantize(tensor.data, kind)).to(torch.float16).reshape(shape)


def _shape(reader: GGUFReader, tensor: ReaderTensor) -> tuple[int, ...]:
    for pattern in _SHAPE_FIELDS:
        field = reader.get_field(pattern.format(tensor.name))
        if field is not None:
            return tuple(int(field.parts[index][0]) for index in field.data)
    return tuple(int(size) for size in reversed(tensor.shape))
