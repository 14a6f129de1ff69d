"""Linear maps in 8-bit floats: lossy, off by default.

Weights are kept as float8_e4m3fn with a scale for each output channel, and activations get a scale for each token when
they come, so that the largest value of either becomes the largest that there is. Source: torchao's rowwise float8
inference (the recipe), `torch.nn.functional.scaled_mm` (the product).
"""

import hashlib
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import ScalingType

from shotstream.core.errors import InputError
from shotstream.model.device import cuda_capability
from shotstream.model.parts import ModelParts
from shotstream.model.quantized import replace_linears

FLOAT8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FLOAT8).max
LEAST_SCALE = 1e-12
STEP = 16
"""Widths that the product takes are multiples of this."""
CAPABILITY = (8, 9)
LABEL = "fp8: products of the transformer's blocks are made of 8-bit floats"


class Float8Linear(nn.Module):
    """A linear map of bfloat16 whose product is made of 8-bit floats, summed up in float32."""

    def __init__(self, linear: nn.Linear) -> None:
        """Raises InputError for widths that the product does not take."""
        super().__init__()
        if linear.in_features % STEP or linear.out_features % STEP:
            shape = f"{linear.in_features} to {linear.out_features}"
            raise InputError(f"expected linear maps of widths divisible by {STEP}, got {shape}; leave out --fp8")
        weight, scale = quantise(linear.weight.detach())
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.bias = linear.bias

    def forward(self, x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch o"]:
        rows, scale = quantise(x.flatten(0, -2))
        out = F.scaled_mm(
            rows,
            self.weight.t(),
            scale,
            ScalingType.RowWise,
            self.scale.t(),
            ScalingType.RowWise,
            bias=self.bias,
            output_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
        return out.unflatten(0, x.shape[:-1])


def quantise(rows: Float[Tensor, "n c"]) -> tuple[Tensor, Float[Tensor, "n 1"]]:
    """Rows as 8-bit floats, and the float32 scale that each is to be multiplied by."""
    scale = rows.abs().amax(-1, keepdim=True).float().clamp(min=LEAST_SCALE) / LARGEST
    return (rows / scale).to(FLOAT8), scale


def to_float8(parts: ModelParts) -> ModelParts:
    """The model with the blocks of its transformer, in place, in 8 bits. It is another one to the stories it makes.

    Raises:
        InputError: the device has no 8-bit floats, or the weights are not in bfloat16.
    """
    weight = parts.transformer.patch_embedding.weight
    capability, least = cuda_capability(weight.device), ".".join(map(str, CAPABILITY))
    if capability is None or capability < CAPABILITY:
        got = weight.device.type if capability is None else ".".join(map(str, capability))
        raise InputError(f"expected a CUDA device of capability {least} or more for 8 bits, got {got}; leave out --fp8")
    if weight.dtype != torch.bfloat16:
        dtype = str(weight.dtype).removeprefix("torch.")
        raise InputError(f"expected a model in bfloat16 to make 8 bits of, got {dtype}; leave out --fp8")
    replace_linears(parts.transformer, Float8Linear)
    mark = hashlib.blake2b(f"{parts.fingerprint}/fp8".encode(), digest_size=16).hexdigest()
    return replace(parts, fingerprint=mark, lossy=(*parts.lossy, LABEL))
