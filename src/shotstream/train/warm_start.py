"""Begin a run with another model: its codec and text encoder are taken as they are, its base is trained on."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import cast

import torch
from torch import nn

from shotstream.core.atomic_files import make_directory
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.data.latents import claim_directory, hash_tensors
from shotstream.model.conv_codec import ConvCodec
from shotstream.model.transformer import ADDED_PARTS
from shotstream.train.build_stage import build_stage
from shotstream.train.checkpoint import find_checkpoints
from shotstream.train.loop import NETWORK, Stage
from shotstream.train.recipe import PRETRAINED_STAGES, Run
from shotstream.train.stages.codec import CodecStage
from shotstream.train.stages.text import TOKENIZER_FILE, TextStage
from shotstream.weights.build import ModelComponents
from shotstream.weights.hub import open_components

WARM_START_FILE = "warm_start.json"
_SHAPES: Mapping[str, str] = MappingProxyType({"codec": "conv_codec", "text": "text_encoder", "base": "transformer"})
"""The field of a model's configuration that holds the shape of each stage."""


def warm_start(run: Run, source: str, stages: Sequence[str] = PRETRAINED_STAGES) -> None:
    """Begin a run with stages of another model; a second call after an interruption does the rest.

    Args:
        run: a run in which these stages have no checkpoint yet.
        source: the model, as for `shotstream.open`. Its shape must be the preset's; but the indicator may differ, and
            it may lack `previous`, `ffn_conv` and `copy_previous`.
        stages: of codec, text and base.

    Raises:
        InputError: there is no such model, it has another shape, or the run has the stage already.
    """
    components = open_components(source, "cpu", torch.float32)
    for stage in stages:
        check_shape(run, stage, components, source)
        if find_checkpoints(run.directory / stage) and not (run.directory / stage / WARM_START_FILE).exists():
            raise InputError(f"{run.directory} has a {stage} of its own already; name another run, or other stages")
    for stage in stages:
        directory = make_directory(run.directory / stage)
        network = {"codec": components.codec, "text": components.text_encoder, "base": components.transformer}[stage]
        claim_directory(
            directory / WARM_START_FILE, {"model": hash_tensors(cast(nn.Module, network).state_dict().values())}
        )
        if not find_checkpoints(directory):
            _begin_stage(run, stage, components).state.save(directory, run.distributed, 1)


def check_shape(run: Run, stage: str, components: ModelComponents, source: str) -> None:
    """Raise InputError if a stage of the run cannot begin with the model."""
    what = _SHAPES[stage]
    shapes = getattr(components.config, what), getattr(run.preset.model, what)
    if None in shapes:
        whose = source if shapes[0] is None else run.directory
        raise InputError(f"{whose} is of Wan's VAE and has no {what}; take other stages than {stage}")
    theirs, ours = map(to_dict, shapes)
    if stage == "base":
        theirs["indicator"] = ours["indicator"]
        theirs |= {lever: ours[lever] for lever in ("previous", *ADDED_PARTS) if not theirs[lever]}
    if theirs != ours:
        other = ", ".join(f"model.{what}.{key}={theirs.get(key)}" for key in ours if theirs.get(key) != ours[key])
        raise InputError(f"{source} has another {what}; set {other}, or take other stages than {stage}")


def _begin_stage(run: Run, stage: str, components: ModelComponents) -> Stage:
    """Build a stage with the model's weights: the base at its first step, the others at their last."""
    builders: Mapping[str, Callable[[], Stage]] = {
        "codec": lambda: CodecStage(cast(ConvCodec, components.codec), run.preset.codec, torch.device("cpu")),
        "text": lambda: _text_stage(run, components),
        "base": lambda: build_stage(run, "base"),
    }
    built = builders[stage]()
    if stage == "base":
        own = built.state.trained[NETWORK].network.state_dict()
        built.state.load_weights(own | run.network(components.transformer.state_dict()).state_dict())
    else:
        built.state.step = run.loop(stage).steps
    return built


def _text_stage(run: Run, components: ModelComponents) -> Stage:
    assert components.text_encoder.tokenizer is not None, "a model that is opened reads captions"
    components.text_encoder.tokenizer.save(str(run.directory / "text" / TOKENIZER_FILE))
    return TextStage(components.text_encoder, run.preset.text)
