"""Rename tensors between Wan's original names (which are ours), diffusers, transformers and llama.cpp."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar

T = TypeVar("T")
Component = Literal["transformer", "codec", "text_encoder", "lora", "tiny_decoder", "other"]
"""Networks that are told apart by their names; `other` ones are known and not read."""

WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.", "module.")
"""Parts that FSDP, activation checkpointing, compilation and DDP put into names, anywhere."""
PREFIXES = ("model.", "diffusion_model.", "transformer.", "generator.")
"""Prefixes that trainers and ComfyUI put in front of every name, one or several times."""

_ATTENTION = (
    ("q", "to_q"),
    ("k", "to_k"),
    ("v", "to_v"),
    ("o", "to_out.0"),
    ("norm_q", "norm_q"),
    ("norm_k", "norm_k"),
)

TRANSFORMER_NAMES = (
    ("patch_embedding", "patch_embedding"),
    ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
    ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
    ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
    ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
    ("time_projection.1", "condition_embedder.time_proj"),
    ("head.modulation", "scale_shift_table"),
    ("head.head", "proj_out"),
    ("blocks.#.modulation", "blocks.#.scale_shift_table"),
    ("blocks.#.norm3", "blocks.#.norm2"),
    *((f"blocks.#.self_attn.{ours}", f"blocks.#.attn1.{theirs}") for ours, theirs in _ATTENTION),
    *((f"blocks.#.cross_attn.{ours}", f"blocks.#.attn2.{theirs}") for ours, theirs in _ATTENTION),
    ("blocks.#.ffn.0", "blocks.#.ffn.net.0.proj"),
    ("blocks.#.ffn.2", "blocks.#.ffn.net.2"),
)
"""Wan's transformer and diffusers' WanTransformer3DModel. `#` is the same number on both sides."""

_RESIDUAL = (("residual.0", "norm1"), ("residual.2", "conv1"), ("residual.3", "norm2"), ("residual.6", "conv2"))
_LAYER = (*_RESIDUAL, ("shortcut", "conv_shortcut"), ("resample", "resample"), ("time_conv", "time_conv"))

VAE_NAMES = (
    ("conv1", "quant_conv"),
    ("conv2", "post_quant_conv"),
    *((f"{side}.conv1", f"{side}.conv_in") for side in ("encoder", "decoder")),
    *((f"{side}.head.0", f"{side}.norm_out") for side in ("encoder", "decoder")),
    *((f"{side}.head.2", f"{side}.conv_out") for side in ("encoder", "decoder")),
    *((f"{side}.middle.1", f"{side}.mid_block.attentions.0") for side in ("encoder", "decoder")),
    *(
        (f"{side}.middle.{slot}.{ours}", f"{side}.mid_block.resnets.{index}.{theirs}")
        for side in ("encoder", "decoder")
        for index, slot in enumerate((0, 2))
        for ours, theirs in _RESIDUAL
    ),
    *((f"encoder.downsamples.#.{ours}", f"encoder.down_blocks.#.{theirs}") for ours, theirs in _LAYER),
    *((f"decoder.upsamples.#.{ours}", f"decoder.layers.#.{theirs}") for ours, theirs in _LAYER),
)
"""Wan's VAE and diffusers' AutoencoderKLWan after `_count_decoder`."""

TEXT_NAMES = (
    ("token_embedding", "encoder.embed_tokens"),
    ("norm", "encoder.final_layer_norm"),
    ("blocks.#.norm1", "encoder.block.#.layer.0.layer_norm"),
    ("blocks.#.norm2", "encoder.block.#.layer.1.layer_norm"),
    ("blocks.#.pos_embedding.embedding", "encoder.block.#.layer.0.SelfAttention.relative_attention_bias"),
    *((f"blocks.#.attn.{name}", f"encoder.block.#.layer.0.SelfAttention.{name}") for name in "qkvo"),
    ("blocks.#.ffn.gate.0", "encoder.block.#.layer.1.DenseReluDense.wi_0"),
    ("blocks.#.ffn.fc1", "encoder.block.#.layer.1.DenseReluDense.wi_1"),
    ("blocks.#.ffn.fc2", "encoder.block.#.layer.1.DenseReluDense.wo"),
)
"""Wan's T5 encoder and transformers' UMT5EncoderModel."""

_LLAMA_CPP_NAMES = (
    ("token_embedding", "token_embd"),
    ("norm", "enc.output_norm"),
    ("blocks.#.norm1", "enc.blk.#.attn_norm"),
    ("blocks.#.norm2", "enc.blk.#.ffn_norm"),
    ("blocks.#.pos_embedding.embedding", "enc.blk.#.attn_rel_b"),
    *((f"blocks.#.attn.{name}", f"enc.blk.#.attn_{name}") for name in "qkvo"),
    ("blocks.#.ffn.gate.0", "enc.blk.#.ffn_gate"),
    ("blocks.#.ffn.fc1", "enc.blk.#.ffn_up"),
    ("blocks.#.ffn.fc2", "enc.blk.#.ffn_down"),
)
"""Wan's T5 encoder and llama.cpp's, as GGUF files have it."""

_SHARED = {"shared.weight": "encoder.embed_tokens.weight"}
"""Files of UMT5 hold its token embedding under either name, or both."""

_SIGNATURES: tuple[tuple[str, Component, str], ...] = (
    (r"[._]lora_(?:[AB]|up|down)\b|\.lora\.(?:up|down)\.", "lora", "LoRA adapter"),
    (r"^transformer_blocks\.\d+\.attn1\.", "other", "CogVideoX transformer (Mask2DiT's, another network)"),
    (r"^blocks\.\d+\.self_attn\.", "transformer", "Wan transformer (original names)"),
    (r"^blocks\.\d+\.attn1\.", "transformer", "Wan transformer (diffusers names)"),
    (r"^(encoder\.downsamples|decoder\.upsamples)\.", "codec", "Wan VAE (original names)"),
    (r"^(encoder\.down_blocks|decoder\.up_blocks)\.", "codec", "Wan VAE (diffusers names)"),
    (r"^blocks\.\d+\.pos_embedding\.", "text_encoder", "UMT5 encoder (original names)"),
    (r"^encoder\.block\.\d+\.layer\.", "text_encoder", "UMT5 encoder (transformers names)"),
    (r"^enc\.blk\.\d+\.attn_rel_b\.", "text_encoder", "UMT5 encoder (llama.cpp names)"),
    (r"^decoder\.\d+\.conv\.\d+\.", "tiny_decoder", "tiny VAE for Wan's latents"),
)


def identify(names: Iterable[str]) -> tuple[Component, str] | None:
    """Tell which component of a model tensors of these names are, and in which format; None for unknown names."""
    listed = list(names)
    for pattern, component, layout in _SIGNATURES:
        if any(re.search(pattern, name) for name in listed):
            return component, layout
    return None


def unwrap(name: str) -> str:
    """Remove from a name what wrappers and prefixes put into it."""
    for wrapper in WRAPPERS:
        name = re.sub(rf"(^|\.){re.escape(wrapper)}", r"\1", name)
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name


def to_original(component: Component, state: Mapping[str, T]) -> dict[str, T]:
    """Rename tensors of any known layout to Wan's names. A name in no table stays, so that a report can name it."""
    if component == "transformer":
        return _rename(TRANSFORMER_NAMES, state)
    if component == "codec":
        return _rename(VAE_NAMES, _count_decoder(state))
    return text_to_original({_SHARED.get(name, name): value for name, value in state.items()})


