"""Named shapes and settings of whole training runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from shotstream.core.config import nearest
from shotstream.core.errors import InputError
from shotstream.core.spec import VideoSize
from shotstream.data.latents import PoolConfig
from shotstream.model.config import (
    BlockCodecConfig,
    ModelConfig,
    SamplerConfig,
    TextEncoderConfig,
    TransformerConfig,
)
from shotstream.train.loop import LoopConfig
from shotstream.train.settings import BaseConfig, CodecTraining, TextTraining


@dataclass(frozen=True)
class Preset:
    """A model's shape, and how each of its stages is trained."""

    model: ModelConfig
    codec: CodecTraining = field(default_factory=CodecTraining)
    text: TextTraining = field(default_factory=TextTraining)
    base: BaseConfig = field(default_factory=BaseConfig)


STORYWORLD = Preset(
    ModelConfig(
        "storyworld",
        VideoSize(80, 128),
        TransformerConfig(
            dim=256,
            ffn_dim=1024,
            num_heads=4,
            num_layers=6,
            in_dim=64,
            out_dim=64,
            freq_dim=256,
            text_dim=128,
            text_len=64,
            prediction="clean",
        ),
        block_codec=BlockCodecConfig(),
        text_encoder=TextEncoderConfig(
            vocab_size=640, dim=128, attention_dim=128, ffn_dim=256, num_heads=4, num_layers=3, text_len=64
        ),
        sampler=SamplerConfig("euler", num_steps=12, shift=3.0, guidance=2.5),
    )
)
"""What a laptop trains in hours and runs in real time."""

TINY = Preset(
    ModelConfig(
        "tiny",
        VideoSize(80, 128),
        TransformerConfig(
            dim=32, ffn_dim=48, num_heads=2, num_layers=1, in_dim=4, out_dim=4, freq_dim=16, text_dim=16, text_len=64
        ),
        block_codec=BlockCodecConfig(latent_channels=4, width=8, depth=1),
        text_encoder=TextEncoderConfig(
            vocab_size=640, dim=16, attention_dim=16, ffn_dim=16, num_heads=2, num_layers=1, text_len=64
        ),
        sampler=SamplerConfig("euler", num_steps=2, shift=3.0, guidance=2.0),
    ),
    CodecTraining(LoopConfig(steps=2, log_every_steps=1), fit_clips=100, batch=2),
    TextTraining(LoopConfig(steps=2, log_every_steps=1), batch=4, tokenizer_captions=50),
    BaseConfig(
        LoopConfig(steps=4, log_every_steps=1, ema_decay=0.9),
        picture_steps=2,
        pictures=PoolConfig(latents=4, batches=1, pictures=True),
        pool=PoolConfig(latents=24, batches=2),
    ),
)
"""Every stage in seconds, for tests."""

PRESETS: Mapping[str, Preset] = MappingProxyType({"storyworld": STORYWORLD, "tiny": TINY})


def get_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: there is none.
    """
    if name not in PRESETS:
        raise InputError(f"expected a preset of {', '.join(PRESETS)}, got '{name}'{nearest(name, PRESETS)}")
    return PRESETS[name]
