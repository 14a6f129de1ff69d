"""A training run: builds the stages of a preset in one directory, each from the results of earlier stages."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from shotstream.core.atomic_files import make_directory, write_json
from shotstream.core.config import from_dict, to_dict
from shotstream.core.errors import InputError
from shotstream.data.latents import LatentPool, PoolConfig, claim_directory, hash_tensors
from shotstream.data.samples import ShotSource
from shotstream.engine.policies import find_policy
from shotstream.model.codec import Codec
from shotstream.model.config import SamplerConfig
from shotstream.model.context_injection import EMBEDDING, begin_channels
from shotstream.model.text_encoder import TextEncoder
from shotstream.model.transformer import Transformer, begins_at_zero
from shotstream.train.alignment import without_alignment
from shotstream.train.checkpoint import find_checkpoints, load_weights, read_weights
from shotstream.train.config import LoopConfig, LoraConfig
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import NETWORK, Stage
from shotstream.train.lora import merge_trained_adapters
from shotstream.train.presets import Preset
from shotstream.train.stages.codec import create_codec
from shotstream.train.stages.stage1 import GENERATOR
from shotstream.train.stages.text import ENCODER
from shotstream.train.stages.trajectories import TrajectoryStore
from shotstream.weights.build import ModelComponents
from shotstream.weights.directory import write_directory
from shotstream.weights.tensors import read_json
from shotstream.weights.tokenizer import read_tokenizer
from shotstream.world.trait_reader import TraitReader

STAGES = ("codec", "text", "base", "teacher", "trajectories", "init", "stage1", "stage2")
PRETRAINED_STAGES = ("codec", "text", "base")
"""Stages that a pretrained model replaces."""
MODEL_STAGES = ("stage2", "stage1", "init", "teacher", "base", "policy")
"""Stages that produce a transformer, the latest first."""
OTHER_MODEL_STAGES = ("teacher", "policy")
"""Stages whose model is not ShotStream's own: the teacher is not causal, and `policy` is for another policy."""
SHOT_POOL_OF: Mapping[str, str] = MappingProxyType(
    {"base": "base", "teacher": "teacher", "trajectories": "teacher", "stage1": "stage1"}
)
"""Stages that read a pool of shots, and the stage whose number of micro-batches that pool has."""
RECIPE_FILE, ADAPTERS_FILE, POLICY_FILE = "recipe.json", "adapters.json", "policy.json"
BATCHES_PER_SEED = 101
"""How far on in the pools the next seed begins."""


