"""A run that begins with another model: its codec and text encoder are done, the base trains on from its weights."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import cast

import torch
from torch import nn

from shotstream.core.atomic_files import make_directory
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.data.latents import claim_directory, hash_tensors
from shotstream.model.block_codec import BlockCodec
from shotstream.train.checkpoint import find_checkpoints
from shotstream.train.loop import Stage
from shotstream.train.recipe import PRETRAINED_STAGES, Run
from shotstream.train.stages.codec import CodecStage
from shotstream.train.stages.text import TOKENIZER_FILE, TextStage
from shotstream.weights.build import ModelComponents
from shotstream.weights.hub import open_components

ADOPTED_FILE = "adopted.json"
_SHAPES: Mapping[str, str] = MappingProxyType({"codec": "block_codec", "text": "text_encoder", "base": "transformer"})
"""For every stage, the field of a model's configuration that holds its shape."""


def warm_start(run: Run, source: str, stages: Sequence[str] = PRETRAINED_STAGES) -> None:
    """Begins a run with another model; done again after it was interrupted, it does what is left.

    Args:
        run: whose stages are begun.
        source: of a model of this shape, as `shotstream.open` reads it; what tells shots apart may be another.
        stages: those of codec, text and base that are taken from it.

    Raises:
        InputError: there is no such model, it has another shape, or the run has such a stage from elsewhere.
    """
    components = open_components(source, "cpu", torch.float32)
    for stage in stages:
        check_shape(run, stage, components, source)
        if find_checkpoints(run.directory / stage) and not (run.directory / stage / ADOPTED_FILE).exists():
            raise InputError(f"{run.directory} has a {stage} of its own already; name another run, or adopt nothing")
    for stage in stages:
        directory = make_directory(run.directory / stage)
        network = {"codec": components.codec, "text": components.text_encoder, "base": components.transformer}[stage]
        claim_directory(
            directory / ADOPTED_FILE, {"model": hash_tensors(cast(nn.Module, network).state_dict().values())}
        )
        if not find_checkpoints(directory):
            _begin(run, stage, components).state.save(directory, run.distributed, 1)


def check_shape(run: Run, stage: str, components: ModelComponents, source: str) -> None:
    """Raises InputError where a stage of the run cannot begin with that part of a model."""
    what = _SHAPES[stage]
    shapes = getattr(components.config, what), getattr(run.preset.model, what)
    if None in shapes:
        whose = source if shapes[0] is None else run.directory
        raise InputError(f"{whose} is of Wan's VAE and has no {what}; take other stages than {stage}")
    theirs, ours = map(to_dict, shapes)
    if stage == "base":
        theirs["indicator"] = ours["indicator"]
    if theirs != ours:
        other = ", ".join(f"model.{what}.{key}={theirs.get(key)}" for key in ours if theirs.get(key) != ours[key])
        raise InputError(f"{source} has another {what}; set {other}, or take other stages than {stage}")


def _begin(run: Run, stage: str, components: ModelComponents) -> Stage:
    """A stage with the model's weights: the base at its first step, the others at their last."""
    begins: Mapping[str, Callable[[], Stage]] = {
        "codec": lambda: CodecStage(cast(BlockCodec, components.codec), run.preset.codec, torch.device("cpu")),
        "text": lambda: _text_stage(run, components),
        "base": lambda: run.build("base"),
    }
    built = begins[stage]()
    if stage == "base":
        built.state.load_weights(run.network(components.transformer.state_dict()).state_dict())
    else:
        built.state.step = run.loop(stage).steps
    return built


def _text_stage(run: Run, components: ModelComponents) -> Stage:
    assert components.text_encoder.tokenizer is not None, "a model that is opened reads captions"
    components.text_encoder.tokenizer.save(str(run.directory / "text" / TOKENIZER_FILE))
    return TextStage(components.text_encoder, run.preset.text)
