"""Published files as a model: Wan2.1's original or diffusers layout, and a ShotStream checkpoint over it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shotstream.core.errors import InputError
from shotstream.core.spec import VideoSize
from shotstream.model.config import ModelConfig, SamplerConfig, WanVAEConfig
from shotstream.weights import shapes as infer
from shotstream.weights.build import ModelStates
from shotstream.weights.load import ADAPTER_FILE, adapter_files, merge_adapter, read_part
from shotstream.weights.tensors import files_of, read_json
from shotstream.weights.tokenizer import read_tokenizer

SIZE = VideoSize(height=480, width=832)
FEW_STEP = SamplerConfig()
BASE_SAMPLER = SamplerConfig(kind="euler", guidance=6.0)
"""Wan2.1-T2V-1.3B is not distilled: 50 Euler steps, shift 8, guidance 6."""
WAN_1_3B = ModelConfig("wan-1.3b", SIZE, wan_vae=WanVAEConfig(), sampler=FEW_STEP)
"""The shape of the published ShotStream, for which no weights are needed."""

CONFIG_FILE = "config.json"
CHECKPOINT_SUFFIXES = (".pt", ".ckpt")
_DIFFUSERS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json")
TRANSFORMER_FILES = (*_DIFFUSERS, *(f"transformer/{name}" for name in _DIFFUSERS))
CODEC_FILES = ("Wan2.1_VAE.pth", "Wan2.1_VAE.safetensors", *(f"vae/{name}" for name in _DIFFUSERS))
TEXT_FILES = (
    "models_t5_umt5-xxl-enc-bf16.pth",
    "models_t5_umt5-xxl-enc-bf16.safetensors",
    "text_encoder/model.safetensors",
    "text_encoder/model.safetensors.index.json",
)
TOKENIZER_DIRECTORIES = ("google/umt5-xxl/", "tokenizer/", "text_encoder/", "")
TOKENIZER_FILES = tuple(
    f"{place}{name}" for place in TOKENIZER_DIRECTORIES for name in ("tokenizer.json", "spiece.model")
)


@dataclass(frozen=True)
class PublishedFiles:
    """Where the parts of a published model lie. `hints` is the transformer's `config.json`, where there is one."""

    transformer: Path
    hints: Path | None
    codec: Path
    text_encoder: Path
    tokenizer: Path
    distilled: bool

    def all(self) -> tuple[Path, ...]:
        """Every file that makes the model what it is, shards included."""
        weights = (file for path in (self.transformer, self.codec, self.text_encoder) for file in files_of(path))
        return (*weights, self.tokenizer, *([self.hints] if self.hints else []))


def has_base(directory: Path) -> bool:
    """Whether Wan2.1's own files lie in a directory, judged by its VAE."""
    return _first(directory, CODEC_FILES) is not None


def locate(path: Path, base: Path | None = None) -> PublishedFiles:
    """The files of a published model, from its directory or from a ShotStream checkpoint with Wan2.1 near it.

    A `.pt` in the directory, or one beside it with `shotstream` in its name, replaces the transformer. `base` is where
    Wan2.1 lies if not with the checkpoint; None looks near it.

    Raises:
        InputError: a part is missing, or there are several that could be meant.
    """
    if path.is_file():
        is_base = path.name in _DIFFUSERS
        return _collect(path.parent, None) if is_base else _collect(base or _base_near(path), path)
    checkpoint = _only(_checkpoints(path.iterdir()), f"{path}: one checkpoint")
    if checkpoint is None and has_base(path):
        beside = (file for file in _checkpoints(path.absolute().parent.iterdir()) if "shotstream" in file.name.lower())
        checkpoint = _only(beside, f"{path}: one ShotStream checkpoint beside it")
    if checkpoint is None or has_base(path):
        return _collect(path, checkpoint)
    return _collect(base or _base_near(checkpoint), checkpoint)