class Run:
    """The stages of one preset in one directory."""

    def __init__(self, directory: Path, preset: Preset, distributed: DistributedContext) -> None:
        """Describe a run in `directory`; nothing is read or written yet."""
        self.directory, self.preset, self.distributed = directory, preset, distributed

    def begin(self) -> None:
        """Create the directory if it is missing, and write the preset into it.

        Raises:
            InputError: it cannot be created.
        """
        make_directory(self.directory)
        if self.distributed.main:
            write_json(self.directory / RECIPE_FILE, to_dict(self.preset))

    def stages(self) -> tuple[str, ...]:
        """List the stages of this run in order, without those that a pretrained model replaces or that nobody reads."""
        preset = self.preset
        read: set[str] = {preset.stage1.real_score, preset.stage2.real_score, preset.init.start}
        if preset.init.target == "trajectories":
            read |= {"trajectories", preset.trajectories.source}
        left_out = {*(PRETRAINED_STAGES if preset.pretrained else ()), *({"teacher", "trajectories"} - read)}
        return tuple(name for name in STAGES if name not in left_out)

    def loop(self, stage: str) -> LoopConfig:
        """Return the loop settings of a stage."""
        return cast(LoopConfig, getattr(self.preset, stage).loop)

    def make_trajectories(self, on_progress: Callable[[int], None], minutes: float | None = None) -> bool:
        """Generate missing trajectories of the teacher or the base, and return whether all are there.

        Raises:
            InputError: those on disk are of another network, or of other shots.
        """
        source = self.preset.trajectories.source
        weights, (shots,), store = self.weights(source), self.pools("trajectories"), self.trajectories()
        made_from = {source: hash_tensors(weights.values()), "shots": shots.identity}
        claim_directory(store.identity_file, {**store.identity, **made_from})
        return store.make(self.frozen(weights), shots, self.distributed, on_progress, minutes)

    def pools(self, *stages: str) -> tuple[LatentPool, ...]:
        """Return the pools that these stages read, each once: pictures, if the base is one of them, then shots."""
        micro_batches = dict.fromkeys(
            self.loop(SHOT_POOL_OF[stage]).micro_batches for stage in stages if stage in SHOT_POOL_OF
        )
        pictures = [self.pictures()] if "base" in stages else []
        return (*pictures, *(self.shots(count) for count in micro_batches))

    def shots(self, micro_batches: int) -> LatentPool:
        """Return the pool of shots whose batches have that many micro-batches."""
        return self._pool("shots", self.preset.shots, micro_batches)

    def pictures(self) -> LatentPool:
        """Return the pool of pictures that the base stage begins with."""
        return self._pool("pictures", self.preset.base.pictures, self.preset.base.loop.micro_batches)

    @cached_property
    def source(self) -> ShotSource:
        """Return the source of training shots: StoryWorld or a manifest.

        Raises:
            InputError: the manifest cannot be read.
        """
        model, source = self.preset.model, self.preset.source
        if source.kind == "storyworld":
            from shotstream.data.storyworld import StoryWorldShots

            shares = {"pair_share": source.pair_share, "moving_share": source.moving_share}
            return StoryWorldShots(model.context, model.captions, **shares, shape=model.shot)
        from shotstream.data.manifest import ManifestShots, read_manifest

        manifest = read_manifest(Path(source.manifest), skip_bad=source.skip_bad, resample=source.resample)
        return ManifestShots(manifest, model.video, model.context, model.captions, model.shot)

    @cached_property
    def codec(self) -> Codec:
        """Return the codec on the device, frozen: of the pretrained model, or of this run."""
        if self._pretrained is not None:
            return self._pretrained.codec
        codec = create_codec(self.preset.model)
        load_weights(codec, read_weights(self.directory / "codec", NETWORK), f"the codec of {self.directory}")
        return codec.eval().requires_grad_(False).to(self.distributed.device)

    @cached_property
    def encoder(self) -> TextEncoder:
        """Return the text encoder with its tokenizer on the device, frozen: of the pretrained model, or of this run."""
        if self._pretrained is not None:
            return self._pretrained.text_encoder
        state = read_weights(self.directory / "text", NETWORK)
        encoder = TextEncoder(self.preset.model.text_encoder, read_tokenizer(self.directory / "text"))
        own = {name.removeprefix(ENCODER): value for name, value in state.items() if name.startswith(ENCODER)}
        load_weights(encoder, own, f"the text encoder of {self.directory}")
        return encoder.eval().requires_grad_(False).to(self.distributed.device)

    def weights(self, stage: str) -> dict[str, Tensor]:
        """Read a stage's newest transformer weights: the average if there is one, with adapters merged.

        Raises:
            InputError: it has no checkpoint yet.
        """
        if stage == "base" and self._pretrained is not None:
            return self._pretrained.transformer.state_dict()
        name = GENERATOR if stage.startswith("stage") else NETWORK
        return self._merged(stage, read_weights(self.directory / stage, name))

    def latest(self) -> str:
        """Return the latest stage of ShotStream's model that has a checkpoint.

        Raises:
            InputError: no stage has one yet.
        """
        for stage in MODEL_STAGES:
            if stage not in OTHER_MODEL_STAGES and find_checkpoints(self.directory / stage):
                return stage
        raise InputError(f"{self.directory} has no base yet; run 'shotstream train base' first")

    def sampler(self, stage: str) -> SamplerConfig:
        """Return the sampler settings for a stage's model."""
        preset = self.preset
        if stage == "teacher":
            steps, guidance = preset.trajectories.num_steps, preset.trajectories.guidance
            label = preset.teacher.context_timestep
            return SamplerConfig("euler", (), steps, preset.student.shift, guidance, "whole", label)
        policy = self.trained_policy(stage)
        few_step_only = policy is not None and find_policy(policy).spec.renoises
        return preset.model.sampler if stage in ("base", "policy") and not few_step_only else preset.student

    def trained_policy(self, stage: str) -> str | None:
        """Return the policy that a stage trains for; None: ShotStream's, or its teacher's."""
        return str(read_json(self.directory / stage / POLICY_FILE)["policy"]) if stage == "policy" else None

    def network(self, weights: dict[str, Tensor]) -> Transformer:
        """Build a transformer to train, in float32; weights may lack its indicator, channels, convolution or gates.

        What they lack begins at zero, so the network begins as it was, but for the 2% that gates at zero copy.

        Raises:
            InputError: they have another shape.
        """
        torch.manual_seed(self.preset.seed)  # of a learned indicator, and of adapters that are added next
        shape = self.preset.model.transformer
        network = Transformer(shape)
        plain = weights[EMBEDDING].shape[1] == shape.in_dim
        state = begin_channels(weights, shape.embedded_channels) if plain else dict(weights)
        for name, value in network.named_parameters():
            if begins_at_zero(name):
                state.setdefault(name, torch.zeros_like(value))
        if network.shot_embedding is None:
            state.pop("shot_embedding", None)
        else:
            state.setdefault("shot_embedding", network.shot_embedding.detach().clone())
        load_weights(network, state, f"the transformer that {self.directory} goes on with")
        return network

    def model(self, stage: str, weights: dict[str, Tensor] | None = None) -> ModelComponents:
        """Build a model that is ready to generate, from a stage's newest weights or from `weights`."""
        weights = weights or self.weights(stage)
        own = self.preset.model if self._pretrained is None else self._pretrained.config
        shape, sampler = self.preset.model.transformer, self.sampler(stage)
        config = replace(own, transformer=shape, sampler=sampler, policy=self.trained_policy(stage))
        transformer = Transformer(config.transformer)
        load_weights(transformer, weights, f"the {stage} of {self.directory}")
        transformer.to(self.distributed.device).eval()
        return ModelComponents(config, transformer, self.codec, self.encoder, str(self.directory), "")

    def current(self, stage: str, built: Stage) -> dict[str, Tensor]:
        """Return the weights that `weights` would read if a running stage were saved now; all processes call it."""
        state = built.state
        own = state.ema or state.trained[state.averaged].network.state_dict()
        whole = {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in own.items()}
        return self._merged(stage, whole)

    def export(self, stage: str, directory: Path) -> None:
        """Write a stage's model in bfloat16 to a directory that `shotstream.open` reads.

        Raises:
            InputError: the stage has no model or no checkpoint, its shape differs, or the directory is not empty.
        """
        if stage not in MODEL_STAGES:
            raise InputError(
                f"expected a stage of {', '.join(MODEL_STAGES)} to export, got '{stage}'; choose one of them"
            )
        write_directory(self.model(stage), directory, torch.bfloat16)

    def trajectories(self) -> TrajectoryStore:
        """Return the store of trajectories."""
        preset = self.preset
        label = preset.teacher.context_timestep
        directory = self.directory / "trajectories"
        return TrajectoryStore(directory, preset.trajectories, preset.student, label, self._begin)

    def frozen(self, weights: dict[str, Tensor]) -> Transformer:
        """Return a transformer with these weights that is not trained, placed for inference."""
        network = self.network(weights)
        self.distributed.place_frozen(network)
        return network

    @cached_property
    def _pretrained(self) -> ModelComponents | None:
        if not self.preset.pretrained:
            return None
        from shotstream.weights.hub import open_components

        dtype = torch.bfloat16 if self.distributed.bfloat16 else torch.float32
        components = open_components(self.preset.pretrained, self.distributed.device, dtype)
        for network in (components.codec, components.text_encoder, components.transformer):
            cast(nn.Module, network).requires_grad_(False)
        return components

    def _pool(self, name: str, config: PoolConfig, micro_batches: int) -> LatentPool:
        directory = make_directory(self.directory / "latents") / (
            name if micro_batches == 1 else f"{name}-{micro_batches}"
        )
        begin, device = self._begin, self.distributed.device
        return LatentPool(
            directory,
            config,
            self.source,
            self.codec,
            self.encoder,
            micro_batches=micro_batches,
            begin=begin,
            device=device,
            read_features=TraitReader.load(device).map_features if config.features else None,
        )

    @property
    def _begin(self) -> int:
        return self.preset.seed * BATCHES_PER_SEED

    def _merged(self, stage: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        if stage != "stage2":
            return without_alignment(weights)
        path = self.directory / stage / ADAPTERS_FILE
        lora = from_dict(LoraConfig, read_json(path), str(path))
        return merge_trained_adapters(weights, lora, self.directory / stage) if lora.rank else weights
