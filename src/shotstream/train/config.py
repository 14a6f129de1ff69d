"""How each stage is trained: every figure that may be changed without changing the code."""

from dataclasses import dataclass, field
from typing import Literal

from shotstream.core.errors import InputError
from shotstream.data.latents import PoolConfig
from shotstream.model.config import ContextTimestep


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, and its rate over the run; `matrices` inside the blocks of a transformer may be left to Muon.

    The rate rises over `warmup_steps`, stays, and falls to `final_lr_ratio` of itself over the last `decay_share` of
    the run. Gradients are clipped to a total norm of `clip_norm`.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    warmup_steps: int = 100
    decay_share: float = 0.3
    final_lr_ratio: float = 0.02
    matrices: Literal["adamw", "muon"] = "adamw"


@dataclass(frozen=True)
class LoopConfig:
    """How long a stage runs and what it leaves behind.

    The batch of a step comes in `parts` equal parts, shared out among the processes; each part is one forward and
    backward. `ema_decay` 0 keeps no average. `sample_every_steps` 0 makes no samples.
    """

    steps: int
    micro_batches: int = 1
    ema_decay: float = 0.0
    log_every_steps: int = 20
    save_every_s: float = 120.0
    keep_checkpoints: int = 2
    sample_every_steps: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "micro_batches", "log_every_steps", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise InputError(f"expected {name} of at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class DistributedConfig:
    """What the arithmetic runs in.

    `precision` auto is bfloat16 on CUDA and on CPUs that multiply fast in it (`model.device.has_fast_bfloat16`), else
    float32; weights and optimisers are in float32 in either case. `checkpoint_activations` computes each block again in
    the backward pass instead of keeping what it made. `compile` compiles blocks as inference does (`runtime.compile`).
    """

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint_activations: bool = False
    compile: bool = False


@dataclass(frozen=True)
class SourceConfig:
    """Where shots come from: StoryWorld, or the CSV of a manifest in the published layout.

    `pair_share` of StoryWorld's samples are of shots that show two characters, `moving_share` of shots whose action
    moves the whole body, the others of any. `skip_bad` leaves out rows of a manifest that cannot be used, and counts
    them.
    """

    kind: Literal["storyworld", "manifest"] = "storyworld"
    manifest: str = ""
    skip_bad: bool = False
    pair_share: float = 0.0
    moving_share: float = 0.0

    def __post_init__(self) -> None:
        if (self.kind == "manifest") != bool(self.manifest):
            raise InputError("expected source.manifest to name a CSV exactly where source.kind is 'manifest'")


@dataclass(frozen=True)
class CodecTraining:
    """The codec: clips for the closed-form fit, then clips a part of the refinement.

    They are rendered by `workers` processes ahead of the steps; 0: by the one that trains.
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=4000, ema_decay=0.998))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=1e-3, weight_decay=0.0))
    fit_clips: int = 2000
    batch: int = 12
    workers: int = 0


@dataclass(frozen=True)
class TextTraining:
    """The text encoder: captions its tokenizer is learnt from, and captions a part."""

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1000, ema_decay=0.99))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=2e-3))
    tokenizer_captions: int = 4000
    batch: int = 64


@dataclass(frozen=True)
class BaseTraining:
    """The causal base model: `picture_steps` on single pictures first, which are cheap, then shots with their context.

    Of the steps after that, a share of `picture_share` is on pictures still.

    `shift` moves noise levels towards noise. Levels below `full_weight_sigma` weigh less, as their square: an error of
    the clean estimate counts there as it does at that level. In a share of `resampled_share` of the steps a chunk sees
    those before it as the model itself makes them from noisy ones, of a level of its sampler up to `resampled_level`;
    in the others the true ones with unsaid noise of a level up to `history_noise`: what was made before need not be
    perfect. `no_text_share` of the samples lose their captions. Places where latents change in time weigh up to
    `motion_weight` times as much as in a plain mean, and others down to its inverse.
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=15000, ema_decay=0.999))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(lr=1e-3, warmup_steps=200, decay_share=0.2, matrices="muon")
    )
    picture_steps: int = 5000
    picture_share: float = 0.2
    pictures: PoolConfig = field(default_factory=lambda: PoolConfig(latents=128, batches=800, pictures=True))
    shift: float = 3.0
    full_weight_sigma: float = 0.3
    resampled_share: float = 0.5
    resampled_level: float = 0.9
    history_noise: float = 0.25
    motion_weight: float = 1.0
    no_text_share: float = 0.1


@dataclass(frozen=True)
class TeacherTraining:
    """The bidirectional next-shot teacher (paper, section 3.1; reference, section 7).

    `trained` are the self-attention layers only, or all. `context_timestep` is the label of the clean context: the
    target's (published) or that of clean latents. `no_text_share` of the samples lose their captions; a share of them
    loses its context in the source. Training timesteps are shifted by `shift`.
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=10000))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(1e-5, (0.0, 0.999), clip_norm=10.0, warmup_steps=1, decay_share=0.0)
    )
    trained: Literal["attention", "all"] = "attention"
    context_timestep: ContextTimestep = "target"
    shift: float = 8.0
    no_text_share: float = 0.1


@dataclass(frozen=True)
class Trajectories:
    """The teacher's trajectories that causal init learns from: `batches` batches of the shots' pool.

    Euler steps from noise to clean with guidance; the states at the student's own noise levels are kept, and the end.
    """

    batches: int = 5000
    num_steps: int = 50
    guidance: float = 6.0


@dataclass(frozen=True)
class InitTraining:
    """Causal init: regression on the teacher's trajectories, from the weights of `start`."""

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=2000))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(1e-6, (0.0, 0.999), warmup_steps=1, decay_share=0.0)
    )
    start: Literal["teacher", "base"] = "teacher"


@dataclass(frozen=True)
class DistillTraining:
    """Distribution matching on self-forced rollouts (reference, section 7).

    Every step updates the critic, every `critic_updates`-th the generator too. `guidance` is of the real score:
    conditional + guidance (conditional - unconditional). `score_shift` moves the noise levels at which scores are
    compared. `straight_through` lets gradient reach the keys and values of earlier chunks (published).
    """

    loop: LoopConfig
    generator: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(2e-6, (0.0, 0.999), warmup_steps=1, decay_share=0.0)
    )
    critic: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(4e-7, (0.0, 0.999), warmup_steps=1, decay_share=0.0)
    )
    critic_updates: int = 5
    guidance: float = 3.0
    score_shift: float = 8.0
    context_timestep: ContextTimestep = "target"
    straight_through: bool = True


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters on every linear map of the blocks; rank 0 trains the weights themselves."""

    rank: int = 256
    alpha: int = 256


@dataclass(frozen=True)
class Stage2Training(DistillTraining):
    """Inter-shot self-forcing: whole stories of `shots` shots, whose history is what the generator made.

    One step is one shot. `stories` are rolled out together in a part; a shot has one of `chunks` chunks. `start` is
    the student it begins with: `stage1`, or `init` (the paper's ablation of stage 2 alone).
    """

    shots: int = 5
    stories: int = 1
    chunks: tuple[int, ...] = (7,)
    lora: LoraConfig = field(default_factory=LoraConfig)
    start: Literal["stage1", "init"] = "stage1"