def read_published(
    path: Path, base: Path | None = None, *, adapter: Path | None = None, alpha: float | None = None
) -> ModelStates:
    """The tensors of a published model under their original names, its configuration read off their shapes.

    Args:
        path, base: as `locate` takes them.
        adapter: a PEFT LoRA to merge into the transformer; None takes `adapter_model.safetensors` of the directory,
            where there is one.
        alpha: the adapter's, where its `adapter_config.json` does not say it.

    Raises:
        InputError: a part is missing, or cannot be read.
    """
    files = locate(path, base)
    if adapter is None and (path / ADAPTER_FILE).is_file():
        adapter = path
    transformer = read_part(files.transformer, "transformer")
    if adapter is not None:
        transformer = merge_adapter(transformer, adapter, alpha)
    codec = read_part(files.codec, "codec")
    text_encoder = read_part(files.text_encoder, "text_encoder")
    shape = infer.transformer_config(transformer, _hints(files.hints), str(files.transformer))
    config = ModelConfig(
        name=path.stem,
        video=SIZE,
        transformer=shape,
        wan_vae=infer.vae_config(codec, _hints(_config_beside(files.codec)), str(files.codec)),
        text_encoder=infer.text_encoder_config(text_encoder, shape.text_len, str(files.text_encoder)),
        sampler=FEW_STEP if files.distilled else BASE_SAMPLER,
    )
    return ModelStates(
        config,
        transformer,
        codec,
        text_encoder,
        tokenizer=read_tokenizer(files.tokenizer.parent),
        files=(*files.all(), *adapter_files(adapter)),
        source=str(path),
    )


def _collect(base: Path, checkpoint: Path | None) -> PublishedFiles:
    own = _first(base, TRANSFORMER_FILES)
    found = {
        "transformer": (checkpoint or own, TRANSFORMER_FILES),
        "VAE": (_first(base, CODEC_FILES), CODEC_FILES),
        "text encoder": (_first(base, TEXT_FILES), TEXT_FILES),
        "tokenizer": (_first(base, TOKENIZER_FILES), TOKENIZER_FILES),
    }
    missing = [f"no {what} ({names[0]})" for what, (file, names) in found.items() if file is None]
    if missing:
        raise InputError(
            f"{base}: expected a directory of ours (config.json) or Wan2.1's files, found {', '.join(missing)}; "
            f"fetch Wan-AI/Wan2.1-T2V-1.3B into it"
        )
    transformer, codec, text_encoder, tokenizer = (file for file, _ in found.values() if file)
    hints = _config_beside(own or base / CONFIG_FILE)
    return PublishedFiles(transformer, hints, codec, text_encoder, tokenizer, distilled=checkpoint is not None)


def _base_near(checkpoint: Path) -> Path:
    """The one directory with Wan2.1's VAE beside the checkpoint, or up to two levels below it or its parent."""
    near = checkpoint.absolute().parent
    for root in (near, near.parent):
        for depth in ("", "*/", "*/*/"):
            bases = {file.parents[name.count("/")] for name in CODEC_FILES for file in root.glob(depth + name)}
            base = _only(bases, f"{checkpoint}: one directory of Wan2.1 near it")
            if base is not None:
                return base
    raise InputError(
        f"{checkpoint}: expected Wan2.1's VAE and text encoder near this checkpoint, found none; "
        f"fetch Wan-AI/Wan2.1-T2V-1.3B into {near}/Wan2.1-T2V-1.3B"
    )


def _checkpoints(files: Iterable[Path]) -> Iterator[Path]:
    return (file for file in files if file.suffix in CHECKPOINT_SUFFIXES and file.is_file())


def _only(paths: Iterable[Path], expected: str) -> Path | None:
    listed = sorted(paths)
    if len(listed) > 1:
        names = ", ".join(path.name for path in listed)
        raise InputError(f"{expected} expected, found {len(listed)} ({names}); pass the path of the one to use")
    return listed[0] if listed else None


def _first(directory: Path, names: Sequence[str]) -> Path | None:
    return next((directory / name for name in names if (directory / name).is_file()), None)


def _config_beside(file: Path) -> Path | None:
    path = file.parent / CONFIG_FILE
    return path if path.is_file() else None


def _hints(path: Path | None) -> Mapping[str, Any]:
    return read_json(path) if path else {}
