"""How each stage is trained: every figure that may be changed without changing the code."""

from dataclasses import dataclass, field

from shotstream.data.latents import PoolConfig
from shotstream.train.loop import LoopConfig


@dataclass(frozen=True)
class CodecTraining:
    """The codec: clips for the closed-form fit, then clips a step of the refinement."""

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=4000, lr=1e-3, weight_decay=0.0, ema_decay=0.998))
    fit_clips: int = 2000
    batch: int = 12


@dataclass(frozen=True)
class TextTraining:
    """The text encoder: captions its tokenizer is learnt from, and captions a step."""

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1000, lr=2e-3, ema_decay=0.99))
    tokenizer_captions: int = 4000
    batch: int = 64


@dataclass(frozen=True)
class BaseConfig:
    """The causal base model: `picture_steps` on single pictures first, which are cheap, then shots with their context.

    `shift` moves noise levels towards noise. Levels below `full_weight_sigma` weigh less, as their square: an error of
    the clean estimate counts there as it does at that level. `clean_share` of the chunks before a shot's last are left
    clean; `no_text_share` of the samples lose their captions.
    """

    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=20000, lr=2e-3, warmup_steps=200, ema_decay=0.999)
    )
    picture_steps: int = 3000
    pictures: PoolConfig = field(default_factory=lambda: PoolConfig(latents=128, batches=400, pictures=True))
    pool: PoolConfig = field(default_factory=PoolConfig)
    shift: float = 3.0
    full_weight_sigma: float = 0.3
    clean_share: float = 0.3
    no_text_share: float = 0.1
