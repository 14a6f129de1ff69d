"""From the checkpoints of a run to a directory that opens as a model."""

from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.model.block_codec import BlockCodec
from shotstream.model.config import ModelConfig
from shotstream.model.directory import write_directory
from shotstream.model.parts import ModelParts
from shotstream.model.text import TextEncoder
from shotstream.model.tokenizer import read_tokenizer
from shotstream.model.transformer import Transformer
from shotstream.train.loop import CHECKPOINT

M = TypeVar("M", bound=nn.Module)


def load_codec(run: Path, config: ModelConfig) -> BlockCodec:
    """The codec of a run, averaged weights.

    Raises:
        InputError: the run has none yet.
    """
    assert config.block_codec is not None, "only the embedded codec is trained here"
    return _load(BlockCodec(config.block_codec), run / "codec", "")


def load_text_encoder(run: Path, config: ModelConfig) -> TextEncoder:
    """The text encoder of a run with its tokenizer, averaged weights.

    Raises:
        InputError: the run has none yet.
    """
    if not (run / "text" / CHECKPOINT).exists():
        raise InputError(f"{run} has no text encoder yet; run 'shotstream train text' first")
    encoder = TextEncoder(config.text_encoder, read_tokenizer(run / "text"))
    return _load(encoder, run / "text", "encoder.")


def load_transformer(run: Path, config: ModelConfig, stage: str = "base") -> Transformer:
    """The transformer a stage of a run has made, averaged weights.

    Raises:
        InputError: the run has none yet.
    """
    return _load(Transformer(config.transformer), run / stage, "")


def assemble(run: Path, config: ModelConfig) -> ModelParts:
    """The model that a run has made so far."""
    codec, encoder = load_codec(run, config), load_text_encoder(run, config)
    return ModelParts(config, load_transformer(run, config), codec, encoder, str(run), "")


def write_model(run: Path, config: ModelConfig, directory: Path) -> None:
    """Writes the model that a run has made so far, in bfloat16, as a directory of ours.

    Raises:
        InputError: a stage is missing, or the directory is not empty.
    """
    write_directory(assemble(run, config), directory, torch.bfloat16)


def _load(network: M, directory: Path, prefix: str) -> M:
    path = directory / CHECKPOINT
    if not path.exists():
        stage = directory.name
        raise InputError(f"{directory.parent} has no {stage} yet; run 'shotstream train {stage}' first")
    state = torch.load(path, map_location="cpu", weights_only=True)
    weights = cast(dict[str, Tensor], state["ema"] or state["model"])
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    network.load_state_dict(own)
    return network.eval()