def transformer_to_diffusers(state: Mapping[str, T]) -> dict[str, T]:
    """Rename tensors of the transformer from Wan's names to diffusers'."""
    return _rename(_swapped(TRANSFORMER_NAMES), state)


def text_to_original(state: Mapping[str, T]) -> dict[str, T]:
    """Rename tensors of the text encoder from transformers' or llama.cpp's names to Wan's."""
    return _rename((*TEXT_NAMES, *_LLAMA_CPP_NAMES), state)


def text_to_transformers(state: Mapping[str, T]) -> dict[str, T]:
    """Rename tensors of the text encoder from Wan's names to transformers'."""
    return _rename(_swapped(TEXT_NAMES), state)


def _swapped(table: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((theirs, ours) for ours, theirs in table)


def _rename(table: Iterable[tuple[str, str]], state: Mapping[str, T]) -> dict[str, T]:
    known = {theirs: ours for ours, theirs in table}
    return {_renamed(known, name): value for name, value in state.items()}


def _renamed(known: Mapping[str, str], name: str) -> str:
    """Replace the longest module name that the table knows, as it stands or with its first number as `#`."""
    number = re.search(r"\.(\d+)", name)
    words = name.split(".")
    for end in range(len(words), 0, -1):
        module = ".".join(words[:end])
        for pattern in (module, re.sub(r"\.\d+", ".#", module, count=1)):
            if pattern in known:
                return ".".join([known[pattern].replace("#", number[1] if number else ""), *words[end:]])
    return name


def _count_decoder(state: Mapping[str, T]) -> dict[str, T]:
    """Number the decoder's layers from first to last, as Wan does; diffusers nests them in blocks."""
    pattern = re.compile(r"decoder\.up_blocks\.(\d+)\.(resnets|upsamplers)\.(\d+)\.")
    matches = {name: pattern.match(name) for name in state}
    residuals = 1 + max((int(m[3]) for m in matches.values() if m and m[2] == "resnets"), default=-1)

    def count(name: str) -> str:
        match = matches[name]
        if match is None:
            return name
        index = int(match[3]) if match[2] == "resnets" else residuals
        return f"decoder.layers.{int(match[1]) * (residuals + 1) + index}.{name[match.end() :]}"

    return {count(name): value for name, value in state.items()}
