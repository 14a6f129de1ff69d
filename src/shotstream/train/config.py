"""Settings of every training stage: dataclasses whose fields `--set` changes."""

from dataclasses import dataclass, field
from typing import Literal

from shotstream.core.errors import InputError
from shotstream.data.latents import PoolConfig
from shotstream.model.config import ContextTimestep


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its learning rate over the run; the matrices inside a transformer's blocks may use Muon instead.

    The learning rate rises linearly to `lr` over `warmup_steps`, stays, and falls along a cosine to `final_lr_ratio` of
    `lr` over the last `decay_share` of the run. Gradients are clipped to a total norm of `clip_norm`. AdamW's weights
    whose name contains one of `slow_names` learn at `slow_share` of the rate.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    warmup_steps: int = 100
    decay_share: float = 0.3
    final_lr_ratio: float = 0.02
    matrices: Literal["adamw", "muon"] = "adamw"
    slow_names: tuple[str, ...] = ()
    slow_share: float = 0.1

    def __post_init__(self) -> None:
        if self.lr < 0:
            raise InputError(f"expected lr, the learning rate, of at least 0, got {self.lr}; raise it")


@dataclass(frozen=True)
class LoopConfig:
    """Length of a stage, its micro-batches, and what it writes.

    The batch of a step is computed in `micro_batches` equal micro-batches, which are spread over the processes; each is
    one forward and backward pass. `ema_decay` 0 keeps no average. `sample_every_steps` 0 makes no samples.
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
    """Precision, activation checkpointing and compilation.

    `precision` "auto" is bfloat16 on CUDA and on CPUs that multiply fast in it (`model.device.has_fast_bfloat16`), else
    float32; weights and optimisers are float32 in either case. `checkpoint_activations` recomputes each block in the
    backward pass instead of storing its activations. `compile` compiles blocks as inference does (`runtime.compile`).
    """

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint_activations: bool = False
    compile: bool = False


@dataclass(frozen=True)
class SourceConfig:
    """Source of the training shots: StoryWorld, or a manifest (a CSV in the published layout).

    Of StoryWorld's samples, `pair_share` are sure to show two characters, and `moving_share` an action that moves the
    whole body. `skip_bad` leaves out rows of a manifest that cannot be used, and counts them.
    `resample` shows its videos at 16 frames a second, by the times of their frames; without, each frame counts as one,
    whatever the video's rate.
    """

    kind: Literal["storyworld", "manifest"] = "storyworld"
    manifest: str = ""
    skip_bad: bool = False
    resample: bool = True
    pair_share: float = 0.0
    moving_share: float = 0.0

    def __post_init__(self) -> None:
        if (self.kind == "manifest") != bool(self.manifest):
            raise InputError("expected source.manifest to name a CSV exactly where source.kind is 'manifest'")


@dataclass(frozen=True)
class CodecTraining:
    """The codec: `fit_clips` clips for the closed-form fit, then `batch` clips in each micro-batch.

    Clips are rendered by `workers` processes ahead of the steps; 0: by the training process. `noise` is the largest
    standard deviation of the noise that latents get before they are decoded, in units of the latents' own. The linear
    maps and the networks' last layers learn slowly: at the full rate they lose what was fitted within thirty steps.
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=14000, ema_decay=0.998))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            3e-3, (0.9, 0.97), 0.0, warmup_steps=40, matrices="muon", slow_names=("linear.", "leave.")
        )
    )
    fit_clips: int = 2000
    batch: int = 8
    workers: int = 0
    noise: float = 0.2


@dataclass(frozen=True)
class TextTraining:
    """The text encoder: how many captions train its tokenizer, and how many are in a micro-batch."""

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1000, ema_decay=0.99))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=2e-3))
    tokenizer_captions: int = 4000
    batch: int = 64


@dataclass(frozen=True)
class BaseTraining:
    """The causal base model, trained by flow matching with teacher forcing.

    Attributes:
        picture_steps: first steps, on single pictures, which are cheap.
        picture_share: share of the later steps that are on pictures too.
        pictures: the pool of pictures.
        shift: shifts the noise levels towards noise.
        full_weight_sigma: below this sigma the loss is weighted by (sigma / it) squared, so that an error of the clean
            estimate counts the same at all lower levels.
        resampled_share: share of the steps whose earlier chunks are remade by the model from noisy ones. In the other
            steps they are ground truth plus noise that the timestep does not report.
        resampled_level: highest sigma that earlier chunks are remade from.
        history_noise: highest sigma of the unreported noise on ground-truth history.
        subject_weight: places that show the subject of a shot weigh together as much as all else, but each at most
            this much more (`train.losses.subject_weights`); 0 weighs all alike.
        no_text_share: share of the samples whose captions are dropped, for guidance.
        noise_copies: how many noisy copies of a sample, each with noise and levels of its own, share its context and
            history in one forward. Where the noise makes most of the gradient's variance, three copies are worth more
            than the samples that could be computed instead.
        alignment: weight of representation alignment in the loss (`train.alignment`), for steps on shots; 0: none. The
            pool of shots must have features (`shots.features`).
        alignment_layer: the layer whose tokens are aligned, counted from 1.
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
    subject_weight: float = 0.0
    no_text_share: float = 0.1
    noise_copies: int = 1
    alignment: float = 0.0
    alignment_layer: int = 3

    def __post_init__(self) -> None:
        if self.alignment < 0:
            raise InputError(f"expected base.alignment of at least 0, got {self.alignment}; 0 aligns nothing")
        if self.noise_copies < 1:
            raise InputError(f"expected base.noise_copies of at least 1, got {self.noise_copies}; 1 makes no copies")


@dataclass(frozen=True)
class TeacherTraining:
    """The bidirectional next-shot teacher (paper, section 3.1; reference, section 7).

    `trained`: the self-attention layers only, or all weights. `context_timestep`: the timestep of the clean context is
    the target's (published) or that of clean latents. `no_text_share` of the samples lose their captions; the source
    drops the context of a share. Training timesteps are shifted by `shift`. `subject_weight` is as in `BaseTraining`.
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=10000))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(1e-5, (0.0, 0.999), clip_norm=10.0, warmup_steps=1, decay_share=0.0)
    )
    trained: Literal["attention", "all"] = "attention"
    context_timestep: ContextTimestep = "target"
    shift: float = 8.0
    no_text_share: float = 0.1
    subject_weight: float = 0.0


