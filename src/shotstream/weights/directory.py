"""Read and write a model as a directory of ours: `config.json`, `tokenizer.json`, and a `.safetensors` a network."""

import secrets
import shutil
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from shotstream.core.atomic_files import PARTIAL_SUFFIX, make_directory, write_json, writing
from shotstream.core.config import from_dict, to_dict
from shotstream.core.errors import InputError
from shotstream.model.config import ModelConfig
from shotstream.model.transformer import Transformer
from shotstream.weights.build import ModelComponents, ModelStates, exact_names
from shotstream.weights.finite import check_conversion
from shotstream.weights.publish import model_card
from shotstream.weights.tensors import read_json, read_tensors
from shotstream.weights.tokenizer import read_tokenizer

CONFIG_FILE, TOKENIZER_FILE, CARD_FILE = "config.json", "tokenizer.json", "README.md"
WEIGHT_FILES = {
    "transformer": "transformer.safetensors",
    "codec": "codec.safetensors",
    "text_encoder": "text_encoder.safetensors",
}

LOW_NOISE_FILE = "transformer_low_noise.safetensors"
"""The second transformer of a model that has one."""


def is_ours(directory: Path) -> bool:
    """Return whether a directory has our `config.json` (a published one has another, without `video`)."""
    path = directory / CONFIG_FILE
    return path.is_file() and "video" in read_json(path)


def read_config(directory: Path) -> ModelConfig:
    """Read the configuration of a model in a directory of ours.

    Raises:
        InputError: it cannot be used.
    """
    return from_dict(ModelConfig, read_json(directory / CONFIG_FILE), str(directory / CONFIG_FILE))


def read_directory(directory: Path) -> ModelStates:
    """Read the tensors in a directory of ours.

    Raises:
        InputError: a file is missing or cannot be used.
    """
    config = read_config(directory)
    files = tuple(directory / name for name in (CONFIG_FILE, *WEIGHT_FILES.values(), TOKENIZER_FILE))
    transformer, codec, text_encoder = (read_tensors(directory / name) for name in WEIGHT_FILES.values())
    low_noise = None
    if config.expert_boundary is not None:
        files = (*files, directory / LOW_NOISE_FILE)
        low_noise = read_tensors(directory / LOW_NOISE_FILE)
    return ModelStates(
        config,
        transformer,
        codec,
        text_encoder,
        read_tokenizer(directory),
        files=files,
        source=str(directory),
        low_noise=low_noise,
    )


def check_target_directory(directory: Path) -> None:
    """Check that a model can be written and overwrites nothing.

    Raises:
        InputError: something is there already, or the file system refuses.
    """
    with writing(directory):
        taken = directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
    if taken:
        raise InputError(f"cannot write {directory}: it exists and is not empty; remove it or choose another name")


def write_directory(
    components: ModelComponents, directory: Path, dtype: torch.dtype | None = None, licence: str | None = None
) -> None:
    """Write a model as a directory of ours, whole or not at all, with a model card.

    Args:
        components: the model.
        directory: must be empty, or not there.
        dtype: of floating tensors; None: as they are.
        licence: for the card, an identifier of the hub such as "apache-2.0"; None leaves it open.

    Raises:
        InputError: something is there already, the model has no tokenizer, a tensor is not finite in `dtype`, or the
            file system refuses.
    """
    check_target_directory(directory)
    tokenizer = components.text_encoder.tokenizer
    if tokenizer is None:
        raise InputError(f"cannot write {directory}: the model has no tokenizer; give its text encoder one")
    make_directory(directory.parent)
    partial = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
    try:
        with writing(directory):
            partial.mkdir()
            write_json(partial / CONFIG_FILE, to_dict(components.config))
            _write_weights(components, partial, dtype)
            tokenizer.save(str(partial / TOKENIZER_FILE))
            card = model_card(components.config, count_parameters(components), licence)
            (partial / CARD_FILE).write_text(card, encoding="utf8")
            partial.replace(directory)
    except SafetensorError as error:  # what it makes of a full disk
        raise InputError(f"cannot write {directory}: {error}; free some space or write elsewhere") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def count_parameters(components: ModelComponents) -> int:
    """Return the number of parameters of all networks of a model."""
    networks = (components.transformer, components.low_noise, components.codec, components.text_encoder)
    return sum(one.numel() for network in networks if isinstance(network, nn.Module) for one in network.parameters())


def _write_weights(components: ModelComponents, directory: Path, dtype: torch.dtype | None) -> None:
    networks = {
        WEIGHT_FILES["transformer"]: components.transformer,
        WEIGHT_FILES["codec"]: cast(nn.Module, components.codec),
        WEIGHT_FILES["text_encoder"]: components.text_encoder,
    }
    if components.low_noise is not None:
        networks[LOW_NOISE_FILE] = components.low_noise
    exact = exact_names(components.config)
    for file, network in networks.items():
        component, state = file.removesuffix(".safetensors"), network.state_dict()
        cast_to = {name: torch.float32 if isinstance(network, Transformer) and exact(name) else dtype for name in state}
        written = {
            name: value.to(device="cpu", dtype=cast_to[name] if value.is_floating_point() else None).contiguous()
            for name, value in state.items()
        }
        check_conversion(state, written, f"{components.source} ({component.replace('_', ' ')})")
        save_file(written, directory / file, metadata={"format": "pt", "component": component})
