"""Named presets: the shape of a model, and the settings of each of its training stages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from shotstream.core.config import nearest, override
from shotstream.core.errors import InputError
from shotstream.core.spec import VideoSize
from shotstream.data.latents import PoolConfig
from shotstream.model.config import (
    ConvCodecConfig,
    ModelConfig,
    SamplerConfig,
    TextEncoderConfig,
    TransformerConfig,
)
from shotstream.train.config import (
    BaseTraining,
    CodecTraining,
    DistillTraining,
    DistributedConfig,
    InitTraining,
    LoopConfig,
    LoraConfig,
    OptimizerConfig,
    PolicyTraining,
    SourceConfig,
    Stage2Training,
    TeacherTraining,
    TextTraining,
    Trajectories,
)
from shotstream.weights.wan_layouts import WAN_1_3B


@dataclass(frozen=True)
class Preset:
    """A model's shape and every stage of its training.

    `pretrained` names the model whose codec, text encoder and base are used (as for `shotstream.open`); if empty, they
    are trained in this run. `shots` is the pool that base, teacher, trajectories and stage 1 read, `student` the
    sampler of the distilled model. `seed` decides initial weights, the first batch that a stage reads from a pool,
    and the stories of stage 2: runs with other seeds can share codec, text encoder and pools.
    """

    model: ModelConfig
    pretrained: str = ""
    seed: int = 0
    source: SourceConfig = field(default_factory=SourceConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    shots: PoolConfig = field(default_factory=PoolConfig)
    student: SamplerConfig = field(default_factory=SamplerConfig)
    codec: CodecTraining = field(default_factory=CodecTraining)
    text: TextTraining = field(default_factory=TextTraining)
    base: BaseTraining = field(default_factory=BaseTraining)
    teacher: TeacherTraining = field(default_factory=TeacherTraining)
    trajectories: Trajectories = field(default_factory=Trajectories)
    init: InitTraining = field(default_factory=InitTraining)
    stage1: DistillTraining = field(default_factory=lambda: DistillTraining(LoopConfig(steps=500)))
    stage2: Stage2Training = field(default_factory=lambda: Stage2Training(LoopConfig(steps=1000)))
    policy: PolicyTraining = field(default_factory=PolicyTraining)

    def __post_init__(self) -> None:
        if self.base.alignment and not self.shots.features:
            raise InputError(
                "expected shots.features for base.alignment, got none; add --set shots.features=trait_reader, or set "
                "base.alignment=0"
            )
        if self.shots.features and self.source.kind != "storyworld":
            raise InputError(
                f"expected source.kind 'storyworld' for shots.features={self.shots.features}, got a manifest; leave "
                "shots.features empty"
            )
        most = self.model.shot.max_chunks
        for name, chunks in (("shots.chunks", self.shots.chunks), ("stage2.chunks", self.stage2.chunks)):
            if not all(1 <= count <= most for count in chunks):
                raise InputError(
                    f"expected {name} of 1 to {most}, the longest shot of the model (transformer.shot.max_chunks), got "
                    f"{list(chunks)}; change one of the two"
                )


def _fast(lr: float) -> OptimizerConfig:
    """Return the optimiser of a small network, whose learning rate is about 100 times the published one."""
    return OptimizerConfig(lr, (0.0, 0.99), warmup_steps=50)


STORYWORLD = Preset(
    ModelConfig(
        "storyworld",
        VideoSize(80, 128),
        TransformerConfig(
            dim=256,
            ffn_dim=1024,
            num_heads=4,
            num_layers=6,
            in_dim=32,
            out_dim=32,
            freq_dim=256,
            text_dim=128,
            text_len=96,
            prediction="clean",
            previous=True,
            ffn_conv=True,
            copy_previous=True,
        ),
        conv_codec=ConvCodecConfig(),
        text_encoder=TextEncoderConfig(
            vocab_size=640, dim=128, attention_dim=128, ffn_dim=256, num_heads=4, num_layers=3, text_len=96
        ),
        sampler=SamplerConfig("few_step", shift=3.0, guidance=2.5, guided=(0.85, 1.0)),
    ),
    source=SourceConfig(pair_share=0.5),
    student=SamplerConfig("few_step", shift=3.0),
    base=BaseTraining(subject_weight=15.0, pictures=PoolConfig(latents=128, batches=1200, pictures=True, seed=1)),
    shots=PoolConfig(batches=2400, chunks=(1, 2, 4, 7), chunk_shares=(0.25, 0.45, 0.2, 0.1), seed=1),
    teacher=TeacherTraining(
        LoopConfig(steps=6000, ema_decay=0.999, sample_every_steps=2000),
        OptimizerConfig(5e-4, matrices="muon"),
        trained="all",
        context_timestep="clean",
        shift=3.0,
        subject_weight=15.0,
    ),
    trajectories=Trajectories(batches=150, num_steps=24, guidance=2.5),
    init=InitTraining(
        LoopConfig(steps=1500, ema_decay=0.99, sample_every_steps=500), OptimizerConfig(3e-4, matrices="muon"), "base"
    ),
    stage1=DistillTraining(
        LoopConfig(steps=2000, ema_decay=0.99, sample_every_steps=250),
        _fast(5e-5),
        _fast(1e-4),
        guidance=1.5,
        score_shift=3.0,
        context_timestep="clean",
    ),
    stage2=Stage2Training(
        LoopConfig(steps=1000, ema_decay=0.99, sample_every_steps=250),
        _fast(5e-5),
        _fast(1e-4),
        guidance=1.5,
        score_shift=3.0,
        context_timestep="clean",
        stories=8,
        chunks=(2, 2, 3, 4),
        lora=LoraConfig(rank=32, alpha=32),
    ),
    policy=PolicyTraining(
        LoopConfig(500, ema_decay=0.99),
        OptimizerConfig(3e-4, warmup_steps=20, matrices="muon"),
        chunks=(1, 2, 3),
        subject_weight=15.0,
    ),
)
"""A model that a laptop runs in real time, and trains in days."""

_CARD_EMA = 0.998


def _card_distillation(steps: int) -> dict[str, Any]:
    return {
        "loop": LoopConfig(steps, ema_decay=0.98, log_every_steps=10, save_every_s=20, keep_checkpoints=8),
        "generator": OptimizerConfig(1e-4, (0.0, 0.99), warmup_steps=10),
        "critic": OptimizerConfig(2e-4, (0.0, 0.99), warmup_steps=10),
        "critic_updates": 3,
    }


STORYWORLD_CARD = replace(
    STORYWORLD,
    distributed=DistributedConfig(compile=True),
    shots=PoolConfig(1728, 1000, 1, (1, 2, 4, 7), (0.2, 0.35, 0.2, 0.25), seed=1),
    codec=CodecTraining(LoopConfig(6000, ema_decay=0.998, save_every_s=60), batch=64, workers=3),
    base=BaseTraining(
        LoopConfig(5000, ema_decay=_CARD_EMA, log_every_steps=50, save_every_s=60),
        OptimizerConfig(2e-3, warmup_steps=200, decay_share=0.4, matrices="muon"),
        picture_steps=0,
        picture_share=0.0,
        subject_weight=15.0,
        pictures=PoolConfig(1024, 1, 1, pictures=True, seed=1),
    ),
    teacher=replace(
        STORYWORLD.teacher,
        loop=LoopConfig(1600, ema_decay=_CARD_EMA, log_every_steps=50, save_every_s=60),
        optimizer=OptimizerConfig(1e-3, warmup_steps=50, decay_share=0.5, matrices="muon"),
    ),
    trajectories=replace(STORYWORLD.trajectories, batches=40),
    init=replace(
        STORYWORLD.init,
        loop=LoopConfig(600, ema_decay=0.99, log_every_steps=50, save_every_s=60),
        optimizer=OptimizerConfig(5e-4, warmup_steps=20, decay_share=0.5, matrices="muon"),
    ),
    stage1=replace(STORYWORLD.stage1, **_card_distillation(400)),
    stage2=replace(STORYWORLD.stage2, **_card_distillation(150), stories=48, lora=LoraConfig(rank=0)),
)
"""The same model trained on one large GPU: large batches, samples drawn on the host's cores at the same time."""

