"""Build the networks of a model from tensors or at random, and fingerprint it."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import cast

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.model.codec import Codec
from shotstream.model.config import OMIT_DEFAULT, ModelConfig, SamplerConfig, TransformerConfig
from shotstream.model.device import has_little_memory, shapes_only
from shotstream.model.text_encoder import TextEncoder
from shotstream.model.transformer import Transformer, is_modulation
from shotstream.weights.load import load_into
from shotstream.weights.tokenizer import byte_tokenizer

SAMPLES, SAMPLE_BYTES = 16, 4096


@dataclass(frozen=True)
class ModelStates:
    """Tensors of a model, read but not yet in networks.

    `low_noise` are those of a second transformer, of a model that has one (`ModelConfig.expert_boundary`). `files` are
    those they came from, in a fixed order; `notes` are sentences for the user on what was assumed.
    """

    config: ModelConfig
    transformer: dict[str, Tensor]
    codec: dict[str, Tensor]
    text_encoder: dict[str, Tensor]
    tokenizer: Tokenizer
    files: tuple[Path, ...]
    source: str
    notes: tuple[str, ...] = ()
    low_noise: dict[str, Tensor] | None = None


@dataclass(frozen=True)
class ModelComponents:
    """A model ready to run.

    Attributes:
        source: where it came from, in words for people.
        fingerprint: changes whenever the model does; stories keep that of the model that made them.
        lossy: for people, why its results differ from those of the full model; empty where they do not.
        trained: whether its weights are not random.
        policy: the policy of its stories (`engine.policies`); None: the one that it was made for.
        low_noise: a second transformer that predicts below `config.expert_boundary`; None: there is one.
    """

    config: ModelConfig
    transformer: Transformer
    codec: Codec
    text_encoder: TextEncoder
    source: str
    fingerprint: str
    lossy: tuple[str, ...] = ()
    trained: bool = True
    policy: str | None = None
    low_noise: Transformer | None = None

    @property
    def second(self) -> tuple[Transformer, float] | None:
        """Return the second transformer and the noise level below which it predicts; None: there is one transformer."""
        boundary = self.config.expert_boundary
        return None if self.low_noise is None or boundary is None else (self.low_noise, boundary)


def build(
    states: ModelStates,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    *,
    text_device: torch.device | str | None = None,
) -> ModelComponents:
    """Build networks with these tensors on `device`, in `dtype` (None: each tensor as it is), in evaluation mode.

    The text encoder goes straight to `text_device`; None: to `device` like the rest.

    Raises:
        InputError: sizes of the components do not agree, or tensors do not fit the configuration or are not finite.
    """
    check_fit(states.config, states.source)
    with shapes_only():
        transformer, codec, text_encoder = networks(states.config, states.tokenizer)
        low_noise = None if states.low_noise is None else Transformer(states.config.transformer)
    for network, state, component in (
        (transformer, states.transformer, "transformer"),
        *([(low_noise, states.low_noise or {}, "transformer of low noise")] if low_noise else []),
    ):
        load_into(network, state, f"{states.source} ({component})", device, dtype, exact_names(states.config))
        network.eval()
    for other, state, component, where in (
        (codec, states.codec, "codec", device),
        (text_encoder, states.text_encoder, "text encoder", text_device or device),
    ):
        load_into(other, state, f"{states.source} ({component})", where, dtype)
        other.eval()
    optimise_layout(codec, torch.device(device))
    return ModelComponents(
        states.config,
        transformer,
        cast(Codec, codec),
        text_encoder,
        states.source,
        fingerprint(states.config, states.files),
        _lossy(states.config),
        low_noise=low_noise,
    )


def random_components(
    config: ModelConfig,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    tokenizer: Tokenizer | None = None,
    *,
    text_device: torch.device | str | None = None,
) -> ModelComponents:
    """Build a model of that shape with random initial weights, for benches and tests.

    Captions are tokenised byte by byte where no tokenizer is given, and encoded on `text_device` (None: `device`). The
    global random state stays as it was.

    Raises:
        InputError: sizes of the components do not agree.
    """
    check_fit(config, config.name)
    device = torch.device(device)
    with (
        torch.random.fork_rng(device_type="cuda" if device.type == "cpu" else device.type),
        device,
        default_dtype(dtype),
    ):
        torch.manual_seed(seed)
        transformer, codec, text_encoder = networks(config, tokenizer, text_device)
        low_noise = None if config.expert_boundary is None else Transformer(config.transformer).to(device, dtype).eval()
        for network, where in ((transformer, device), (codec, device), (text_encoder, text_device or device)):
            network.to(device=where, dtype=dtype).eval()
    optimise_layout(codec, device)
    identity = hashlib.blake2b(f"{_config_text(config)}/{seed}".encode(), digest_size=16).hexdigest()
    return ModelComponents(
        config,
        transformer,
        cast(Codec, codec),
        text_encoder,
        f"random weights (seed {seed})",
        identity,
        _lossy(config),
        trained=False,
        low_noise=low_noise,
    )


def exact_names(config: ModelConfig) -> Callable[[str], bool]:
    """Return which of the transformer's parameters, by name, stay in float32 whatever the dtype of the others."""
    return is_modulation if config.transformer.modulation == "float32" else lambda _: False


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Create parameters in `dtype` at once; this avoids a float32 copy, for which a large network has no room."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def check_fit(config: ModelConfig, where: str) -> None:
    """Check that the sizes of transformer, codec and text encoder agree.

    Raises:
        InputError: names the two that do not.
    """
    transformer, text = config.transformer, config.text_encoder
    codec_channels = config.codec_channels
    tiny_channels = config.tiny_decoder.latent_channels if config.tiny_decoder else codec_channels
    for what, ours, theirs in (
        ("latent channels of transformer and codec", transformer.in_dim, codec_channels),
        ("latent channels of codec and tiny decoder", codec_channels, tiny_channels),
        ("widths of the transformer's text and the text encoder", transformer.text_dim, text.dim),
        ("caption lengths of transformer and text encoder", transformer.text_len, text.text_len),
    ):
        if ours != theirs:
            raise InputError(
                f"{where}: expected equal {what}, got {ours} and {theirs}; take all components from one model"
            )