@dataclass(frozen=True)
class PolicyTraining:
    """Fine-tuning of the base for another policy, on whole videos.

    Attributes:
        policy: its name (`shotstream policies`).
        shots: how many shots a video has; each number is equally likely.
        chunks: how many chunks a shot has; each number is equally likely.
        videos: videos in a micro-batch, one forward after another.
        shift: shifts the noise levels towards noise.
        full_weight_sigma: as in `BaseTraining`.
        subject_weight: as in `BaseTraining`.
        no_text_share: share of the videos whose captions are dropped, for guidance.
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1000, ema_decay=0.99))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(1e-5, warmup_steps=20))
    policy: str = ""
    shots: tuple[int, ...] = (2, 3)
    chunks: tuple[int, ...] = (1, 2)
    videos: int = 1
    shift: float = 3.0
    full_weight_sigma: float = 0.3
    subject_weight: float = 0.0
    no_text_share: float = 0.1

    def __post_init__(self) -> None:
        for name in ("shots", "chunks"):
            if min(getattr(self, name), default=0) < 1:
                raise InputError(f"expected policy.{name} as numbers of at least 1, got {list(getattr(self, name))}")
        if self.videos < 1:
            raise InputError(f"expected policy.videos of at least 1, got {self.videos}; raise it")
        if self.shift <= 0:
            raise InputError(f"expected policy.shift above 0, got {self.shift}; 1 shifts nothing")
        if not 0 <= self.no_text_share <= 1:
            raise InputError(f"expected policy.no_text_share from 0 to 1, got {self.no_text_share}")


@dataclass(frozen=True)
class Trajectories:
    """Trajectories for causal init: of the first `batches` files of the pool of shots.

    They are `num_steps` guided Euler steps from noise to clean; the states at the student's noise levels and the end
    are kept. `source`: the teacher's, of whole shots (published), or the causal base's, chunk by chunk.
    """

    batches: int = 5000
    num_steps: int = 50
    guidance: float = 6.0
    source: Literal["teacher", "base"] = "teacher"

    def __post_init__(self) -> None:
        if self.batches < 1:
            raise InputError(f"expected trajectories.batches of at least 1, got {self.batches}; raise it")


@dataclass(frozen=True)
class InitTraining:
    """Causal init: regression on trajectories, or on the base's guided predictions, from the weights of `start`.

    On the base's trajectories each chunk sees the clean ends of those before it, as at inference. `target`: the ends of
    trajectories (published), or what the base's sampler predicts with guidance at the student's noise levels.
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=2000))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(1e-6, (0.0, 0.999), warmup_steps=1, decay_share=0.0)
    )
    start: Literal["teacher", "base"] = "teacher"
    target: Literal["trajectories", "guided"] = "trajectories"


@dataclass(frozen=True)
class DistillTraining:
    """Distribution matching on self-forced rollouts (reference, section 7).

    Every step updates the critic, every `critic_updates`-th the generator too. `guidance` applies to the real score:
    conditional + guidance (conditional - unconditional), at the noise levels in the interval `guided` (as that of a
    sampler). `score_shift` shifts the noise levels at which scores are compared. `straight_through` lets gradient
    reach the keys and values of earlier chunks (published).
    `real_score`: the teacher's, of whole shots, in which all latents see each other (published); or the causal base's,
    of each chunk after the generator's own chunks before it, and then no teacher is needed. The critic is of the same
    kind.
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
    guided: tuple[float, float] = (0.0, 1.0)
    score_shift: float = 8.0
    context_timestep: ContextTimestep = "target"
    straight_through: bool = True
    real_score: Literal["teacher", "base"] = "teacher"


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters on every linear map of the blocks; rank 0 trains the weights themselves."""

    rank: int = 256
    alpha: int = 256


@dataclass(frozen=True)
class Stage2Training(DistillTraining):
    """Inter-shot self-forcing: whole stories of `shots` shots, whose context frames the generator made.

    One step is one shot. Each micro-batch rolls out `stories` stories together; the length of a shot is drawn from
    `chunks`. `start` is the stage whose student it begins with: `stage1`, or `init` (the paper's ablation of stage 2
    alone).
    """

    shots: int = 5
    stories: int = 1
    chunks: tuple[int, ...] = (7,)
    lora: LoraConfig = field(default_factory=LoraConfig)
    start: Literal["stage1", "init"] = "stage1"
