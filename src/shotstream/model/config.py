"""Configuration of a model, as in its `config.json`."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, get_args

from shotstream.core.config import nearest
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT, ShotShape, VideoSize

ContextChoice = Literal["dynamic", "first", "first_last", "none"]
CaptionChoice = Literal["per_shot", "target"]
Indicator = Literal["phase", "none", "learned"]
Injection = Literal["frame", "channel"]
DESIGN_CHOICES = ("context", "captions", "indicator", "injection")
"""Fields for the choices that the paper ablates; the defaults are the paper's."""
OMIT_DEFAULT = (
    *DESIGN_CHOICES,
    "tiny_decoder",
    "guided",
    "modulation",
    "expert_boundary",
    "previous",
    "ffn_conv",
    "copy_previous",
    "policy",
    "shot",
    "later_chunks_from",
)
"""Optional fields, left out of a model's fingerprint at their default."""
EMBEDDED_SHOTS = 16
"""Number of embeddings of a learned indicator; later shots share the last one."""


@dataclass(frozen=True)
class TransformerConfig:
    """Shape of the diffusion transformer, with the keys of Wan's config.json. The defaults are Wan2.1-T2V-1.3B.

    Attributes:
        prediction: the head predicts the velocity, or the clean latents, from which the velocity is computed. A network
            hardly wider than a patch has values cannot pass the noise through that a velocity contains; clean latents
            need less width (Li and He, Back to Basics: Let Denoising Generative Models Denoise).
        indicator: how shots are told apart: a rotary phase, nothing, or (instead of the phase) an embedding by shot
            index that is added to the tokens.
        injection: how the context enters: as latents in front of the target, or as more channels of every target latent
            (`model.context_injection`).
        modulation: dtype of the modulation of tokens and of their residual sums: that of all weights (models of the
            Self Forcing family), or float32 (Wan2.1, and bidirectional models trained from it).
        previous: whether the latents of a chunk also carry the last latent of the chunk before, as more channels. A
            small network reads where a figure was from these sooner than through attention. Not in Wan or ShotStream.
        ffn_conv: whether the hidden channels of the feed-forward also pass a depthwise 3x3 convolution over each
            latent (the Mix-FFN of SegFormer and SANA). Not in Wan or ShotStream.
        copy_previous: whether the head can copy the last latent of the previous chunk where nothing moves, by one gate
            for each position of the latent. Needs `previous` and clean prediction. Not in Wan or ShotStream.
        shot: latents of a chunk and of the context, and the longest shot in training. The paper's by default; to ablate
            memory or latency, train with others.
    """

    dim: int = 1536
    ffn_dim: int = 8960
    num_heads: int = 12
    num_layers: int = 30
    in_dim: int = 16
    out_dim: int = 16
    freq_dim: int = 256
    text_dim: int = 4096
    text_len: int = 512
    patch_size: tuple[int, int, int] = (1, 2, 2)
    eps: float = 1e-6
    prediction: Literal["velocity", "clean"] = "velocity"
    indicator: Indicator = "phase"
    injection: Injection = "frame"
    modulation: Literal["weights", "float32"] = "weights"
    previous: bool = False
    ffn_conv: bool = False
    copy_previous: bool = False
    shot: ShotShape = PAPER_SHOT

    def __post_init__(self) -> None:
        if self.dim % self.num_heads or (self.dim // self.num_heads) % 2:
            raise InputError(f"expected dim to be an even multiple of num_heads, got {self.dim} and {self.num_heads}")
        if self.copy_previous and not (self.previous and self.prediction == "clean"):
            raise InputError(
                "expected copy_previous with previous=true and prediction=clean; set these, or copy_previous=false"
            )

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    @property
    def embedded_channels(self) -> int:
        """Input channels of the patch embedding: a latent's own, and those of context and latent that it carries."""
        return self.in_dim * (1 + self.shot.context_latents * (self.injection == "channel") + self.previous)


@dataclass(frozen=True)
class WanVAEConfig:
    """Shape of Wan's causal 3-D VAE. The defaults are the published one; `dim` may be any width."""

    kind: Literal["wan"] = "wan"
    dim: int = 96
    z_dim: int = 16
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    latents_mean: tuple[float, ...] = ()
    latents_std: tuple[float, ...] = ()


@dataclass(frozen=True)
class TinyDecoderConfig:
    """Shape of a tiny decoder of Wan's latents. The defaults are TAEHV's `taew2_1`; `widths` may be any four."""

    latent_channels: int = 16
    widths: tuple[int, ...] = (256, 128, 64, 64)

    def __post_init__(self) -> None:
        if len(self.widths) != 4:
            raise InputError(f"expected four widths of a tiny decoder, got {self.widths}")


@dataclass(frozen=True)
class ConvCodecConfig:
    """Shape of the learned codec. Widths and depths are of the blocks at 1/8 of the picture's size, then at 1/4."""

    kind: Literal["conv"] = "conv"
    latent_channels: int = 32
    encoder_widths: tuple[int, int] = (256, 128)
    encoder_depths: tuple[int, int] = (3, 2)
    decoder_widths: tuple[int, int] = (256, 128)
    decoder_depths: tuple[int, int] = (6, 4)


@dataclass(frozen=True)
class TextEncoderConfig:
    """Shape of the UMT5 encoder. The defaults are UMT5-XXL."""

    vocab_size: int = 256384
    dim: int = 4096
    attention_dim: int = 4096
    ffn_dim: int = 10240
    num_heads: int = 64
    num_layers: int = 24
    num_buckets: int = 32
    text_len: int = 512


MAX_GUIDANCE = 30


def check_guidance(scale: Any) -> float:
    """Check a scale of guidance and return it.

    Raises:
        InputError: it is no number from 1 to 30.
    """
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 1 <= scale <= MAX_GUIDANCE:
        raise InputError(f"expected guidance from 1 (none) to {MAX_GUIDANCE}, got {scale!r}; use such a number")
    return float(scale)


ContextTimestep = Literal["target", "clean"]
"""Timestep of clean context latents beside a noisy target: the target's (published), or 0."""


LAST_TIMESTEP = 1000
"""Nominal timestep of pure noise."""
SamplerKind = Literal["few_step", "euler", "unipc", "dpm++", "ddim"]
ChunkNoiseKind = Literal["fresh", "mirrored"]


def as_sampler_kind(name: str) -> SamplerKind:
    """Return the kind of sampler that a name means.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    kinds = get_args(SamplerKind)
    if name not in kinds:
        hint = nearest(name, kinds) or f"; the samplers are {', '.join(kinds)}"
        raise InputError(f"unknown sampler '{name}'{hint}")
    return cast(SamplerKind, name)


@dataclass(frozen=True)
class SamplerConfig:
    """Settings of the sampler that denoises chunks.

    Attributes:
        kind: `few_step` predicts the clean chunk and adds fresh noise for the next of `steps`; for distilled models,
            and for half-trained ones, because fresh noise covers errors that an integral adds up. `euler` integrates
            the velocity over `num_steps` equal nominal steps; so do `unipc`, `dpm++` and `ddim`, solvers of the
            optional package diffusers (`model.solvers`).
        steps: nominal timesteps of `few_step`, before the shift.
        num_steps: of all others.
        shift: shifts the noise levels towards noise.
        guidance: scale of classifier-free guidance; 1 is none.
        order: `chunks`, one after another over the KV cache, or `whole`, the shot at once with bidirectional attention
            (the teacher).
        context_timestep: timestep of the context for order `whole`.
        guided: interval of sigma in which guidance is used; steps outside cost half (Kynkäänniemi et al. 2024,
            Applying Guidance in a Limited Interval).
        chunk_noise: `fresh`: every chunk of a shot has noise of its own. `mirrored`: every chunk has the noise of the
            previous chunk, reversed in time, so that the two latents at a chunk boundary start from the same noise and
            what does not move does not flicker. Only for shots made chunk by chunk by `shotstream`; other policies
            always use fresh noise.
        later_chunks_from: the timestep, one of `steps` of `few_step` but not the first, at which chunks after the first
            of a shot begin, from the last latent of the chunk before plus noise of that level; they leave out the steps
            before it. None: they begin from noise, like the first chunk. Only for shots made chunk by chunk by
            `shotstream`; other policies always begin from noise.
    """

    kind: SamplerKind = "few_step"
    steps: tuple[float, ...] = (1000.0, 740.0, 500.0, 260.0)
    num_steps: int = 50
    shift: float = 8.0
    guidance: float = 1.0
    order: Literal["chunks", "whole"] = "chunks"
    context_timestep: ContextTimestep = "target"
    guided: tuple[float, float] = (0.0, 1.0)
    chunk_noise: ChunkNoiseKind = "fresh"
    later_chunks_from: float | None = None

    def __post_init__(self) -> None:
        fits = {
            "steps": all(0 < step <= LAST_TIMESTEP for step in self.steps)
            and bool(self.steps or self.kind != "few_step"),
            "num_steps": self.num_steps >= 1,
            "shift": self.shift > 0,
            "guided": 0 <= self.guided[0] <= self.guided[1] <= 1,
        }
        if wrong := next((name for name, fit in fits.items() if not fit), None):
            expected = {"steps": f"above 0, up to {LAST_TIMESTEP}", "guided": "as LOW, HIGH within 0 to 1"}
            raise InputError(
                f"expected {wrong} of the sampler {expected.get(wrong, 'above 0')}, got {getattr(self, wrong)}; "
                "correct the model's config.json"
            )
        self._check_later_chunks()

    def _check_later_chunks(self) -> None:
        if self.later_chunks_from is None:
            return
        if (self.kind, self.order) != ("few_step", "chunks"):
            raise InputError(
                f"expected later_chunks_from only with the sampler few_step and the order chunks, got {self.kind} and "
                f"{self.order}; leave later_chunks_from out"
            )
        if self.later_chunks_from not in self.steps or self.later_chunks_from == self.steps[0]:
            after = ", ".join(f"{step:g}" for step in self.steps[1:]) or "there are none"
            raise InputError(
                f"expected later_chunks_from to be one of the sampler's steps after the first ({after}), got "
                f"{self.later_chunks_from:g}; use one of them, or leave it out"
            )

    @property
    def count(self) -> int:
        """Number of steps for each chunk, or for the first chunk of a shot where later ones take fewer."""
        return len(self.steps) if self.kind == "few_step" else self.num_steps

    @property
    def later_start(self) -> int:
        """Index of the step at which chunks after the first of a shot begin."""
        return 0 if self.later_chunks_from is None else self.steps.index(self.later_chunks_from)

    def with_guidance(self, guidance: float | None, negative_prompt: str) -> "SamplerConfig":
        """Return these settings with another guidance scale; None: their own.

        Raises:
            InputError: the model was made without guidance, the scale is not from 1 to 30, or it is 1 where a negative
                prompt is given, which nothing would read.
        """
        if guidance in (None, self.guidance) and not negative_prompt:
            return self
        if self.guidance == 1:
            raise InputError("This model takes no guidance and no negative prompt. Leave them out.")
        scale = check_guidance(self.guidance if guidance is None else guidance)
        if scale == 1 and negative_prompt:
            raise InputError("A negative prompt needs guidance above 1. Raise the guidance, or leave the prompt out.")
        return replace(self, guidance=scale)

    def fewer(self, count: int) -> "SamplerConfig":
        """Return these settings with fewer steps: a distilled model's first one, and others evenly spread after it.

        Later chunks of a shot begin as before, or at the nearest step with more noise that is left.

        Raises:
            InputError: `count` is below 1 or above the number of steps.
        """
        if not 1 <= count <= self.count:
            raise InputError(
                f"expected 1 to {self.count} steps, which this model was made for, got {count}; "
                "leave the steps out for all of them"
            )
        kept = tuple(self.steps[i * len(self.steps) // count] for i in range(count))
        if self.kind != "few_step":
            return replace(self, num_steps=count)
        before = sum(i * len(self.steps) // count <= self.later_start for i in range(count))
        return replace(self, steps=kept, later_chunks_from=kept[before - 1] if before > 1 else None)


@dataclass(frozen=True)
class ModelConfig:
    """Configuration of all components of a model.

    Attributes:
        context: the default selector of context frames (`story.selectors`).
        captions: each context latent attends to the caption of its own shot (`per_shot`), or all to the new shot's
            (`target`).
        tiny_decoder: a fast, lossy decoder used instead of the VAE's own; the VAE still encodes.
        expert_boundary: sigma below which a second transformer predicts (Wan2.2's 14B models); None: there is one
            transformer.
        policy: the policy that the weights were trained for (`engine.policies`); None: ShotStream's, or its teacher's.
    """

    name: str
    video: VideoSize
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    wan_vae: WanVAEConfig | None = None
    conv_codec: ConvCodecConfig | None = None
    text_encoder: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    context: ContextChoice = "dynamic"
    captions: CaptionChoice = "per_shot"
    tiny_decoder: TinyDecoderConfig | None = None
    expert_boundary: float | None = None
    policy: str | None = None

    def __post_init__(self) -> None:
        if (self.wan_vae is None) == (self.conv_codec is None):
            raise InputError("expected exactly one codec in config.json: 'wan_vae' or 'conv_codec'")
        if self.tiny_decoder is not None and self.wan_vae is None:
            raise InputError(
                f"{self.name}: expected a model with Wan's VAE for a tiny decoder, got one with a codec of its own; "
                "leave the decoder out"
            )

    @property
    def shot(self) -> ShotShape:
        """Return the latents of a chunk and of the context, and the longest shot: those of the transformer."""
        return self.transformer.shot

    @property
    def codec_channels(self) -> int:
        """Return how many channels the codec's latents have."""
        codec = self.conv_codec
        return codec.latent_channels if codec is not None else (self.wan_vae or WanVAEConfig()).z_dim
