"""Find and read published files: Wan2.1 in its original or diffusers layout, and a checkpoint of its transformer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shotstream.core.errors import InputError
from shotstream.core.spec import VideoSize
from shotstream.model.config import ModelConfig, WanVAEConfig
from shotstream.weights import shapes
from shotstream.weights.build import ModelStates
from shotstream.weights.load import read_component
from shotstream.weights.lora import ADAPTER_FILE, adapter_files, merge_adapter
from shotstream.weights.role import SAMPLERS, assume_role, check_role
from shotstream.weights.tensors import files_of, read_json
from shotstream.weights.tiny_vae import PUBLISHED_FILES as TINY_DECODER_FILES
from shotstream.weights.tokenizer import read_tokenizer

SIZE = VideoSize(height=480, width=832)
WAN_1_3B = ModelConfig("wan-1.3b", SIZE, wan_vae=WanVAEConfig(), sampler=SAMPLERS["student"])
"""Shape of the published ShotStream, known without its weights."""

CONFIG_FILE = "config.json"
CHECKPOINT_SUFFIXES = (".pt", ".ckpt", ".pth")
_DIFFUSERS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json")
HIGH_NOISE, LOW_NOISE = "high_noise", "low_noise"
"""Parts of names that tell Wan2.2's two transformers (or their directories) apart."""
TRANSFORMER_FILES = tuple(
    f"{directory}{name}" for directory in ("", "transformer/", f"{HIGH_NOISE}_model/") for name in _DIFFUSERS
)
EXPERT_BOUNDARY = 0.875
"""The noise level below which the low-noise transformer of Wan2.2-T2V-A14B predicts (and of HoloCine)."""
ADAPTER_FILES = (ADAPTER_FILE, "lora.pt")
"""Adapters that are merged where they lie beside a transformer; the second is LongLive's."""
CODEC_FILES = ("Wan2.1_VAE.pth", "Wan2.1_VAE.safetensors", *(f"vae/{name}" for name in _DIFFUSERS))
TEXT_FILES = (
    "models_t5_umt5-xxl-enc-bf16.pth",
    "models_t5_umt5-xxl-enc-bf16.safetensors",
    "text_encoder/model.safetensors",
    "text_encoder/model.safetensors.index.json",
)
TOKENIZER_DIRECTORIES = ("google/umt5-xxl/", "tokenizer/", "text_encoder/", "")
TOKENIZER_FILES = tuple(
    f"{directory}{name}" for directory in TOKENIZER_DIRECTORIES for name in ("tokenizer.json", "spiece.model")
)


@dataclass(frozen=True)
class ReadOptions:
    """Options for the files of a published model.

    Attributes:
        lora: a LoRA to merge into the transformer: its file or directory. None: `adapter_model.safetensors` of the
            model's directory, where there is one.
        lora_alpha: outweighs what the LoRA's files say.
        role: of the transformer (`role.ROLES`); None: assumed, with a note.
        checkpoint_key: container of the transformer's tensors (`generator_ema`, for instance); None: the first known.
    """

    lora: Path | None = None
    lora_alpha: float | None = None
    role: str | None = None
    checkpoint_key: str | None = None

    def __post_init__(self) -> None:
        if self.role is not None:
            check_role(self.role)


@dataclass(frozen=True)
class PublishedFiles:
    """Paths of the components of a published model.

    `low_noise` is the second of two transformers, None where there is one. `hints` is the transformer's `config.json`,
    where it has one.
    """

    transformer: Path
    low_noise: Path | None
    hints: Path | None
    codec: Path
    text_encoder: Path
    tokenizer: Path

    def all(self) -> tuple[Path, ...]:
        """List every file that makes the model what it is, shards included."""
        components = (self.transformer, self.low_noise, self.codec, self.text_encoder)
        weights = (file for path in components if path is not None for file in files_of(path))
        return (*weights, self.tokenizer, *([self.hints] if self.hints else []))


def has_base(directory: Path) -> bool:
    """Return whether Wan2.1's own files lie in a directory, judged by its VAE."""
    return _first(directory, CODEC_FILES) is not None


