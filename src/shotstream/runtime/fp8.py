"""Linear maps and self-attention in 8-bit floats: lossy, off by default, each asked for by itself.

Weights are kept as float8_e4m3fn with a scale for each output channel, and activations get a scale for each token when
they come, so that the largest value of either becomes the largest that there is. Source: torchao's rowwise float8
inference (the recipe), `torch.nn.functional.scaled_mm` (the product).

Queries, keys and values get a scale for each head. The cache stays in 16 bits and is rounded at every
attention. Source: FlashAttention-3 (arXiv 2407.08608, section 3.3), whose package does
the attention; its rotation of queries and keys against outliers is left out, because both come normalised here.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import ScalingType

from shotstream.core.errors import InputError
from shotstream.model.attention import Attend
from shotstream.model.attention_kernels import FA3_CAPABILITY, flash_attention_3
from shotstream.model.blocks import Block
from shotstream.model.device import cuda_capability
from shotstream.runtime.quantized import replace_linears
from shotstream.weights.build import ModelComponents

FLOAT8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FLOAT8).max
LEAST_SCALE = 1e-12
STEP = 16
"""Widths that the product takes are multiples of this."""
CAPABILITY = (8, 9)
LABEL = "fp8: products of the transformer's blocks are made of 8-bit floats"
ATTENTION_LABEL = "fp8 attention: self-attention is made of 8-bit floats"


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
    """Quantise rows to 8-bit floats, and return them with the float32 scale of each row."""
    scale = rows.abs().amax(-1, keepdim=True).float().clamp(min=LEAST_SCALE) / LARGEST
    return (rows / scale).to(FLOAT8), scale


def to_float8(parts: ModelComponents) -> ModelComponents:
    """Quantise the blocks of the transformer to 8 bits in place; the model gets another fingerprint.

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
    return _another(parts, "fp8", LABEL)


def attend_in_float8(flash: Callable[..., Tensor | tuple[Tensor, ...]]) -> Attend:
    """Compute attention with queries, keys and values rounded to 8 bits, with a scale for each sample and head.

    `flash` is FlashAttention 3's function; what it returns is in bfloat16.
    """

    def attend(
        q: Float[Tensor, "b n heads d"], k: Float[Tensor, "b m heads d"], v: Float[Tensor, "b m heads d"]
    ) -> Float[Tensor, "b n heads d"]:
        (q, q_scale), (k, k_scale), (v, v_scale) = (quantise_heads(tensor) for tensor in (q, k, v))
        out = flash(q, k, v, q_descale=q_scale, k_descale=k_scale, v_descale=v_scale)
        return out if isinstance(out, Tensor) else out[0]

    return attend


def quantise_heads(tokens: Float[Tensor, "b n heads d"]) -> tuple[Tensor, Float[Tensor, "b heads"]]:
    """Quantise tokens to 8-bit floats, and return them with the float32 scale of each head of a sample."""
    scale = tokens.abs().amax((1, 3)).float().clamp(min=LEAST_SCALE) / LARGEST
    return (tokens / scale[:, None, :, None]).to(FLOAT8), scale


def attention_to_float8(parts: ModelComponents) -> ModelComponents:
    """Run self-attention, but not cross-attention, in 8 bits from now on; the model gets another fingerprint.

    Raises:
        InputError: the device is of another capability than FlashAttention 3 is made for, or the package is missing.
    """
    capability = cuda_capability(parts.transformer.patch_embedding.weight.device)
    if capability != FA3_CAPABILITY:
        wanted = ".".join(map(str, FA3_CAPABILITY))
        got = "no CUDA device" if capability is None else ".".join(map(str, capability))
        raise InputError(
            f"expected a CUDA device of capability {wanted} for attention in 8 bits, got {got}; "
            "leave out --fp8-attention"
        )
    attend = attend_in_float8(flash_attention_3())
    for block in cast("Iterable[Block]", parts.transformer.blocks):
        block.self_attn.attend = attend
    return _another(parts, "fp8-attention", ATTENTION_LABEL)


def _another(parts: ModelComponents, mark: str, label: str) -> ModelComponents:
    fingerprint = hashlib.blake2b(f"{parts.fingerprint}/{mark}".encode(), digest_size=16).hexdigest()
    return replace(parts, fingerprint=fingerprint, lossy=(*parts.lossy, label))