_FEW = LoopConfig(steps=2, log_every_steps=1, ema_decay=0.9)
_PICTURES = PoolConfig(latents=4, batches=1, pictures=True)

TINY = Preset(
    ModelConfig(
        "tiny",
        VideoSize(80, 128),
        TransformerConfig(
            dim=32, ffn_dim=48, num_heads=2, num_layers=1, in_dim=4, out_dim=4, freq_dim=16, text_dim=16, text_len=64
        ),
        conv_codec=ConvCodecConfig("conv", 4, (8, 8), (1, 1), (8, 8), (1, 1)),
        text_encoder=TextEncoderConfig(
            vocab_size=640, dim=16, attention_dim=16, ffn_dim=16, num_heads=2, num_layers=1, text_len=64
        ),
        sampler=SamplerConfig("euler", num_steps=2, shift=3.0, guidance=2.0),
    ),
    distributed=DistributedConfig(precision="float32"),
    shots=PoolConfig(latents=24, batches=2, chunks=(1, 2), chunk_shares=(0.5, 0.5)),
    codec=CodecTraining(LoopConfig(steps=2, log_every_steps=1), fit_clips=100, batch=2),
    text=TextTraining(LoopConfig(steps=2, log_every_steps=1), batch=4, tokenizer_captions=50),
    base=BaseTraining(LoopConfig(4, ema_decay=0.9, log_every_steps=1), picture_steps=2, pictures=_PICTURES),
    teacher=TeacherTraining(_FEW),
    trajectories=Trajectories(batches=2, num_steps=8),
    init=InitTraining(_FEW),
    stage1=DistillTraining(_FEW),
    stage2=Stage2Training(_FEW, shots=2, chunks=(1, 2), lora=LoraConfig(rank=2, alpha=2)),
    policy=PolicyTraining(_FEW, shots=(2,)),
)
"""Every stage in seconds on a CPU, in float32, so that results are the same on every chip."""

