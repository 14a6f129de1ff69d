"""Report what files of weights hold: network, layout, precision, value range, and what is missing or not finite."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from shotstream.core.config import from_dict
from shotstream.core.errors import InputError
from shotstream.model.config import ModelConfig
from shotstream.model.device import shapes_only
from shotstream.model.names import identify, to_original
from shotstream.model.text_encoder import TextEncoder
from shotstream.model.transformer import Transformer
from shotstream.model.wan_vae import WanVAE
from shotstream.weights import shapes
from shotstream.weights.build import networks
from shotstream.weights.directory import CONFIG_FILE, WEIGHT_FILES, is_ours
from shotstream.weights.finite import nonfinite_names, some_names, value_ranges
from shotstream.weights.hub import open_components
from shotstream.weights.load import compare_tensors
from shotstream.weights.tensors import INDEX_SUFFIX, files_of, read_checkpoint, read_json
from shotstream.weights.tiny_vae import read_tiny_decoder

WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".gguf")
SEARCH_DEPTH = 3


@dataclass(frozen=True)
class FileReport:
    """One file of weights.

    Attributes:
        what: the network and the layout of its names.
        tensors, parameters: their numbers.
        dtypes: as stored.
        span: smallest and largest value of all finite tensors; None where there is no floating tensor.
        problem: why the file cannot be used; empty where it holds all tensors of its network, no others, all finite.
        notes: decisions that were taken while reading.
    """

    path: Path
    what: str
    tensors: int
    parameters: int
    dtypes: tuple[str, ...]
    size_bytes: int
    span: tuple[float, float] | None
    problem: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ModelReport:
    """Reports of the files at a path, and why they do not open as a model (empty where they do, or for one file)."""

    files: tuple[FileReport, ...]
    problem: str


def inspect(path: Path) -> ModelReport:
    """Report on a file or directory of weights.

    Raises:
        InputError: there is nothing there, or a file in it cannot be read.
    """
    if not os.path.isdir(path):
        return ModelReport((inspect_file(path),), "")
    reports = tuple(inspect_file(file) for file in weight_files(path))
    if not reports:
        raise InputError(f"{path}: expected files of weights ({', '.join(WEIGHT_SUFFIXES)}), found none")
    return ModelReport(reports, _error_of(lambda: open_components(path.absolute())))


def inspect_file(path: Path) -> FileReport:
    """Report on one file of weights, or on the index of a sharded one. All tensors are read once, for their range."""
    checkpoint = read_checkpoint(path)
    state = checkpoint.tensors
    what, problem = _identify(path, state)
    ranges = value_ranges(state)
    broken = nonfinite_names(ranges)
    finite = [ends for name, ends in ranges.items() if name not in broken]
    if broken:
        found = f"{len(broken)} tensors hold NaN or infinity ({some_names(broken)})"
        problem = f"{problem}; {found}" if problem else found
    return FileReport(
        path=path,
        what=what,
        tensors=len(state),
        parameters=sum(value.numel() for value in state.values()),
        dtypes=checkpoint.dtypes,
        size_bytes=sum(file.stat().st_size for file in files_of(path)),
        span=(min(low for low, _ in finite), max(high for _, high in finite)) if finite else None,
        problem=problem,
        notes=checkpoint.notes,
    )


def weight_files(directory: Path) -> Iterator[Path]:
    """List the files of weights in a directory and a few levels below; a sharded one by its index."""
    files = sorted(file for depth in range(SEARCH_DEPTH) for file in directory.glob("*/" * depth + "*"))
    indices = [file for file in files if file.name.endswith(INDEX_SUFFIX)]
    shards = {shard for index in indices for shard in files_of(index)}
    return (file for file in files if file in indices or (file.suffix in WEIGHT_SUFFIXES and file not in shards))


def _identify(path: Path, state: Mapping[str, Tensor]) -> tuple[str, str]:
    """Name the network that tensors belong to, and what is wrong with them."""
    if path.name in WEIGHT_FILES.values() and is_ours(path.parent):
        config = from_dict(ModelConfig, read_json(path.parent / CONFIG_FILE), str(path.parent / CONFIG_FILE))
        component = next(component for component, name in WEIGHT_FILES.items() if name == path.name)
        with shapes_only():
            network: nn.Module = networks(config, None)[tuple(WEIGHT_FILES).index(component)]
        mismatch = compare_tensors(network, state)
        return f"{component.replace('_', ' ')} of '{config.name}'", mismatch.report() if mismatch else ""
    found = identify(state)
    if found is None:
        return "unknown", f"tensors of no known kind (first: {next(iter(state), 'none')})"
    kind, layout = found
    if kind == "lora":
        return layout, ""
    if kind == "other":
        return layout, "a network that is not read here; expected one of Wan2.1 or of its kind"
    if kind == "tiny_decoder":
        return layout, _error_of(lambda: read_tiny_decoder(path))
    original = to_original(kind, state)
    try:
        with shapes_only():
            mismatch = compare_tensors(_network_like(kind, original, str(path)), original)
    except InputError as error:
        return layout, str(error)
    return layout, mismatch.report() if mismatch else ""


def _network_like(component: str, state: Mapping[str, Tensor], where: str) -> nn.Module:
    if component == "transformer":  # names and shapes do not depend on the number of heads
        return Transformer(shapes.transformer_config(state, {"num_heads": 1}, where))
    if component == "codec":
        return WanVAE(shapes.vae_config(state, {}, where))
    return TextEncoder(shapes.text_encoder_config(state, 1, where))


def _error_of(open_it: Callable[[], object]) -> str:
    """Return the message with which something does not open; empty where it opens."""
    try:
        open_it()
    except InputError as error:
        return str(error)
    return ""
