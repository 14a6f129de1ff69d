"""Shapes of tiny models: quick on a CPU, with random weights."""

from dataclasses import replace

from shotstream.core.spec import ShotShape, VideoSize
from shotstream.model.config import (
    ConvCodecConfig,
    ModelConfig,
    SamplerConfig,
    TextEncoderConfig,
    TransformerConfig,
    WanVAEConfig,
)

TWO_STEPS = SamplerConfig(steps=(1000.0, 500.0))
NETWORK = TransformerConfig(
    dim=24, ffn_dim=32, num_heads=2, num_layers=2, in_dim=4, out_dim=4, freq_dim=16, text_dim=10, text_len=5
)
"""A transformer alone, whose text has 5 tokens of 10 numbers."""
WAN = ModelConfig(
    "tiny",
    VideoSize(32, 48),
    TransformerConfig(dim=24, ffn_dim=32, num_heads=2, num_layers=2, freq_dim=16, text_dim=16, text_len=12),
    wan_vae=WanVAEConfig(dim=4),
    text_encoder=TextEncoderConfig(
        vocab_size=300, dim=16, attention_dim=16, ffn_dim=24, num_heads=2, num_layers=2, num_buckets=8, text_len=12
    ),
)
"""A model like Wan2.1, with its VAE and two layers of text encoder."""


def live_model(layers: int = 1, text_len: int = 32, wan_vae: WanVAEConfig | None = None) -> ModelConfig:
    """Return the shape of a model like the embedded one, or with Wan's VAE; it makes a chunk in two steps."""
    channels = 16 if wan_vae else 4
    return ModelConfig(
        "tiny",
        VideoSize(32, 48),
        replace(
            NETWORK,
            dim=48, ffn_dim=64, num_layers=layers, in_dim=channels, out_dim=channels, freq_dim=32, text_dim=16,
            text_len=text_len,
        ),
        conv_codec=None if wan_vae else ConvCodecConfig("conv", 4, (8, 8), (1, 1), (8, 8), (1, 1)),
        wan_vae=wan_vae,
        text_encoder=TextEncoderConfig(
            vocab_size=300, dim=16, attention_dim=16, ffn_dim=16, num_heads=2, num_layers=1, text_len=text_len
        ),
        sampler=TWO_STEPS,
    )  # fmt: skip


SHORT_SHOTS = ShotShape(chunk_latents=2, context_latents=4, max_chunks=3)
"""Chunks of 5 and then 8 frames, a context of four frames, shots of up to 3 chunks."""


def with_shots(config: ModelConfig, shape: ShotShape = SHORT_SHOTS) -> ModelConfig:
    """Return a configuration whose shots have this shape."""
    return replace(config, transformer=replace(config.transformer, shot=shape))
