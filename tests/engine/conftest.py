"""A tiny model with random weights."""

from collections.abc import Callable

import pytest

from shotstream.core.spec import VideoSize
from shotstream.model.config import (
    ConvCodecConfig,
    ModelConfig,
    SamplerConfig,
    TextEncoderConfig,
    TransformerConfig,
)
from shotstream.weights.build import ModelComponents, random_components


def _tiny_config(**codec: object) -> ModelConfig:
    channels = 4 if not codec else 16
    return ModelConfig(
        "tiny",
        VideoSize(32, 48),
        TransformerConfig(
            dim=48,
            ffn_dim=64,
            num_heads=2,
            num_layers=2,
            in_dim=channels,
            out_dim=channels,
            freq_dim=32,
            text_dim=16,
            text_len=32,
        ),
        text_encoder=TextEncoderConfig(
            vocab_size=300, dim=16, attention_dim=16, ffn_dim=16, num_heads=2, num_layers=1, text_len=32
        ),
        sampler=SamplerConfig(steps=(1000.0, 500.0)),
        **(codec or {"conv_codec": ConvCodecConfig("conv", 4, (8, 8), (1, 1), (8, 8), (1, 1))}),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., ModelConfig]:
    """Makes configurations, with the embedded codec or another one."""
    return _tiny_config


@pytest.fixture(scope="session")
def parts() -> ModelComponents:
    return random_components(_tiny_config())


@pytest.fixture
def encoded(parts: ModelComponents, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the text encoder is asked for."""
    asked: list[str] = []
    encode = parts.text_encoder.encode
    monkeypatch.setattr(parts.text_encoder, "encode", lambda captions: asked.extend(captions) or encode(captions))
    return asked