def fingerprint(config: ModelConfig, files: Sequence[Path]) -> str:
    """Hash the configuration, and size and samples of each file: cheap however large they are."""
    digest = hashlib.blake2b(_config_text(config).encode(), digest_size=16)
    for path in files:
        size = path.stat().st_size
        digest.update(size.to_bytes(8, "big"))
        with path.open("rb") as file:
            for sample in range(SAMPLES):
                file.seek(max(0, size - SAMPLE_BYTES) * sample // (SAMPLES - 1))
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def networks(
    config: ModelConfig, tokenizer: Tokenizer | None, text_device: torch.device | str | None = None
) -> tuple[Transformer, nn.Module, TextEncoder]:
    """Create transformer, codec and text encoder of a configuration on the current default device.

    The text encoder is created on `text_device` where one is given.
    """
    with nullcontext() if text_device is None else torch.device(text_device):
        text_encoder = TextEncoder(config.text_encoder, tokenizer or byte_tokenizer())
    return Transformer(config.transformer), _codec(config), text_encoder


def optimise_layout(codec: nn.Module, device: torch.device) -> None:
    """Adapt a codec in place to the memory and kernels of its device. Results change by rounding at most."""
    if has_little_memory(device):
        spare_memory(codec)
    if device.type == "cuda":
        channels_last(codec)


def channels_last(codec: nn.Module) -> None:
    """Store convolution filters in channels-last layout, that of the activations, so that no call has to convert."""
    for layer in codec.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            layout = torch.channels_last if isinstance(layer, nn.Conv2d) else torch.channels_last_3d
            layer.weight.data = layer.weight.data.contiguous(memory_format=layout)


def spare_memory(codec: nn.Module) -> None:
    """Let Wan's VAE decode fewer latents at a time, which needs less memory. Results change by rounding at most."""
    from shotstream.model.wan_vae import FEW_PIXELS_PER_PASS, WanVAE

    if isinstance(codec, WanVAE):
        codec.pixels_per_pass = FEW_PIXELS_PER_PASS


def _codec(config: ModelConfig) -> nn.Module:
    if config.wan_vae is not None and config.tiny_decoder is not None:
        from shotstream.model.tiny_vae import TinyWanVAE

        return TinyWanVAE(config.wan_vae, config.tiny_decoder)
    if config.wan_vae is not None:
        from shotstream.model.wan_vae import WanVAE

        return WanVAE(config.wan_vae)
    from shotstream.model.conv_codec import ConvCodec

    assert config.conv_codec is not None, "ModelConfig has one codec"
    return ConvCodec(config.conv_codec)


def _lossy(config: ModelConfig) -> tuple[str, ...]:
    return () if config.tiny_decoder is None else ("decoded by a tiny VAE",)


def _config_text(config: ModelConfig) -> str:
    """Write the configuration as text to hash, without optional fields that have their default."""
    plain = to_dict(config)
    defaults = {ModelConfig: plain, TransformerConfig: plain["transformer"], SamplerConfig: plain["sampler"]}
    for kind, values in defaults.items():
        for name in values.keys() & set(OMIT_DEFAULT):
            default = getattr(kind, name)
            if values[name] == (to_dict(default) if is_dataclass(default) else default):
                del values[name]
    return json.dumps(plain, sort_keys=True)
