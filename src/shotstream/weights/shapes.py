"""Infer the configuration of a network from the shapes of its tensors, because published files often lack one."""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.model.config import TextEncoderConfig, TransformerConfig, WanVAEConfig

WAN_HEAD_DIM = 128


def transformer_config(state: Mapping[str, Tensor], hints: Mapping[str, Any], where: str) -> TransformerConfig:
    """Infer the configuration of a transformer from its tensors (original names).

    `hints` is the `config.json` beside the weights, Wan's or diffusers' (or empty). Only it knows the number of heads
    (dim / 128 without it), the text length and the epsilon.

    Raises:
        InputError: a tensor that shows a size is missing, or the number of heads cannot be known.
    """
    dim, in_dim, *patch_size = _shape(state, "patch_embedding.weight", 5, where)
    heads = _number(hints, "num_heads", _number(hints, "num_attention_heads", 0, where), where)
    if not heads:
        if dim % WAN_HEAD_DIM:
            raise InputError(
                f"{where}: expected a config.json with num_heads, for {dim} is no multiple of 128; fetch it too"
            )
        heads = dim // WAN_HEAD_DIM
    return TransformerConfig(
        dim=dim,
        ffn_dim=_shape(state, "blocks.0.ffn.0.weight", 2, where)[0],
        num_heads=int(heads),
        num_layers=_count(state, r"blocks\.(\d+)\."),
        in_dim=in_dim,
        out_dim=_shape(state, "head.head.weight", 2, where)[0] // math.prod(patch_size),
        freq_dim=_shape(state, "time_embedding.0.weight", 2, where)[1],
        text_dim=_shape(state, "text_embedding.0.weight", 2, where)[1],
        text_len=int(_number(hints, "text_len", TransformerConfig.text_len, where)),
        patch_size=(patch_size[0], patch_size[1], patch_size[2]),
        eps=_number(hints, "eps", TransformerConfig.eps, where),
    )


def vae_config(state: Mapping[str, Tensor], hints: Mapping[str, Any], where: str) -> WanVAEConfig:
    """Infer the configuration of a Wan VAE from its tensors (original names).

    `hints` is diffusers' `config.json`, which may give `latents_mean` and `latents_std`; without it they are Wan's.

    Raises:
        InputError: a tensor that shows a size is missing, or the encoder's layers are not Wan's.
    """
    dim = _shape(state, "encoder.conv1.weight", 5, where)[0]
    widths, temporal, width, blocks = [], [], dim, 0
    last = _count(state, r"encoder\.downsamples\.(\d+)\.") - 1
    for layer in range(last + 1):
        prefix = f"encoder.downsamples.{layer}"
        sampled = f"{prefix}.resample.1.weight" in state
        if sampled:
            temporal.append(f"{prefix}.time_conv.weight" in state)
        else:
            width = _shape(state, f"{prefix}.residual.2.weight", 5, where)[0]
            blocks += 1
        if sampled or layer == last:
            widths.append(width // dim)
    if not widths or blocks % len(widths):
        raise InputError(f"{where}: expected as many residual layers at every width of the VAE, got {blocks} in all")
    return WanVAEConfig(
        dim=dim,
        z_dim=_shape(state, "conv2.weight", 5, where)[0],
        dim_mult=tuple(widths),
        num_res_blocks=blocks // len(widths),
        temporal_downsample=tuple(temporal),
        latents_mean=_numbers(hints, "latents_mean", where),
        latents_std=_numbers(hints, "latents_std", where),
    )


def text_encoder_config(state: Mapping[str, Tensor], text_len: int, where: str) -> TextEncoderConfig:
    """Infer the configuration of a UMT5 encoder from its tensors (original names), for captions of `text_len` tokens.

    Raises:
        InputError: a tensor that shows a size is missing.
    """
    vocab_size, dim = _shape(state, "token_embedding.weight", 2, where)
    buckets, heads = _shape(state, "blocks.0.pos_embedding.embedding.weight", 2, where)
    return TextEncoderConfig(
        vocab_size=vocab_size,
        dim=dim,
        attention_dim=_shape(state, "blocks.0.attn.q.weight", 2, where)[0],
        ffn_dim=_shape(state, "blocks.0.ffn.fc1.weight", 2, where)[0],
        num_heads=heads,
        num_layers=_count(state, r"blocks\.(\d+)\."),
        num_buckets=buckets,
        text_len=text_len,
    )


def _number(hints: Mapping[str, Any], key: str, default: float, where: str) -> float:
    value = hints.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise InputError(f"{where}: expected a number for '{key}' in its config.json, got {value!r}; correct it")
    return value


def _numbers(hints: Mapping[str, Any], key: str, where: str) -> tuple[float, ...]:
    values = hints.get(key, ())
    if not isinstance(values, list | tuple) or not all(isinstance(value, int | float) for value in values):
        raise InputError(
            f"{where}: expected a list of numbers for '{key}' in its config.json, got {values!r}; correct it"
        )
    return tuple(float(value) for value in values)


def _shape(state: Mapping[str, Tensor], name: str, dimensions: int, where: str) -> tuple[int, ...]:
    if name not in state:
        raise InputError(f"{where}: expected a tensor '{name}', which shows a size, found none; fetch the file anew")
    shape = tuple(state[name].shape)
    if len(shape) != dimensions:
        raise InputError(f"{where}: expected '{name}' to have {dimensions} dimensions, got the shape {list(shape)}")
    return shape


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Return one more than the largest number that the pattern finds in the names."""
    matches = (re.match(pattern, name) for name in state)
    return 1 + max((int(match[1]) for match in matches if match), default=-1)
