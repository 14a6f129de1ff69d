"""What files of weights hold, without running them: for people who wonder what they have."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from shotstream.core.config import from_dict
from shotstream.core.errors import InputError
from shotstream.model.config import ModelConfig
from shotstream.model.names import identify, to_original
from shotstream.model.text_encoder import TextEncoder
from shotstream.model.transformer import Transformer
from shotstream.model.wan_vae import WanVAE
from shotstream.weights import shapes as infer
from shotstream.weights.build import networks
from shotstream.weights.directory import CONFIG_FILE, WEIGHT_FILES, is_ours
from shotstream.weights.hub import open_components
from shotstream.weights.load import compare
from shotstream.weights.tensors import INDEX_SUFFIX, files_of, read_json, read_tensors
from shotstream.weights.tiny_vae import read_tiny_decoder

WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt")
SEARCH_DEPTH = 3


@dataclass(frozen=True)
class FileReport:
    """One file of weights. `problem` is empty where it holds every tensor of its network and no other."""

    path: Path
    what: str
    tensors: int
    parameters: int
    dtypes: tuple[str, ...]
    size_bytes: int
    problem: str


@dataclass(frozen=True)
class ModelReport:
    """What lies at a path. `problem` says why it does not open as a model, empty where it does or is a single file."""

    files: tuple[FileReport, ...]
    problem: str


def inspect(path: Path) -> ModelReport:
    """What a file or directory of weights is, and what is missing.

    Raises:
        InputError: there is nothing there, or a file in it cannot be read.
    """
    if not os.path.isdir(path):
        return ModelReport((inspect_file(path),), "")
    reports = tuple(inspect_file(file) for file in weight_files(path))
    if not reports:
        raise InputError(f"{path}: expected files of weights ({', '.join(WEIGHT_SUFFIXES)}), found none")
    return ModelReport(reports, _complaint(lambda: open_components(path.absolute())))


def inspect_file(path: Path) -> FileReport:
    """What one file of weights (or the index of a sharded one) is."""
    state = read_tensors(path)
    what, problem = _judge(path, state)
    return FileReport(
        path=path,
        what=what,
        tensors=len(state),
        parameters=sum(value.numel() for value in state.values()),
        dtypes=tuple(sorted({str(value.dtype).removeprefix("torch.") for value in state.values()})),
        size_bytes=sum(file.stat().st_size for file in files_of(path)),
        problem=problem,
    )


def weight_files(directory: Path) -> Iterator[Path]:
    """The files of weights in a directory and a few levels below; a sharded one is given by its index."""
    files = sorted(file for depth in range(SEARCH_DEPTH) for file in directory.glob("*/" * depth + "*"))
    indices = [file for file in files if file.name.endswith(INDEX_SUFFIX)]
    shards = {shard for index in indices for shard in files_of(index)}
    return (file for file in files if file in indices or (file.suffix in WEIGHT_SUFFIXES and file not in shards))


def _judge(path: Path, state: Mapping[str, Tensor]) -> tuple[str, str]:
    """What the tensors are, and what is wrong with them."""
    if path.name in WEIGHT_FILES.values() and is_ours(path.parent):
        config = from_dict(ModelConfig, read_json(path.parent / CONFIG_FILE), str(path.parent / CONFIG_FILE))
        part = next(part for part, name in WEIGHT_FILES.items() if name == path.name)
        with torch.device("meta"):
            network: nn.Module = networks(config, None)[tuple(WEIGHT_FILES).index(part)]
        mismatch = compare(network, state)
        return f"{part.replace('_', ' ')} of '{config.name}'", mismatch.report() if mismatch else ""
    found = identify(state)
    if found is None:
        return "unknown", f"tensors of no known kind (first: {next(iter(state), 'none')})"
    part, layout = found
    if part == "lora":
        return layout, ""
    if part == "tiny_decoder":
        return layout, _complaint(lambda: read_tiny_decoder(path))
    original = to_original(part, state)
    try:
        with torch.device("meta"):
            mismatch = compare(_network_like(part, original, str(path)), original)
    except InputError as error:
        return layout, str(error)
    return layout, mismatch.report() if mismatch else ""


def _network_like(part: str, state: Mapping[str, Tensor], where: str) -> nn.Module:
    if part == "transformer":  # names and shapes do not depend on the number of heads
        return Transformer(infer.transformer_config(state, {"num_heads": 1}, where))
    if part == "codec":
        return WanVAE(infer.vae_config(state, {}, where))
    return TextEncoder(infer.text_encoder_config(state, 1, where))


def _complaint(open_it: Callable[[], object]) -> str:
    """Why something does not open; empty where it does. Tensors are mapped from disk, so that this costs little."""
    try:
        open_it()
    except InputError as error:
        return str(error)
    return ""
