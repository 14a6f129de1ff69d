"""Stages of a run at step 0, built from what the stages before them have left."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

from shotstream.core.atomic_files import make_directory
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.data.latents import claim_directory
from shotstream.engine.policies import find_policy
from shotstream.model.text_encoder import TextEncoder
from shotstream.model.transformer import Transformer
from shotstream.train.alignment import add_alignment
from shotstream.train.checkpoint import find_checkpoints, read_weights
from shotstream.train.loop import Stage
from shotstream.train.lora import add_adapters
from shotstream.train.recipe import ADAPTERS_FILE, POLICY_FILE, PRETRAINED_STAGES, Run
from shotstream.train.stages.base import BaseStage, initialise
from shotstream.train.stages.causal_init import InitStage
from shotstream.train.stages.codec import CodecStage, create_codec, fit_linear
from shotstream.train.stages.guided_init import GuidedInitStage
from shotstream.train.stages.policy import PolicyStage
from shotstream.train.stages.stage1 import CRITIC, Networks, Stage1
from shotstream.train.stages.stage2 import Stage2
from shotstream.train.stages.teacher import TeacherStage, choose_trained
from shotstream.train.stages.text import TextStage, learn_tokenizer

STORIES_PER_SEED = 10**6
"""How far on in the stories of stage 2 the next seed begins."""


def build_stage(run: Run, stage: str) -> Stage:
    """Build a stage at step 0, from the results of the earlier stages that it needs.

    Raises:
        InputError: one of them has no checkpoint yet, or the stage cannot run with these processes.
    """
    if stage in PRETRAINED_STAGES and run.preset.pretrained:
        raise InputError(f"{stage} comes from {run.preset.pretrained}; set pretrained= to train it here")
    if stage in ("codec", "text") and run.distributed.processes > 1:
        raise InputError(f"expected one process for {stage}, got {run.distributed.processes}; run it alone first")
    return _BUILDERS[stage](run)


def _codec_stage(run: Run) -> Stage:
    torch.manual_seed(run.preset.seed)
    codec = create_codec(run.preset.model)
    if not find_checkpoints(run.directory / "codec"):
        fit_linear(codec, run.preset.codec.fit_clips)
    return CodecStage(codec, run.preset.codec, run.distributed.device, bfloat16=run.distributed.bfloat16)


def _text_stage(run: Run) -> Stage:
    tokenizer = learn_tokenizer(run.directory / "text", run.preset.model.text_encoder, run.preset.text)
    torch.manual_seed(run.preset.seed)
    return TextStage(TextEncoder(run.preset.model.text_encoder, tokenizer), run.preset.text)


def _base_stage(run: Run) -> Stage:
    torch.manual_seed(run.preset.seed)
    network = Transformer(run.preset.model.transformer)
    initialise(network)
    add_alignment(network, run.preset.base, run.preset.model.video)
    run.distributed.place(network)
    pictures, shots = run.pools("base")
    return BaseStage(network, pictures, shots, run.preset.model.sampler, run.preset.base, run.distributed)


def _teacher_stage(run: Run) -> Stage:
    network = run.network(run.weights("base"))
    choose_trained(network, run.preset.teacher.trained)
    run.distributed.place(network)
    (shots,) = run.pools("teacher")
    return TeacherStage(network, shots, run.preset.teacher, run.distributed)


def _init_stage(run: Run) -> Stage:
    if run.preset.init.target == "guided":
        return _guided_init_stage(run)
    trajectories = run.trajectories()
    trajectories.check_made()
    network = run.network(run.weights(run.preset.init.start))
    run.distributed.place(network)
    teacher_forced = run.preset.trajectories.source == "base"
    return InitStage(network, trajectories, run.preset.init, run.distributed, teacher_forced=teacher_forced)


def _guided_init_stage(run: Run) -> Stage:
    preset, base = run.preset, run.weights("base")
    network, shots = run.network(run.weights(preset.init.start)), run.shots(preset.init.loop.micro_batches)
    run.distributed.place(network)
    samplers = preset.model.sampler, preset.student
    return GuidedInitStage(network, run.frozen(base), shots, *samplers, preset.init, preset.base, run.distributed)


def _stage1(run: Run) -> Stage:
    real = run.weights(run.preset.stage1.real_score)
    generator, critic = run.network(run.weights("init")), run.network(real)
    for network in (generator, critic):
        run.distributed.place(network)
    networks = Networks(generator, critic, run.frozen(real))
    (shots,) = run.pools("stage1")
    return Stage1(networks, shots, run.preset.student, run.preset.stage1, run.distributed)


def _stage2(run: Run) -> Stage:
    preset, settings = run.preset, run.preset.stage2
    real, start = run.weights(settings.real_score), settings.start
    followed = read_weights(run.directory / "stage1", CRITIC, average=False) if start == "stage1" else real
    generator, critic = run.network(run.weights(start)), run.network(followed)
    for network in (generator, critic):
        if settings.lora.rank:
            add_adapters(network, settings.lora)
        run.distributed.place(network)
    networks = Networks(generator, critic, run.frozen(real))
    claim_directory(make_directory(run.directory / "stage2") / ADAPTERS_FILE, to_dict(settings.lora))
    source, codec, encoder = run.source, run.codec, run.encoder
    first = preset.seed * STORIES_PER_SEED
    return Stage2(networks, source, codec, encoder, preset.model, preset.student, settings, run.distributed, first)


def _policy_stage(run: Run) -> Stage:
    preset, settings = run.preset, run.preset.policy
    if not settings.policy:
        raise InputError("expected a policy to train for, got none; add for instance --set policy=echoshot")
    spec = find_policy(settings.policy).spec
    spec.check_model(preset.model)
    for count in settings.shots:
        spec.check_count(count)
    for chunks in settings.chunks:
        spec.check_length(chunks, preset.model.shot)
    if spec.keys is not None and run.distributed.config.checkpoint_activations:
        raise InputError(
            f"policy {spec.name} has a cache, which moves on before a block is computed again; "
            "set distributed.checkpoint_activations=false"
        )
    network = run.network(run.weights("base"))
    run.distributed.place(network)
    claim_directory(make_directory(run.directory / "policy") / POLICY_FILE, {"policy": settings.policy})
    source, codec, encoder = run.source, run.codec, run.encoder
    first = preset.seed * STORIES_PER_SEED
    return PolicyStage(network, source, codec, encoder, preset.student, settings, run.distributed, first)


_BUILDERS: Mapping[str, Callable[[Run], Stage]] = MappingProxyType(
    {
        "codec": _codec_stage,
        "text": _text_stage,
        "base": _base_stage,
        "teacher": _teacher_stage,
        "init": _init_stage,
        "stage1": _stage1,
        "stage2": _stage2,
        "policy": _policy_stage,
    }
)