WAN = Preset(
    WAN_1_3B,
    pretrained="Wan-AI/Wan2.1-T2V-1.3B",
    source=SourceConfig("manifest", "videos.csv"),
    distributed=DistributedConfig(checkpoint_activations=True),
    shots=PoolConfig(latents=27, batches=10000, steps_per_batch=1, chunks=(7,), chunk_shares=(1.0,)),
    teacher=TeacherTraining(LoopConfig(steps=10000, micro_batches=64, save_every_s=1800)),
    trajectories=Trajectories(batches=5000),
    init=InitTraining(LoopConfig(steps=2000, micro_batches=64, save_every_s=1800)),
    stage1=DistillTraining(LoopConfig(steps=500, micro_batches=32, ema_decay=0.99, save_every_s=1800)),
    stage2=Stage2Training(LoopConfig(steps=1000, micro_batches=32, ema_decay=0.99, save_every_s=1800)),
)
"""The paper's recipe on Wan2.1-T2V-1.3B, with the published figures (reference, section 7)."""

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {"storyworld": STORYWORLD, "storyworld-card": STORYWORLD_CARD, "tiny": TINY, "wan-1.3b": WAN}
)


def get_preset(name: str, changes: Sequence[str] = ()) -> Preset:
    """Return a preset by name, with changes of the form `teacher.optimizer.lr=1e-5`.

    Raises:
        InputError: there is no such preset or field, or a value does not fit its field.
    """
    if name not in PRESETS:
        raise InputError(f"expected a preset of {', '.join(PRESETS)}, got '{name}'{nearest(name, PRESETS)}")
    return override(PRESETS[name], changes)