def locate(path: Path, base: Path | None = None) -> PublishedFiles:
    """Find the files of a published model, from its directory or from a transformer's file with Wan2.1 near it.

    A `.pt` in the directory, or one beside it with `shotstream` in its name, replaces the transformer. `base` is where
    Wan2.1 lies if not near the checkpoint; None searches near it.

    Raises:
        InputError: a component is missing, or several files could be meant.
    """
    if path.name == CONFIG_FILE:
        raise InputError(f"{path}: expected a file of weights, or a model's directory; pass {path.parent}")
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


def read_published(path: Path, base: Path | None = None, options: ReadOptions = ReadOptions()) -> ModelStates:
    """Read the tensors of a published model under their original names, and its configuration from their shapes.

    Args:
        path, base: as `locate` takes them.
        options: what the user gives beside the files.

    Raises:
        InputError: a component is missing, or cannot be read; or the LoRA does not fit.
    """
    files = locate(path, base)
    notes: list[str] = []
    if files.transformer not in (path, _first(path, TRANSFORMER_FILES)) and path.is_dir():
        notes.append(f"{path}: took the transformer from {files.transformer}; pass the path of a file to take that one")
    lora = options.lora or _first(path, ADAPTER_FILES)
    checkpoint = read_component(files.transformer, "transformer", options.checkpoint_key)
    role, transformer = options.role, checkpoint.tensors
    notes += checkpoint.notes
    if role is None:
        role, note = assume_role(files.transformer, checkpoint.key)
        notes.append(note)
    if lora is not None:
        if files.low_noise is not None:
            raise InputError(f"{lora}: expected a model with one transformer for a LoRA, got two; leave out --lora")
        transformer, lora_notes = merge_adapter(transformer, lora, options.lora_alpha)
        notes += lora_notes
    low_noise = None if files.low_noise is None else read_component(files.low_noise, "transformer")
    codec = read_component(files.codec, "codec")
    text_encoder = read_component(files.text_encoder, "text_encoder")
    shape = shapes.transformer_config(transformer, _hints(files.hints), str(files.transformer))
    if role == "base" and low_noise is None:
        shape = replace(shape, modulation="float32")
    config = ModelConfig(
        name=path.stem,
        video=SIZE,
        transformer=shape,
        wan_vae=shapes.vae_config(codec.tensors, _hints(_config_beside(files.codec)), str(files.codec)),
        text_encoder=shapes.text_encoder_config(text_encoder.tensors, shape.text_len, str(files.text_encoder)),
        sampler=SAMPLERS[role],
        expert_boundary=None if low_noise is None else EXPERT_BOUNDARY,
    )
    return ModelStates(
        config,
        transformer,
        codec.tensors,
        text_encoder.tensors,
        tokenizer=read_tokenizer(files.tokenizer.parent),
        files=(*files.all(), *adapter_files(lora)),
        source=str(path),
        notes=(*notes, *codec.notes, *text_encoder.notes),
        low_noise=None if low_noise is None else low_noise.tensors,
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
    return PublishedFiles(transformer, _low_noise_of(transformer), hints, codec, text_encoder, tokenizer)


def _low_noise_of(transformer: Path) -> Path | None:
    """Find the low-noise transformer that belongs to a high-noise one, by their names; None for any other."""
    where = f"{transformer.parent.name}/{transformer.name}"
    if LOW_NOISE in where:
        raise InputError(f"{transformer}: expected the file of {HIGH_NOISE}, which brings that of {LOW_NOISE}; pass it")
    if HIGH_NOISE not in where:
        return None
    partner = transformer.parents[1] / where.replace(HIGH_NOISE, LOW_NOISE)
    if not partner.is_file():
        raise InputError(f"{transformer}: expected the transformer of {LOW_NOISE} at {partner}, found none; fetch both")
    return partner


def _base_near(checkpoint: Path) -> Path:
    """Find the one directory with Wan2.1's VAE beside the checkpoint, or up to two levels below it or its parent."""
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
    """Pick the files that are transformers: not those of Wan2.1's other components, nor adapters."""
    others = {Path(name).name for name in (*CODEC_FILES, *TEXT_FILES, *ADAPTER_FILES, *TINY_DECODER_FILES)}
    high = f"{HIGH_NOISE}.safetensors"
    return (
        file
        for file in files
        if file.is_file()
        and file.name not in others
        and (file.suffix in CHECKPOINT_SUFFIXES or file.name.endswith(high))
    )


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
