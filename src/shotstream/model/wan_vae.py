"""Wan2.1's causal 3-D VAE, whole and streamed (Wan-VAE of arXiv 2503.20314): pixels to latents and back.

Every convolution in time is causal, so a clip can be decoded as its latents come: a `StreamState` carries the last
input frames of each convolution, and nothing else connects one call with the next. The first latent of a clip is one
frame, which skips the changes of frame rate; every later latent is four frames.

Inside, video is `b c f h w` in channels-last memory; parameters have the names of the published checkpoint.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shotstream.core.config import check_keys, from_dict
from shotstream.core.errors import InputError
from shotstream.core.spec import SPATIAL_STRIDE, TEMPORAL_STRIDE, frames_of_latents, latents_of_frames
from shotstream.model.config import WanVAEConfig
from shotstream.model.wan_vae_layers import (
    AttentionBlock,
    CausalConv3d,
    Chain,
    Downsample,
    NormedConv,
    ResidualBlock,
    StreamState,
    Upsample,
    number_slots,
)

LATENTS_MEAN = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
LATENTS_STD = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.916),
)
PUBLISHED_NAMES = {"base_dim": "dim", "temperal_downsample": "temporal_downsample"}
"""Keys of published configurations that have another name here."""
PUBLISHED_FIXED = {
    "attn_scales": [],
    "is_residual": False,
    "in_channels": 3,
    "out_channels": 3,
    "patch_size": 1,
    "scale_factor_temporal": TEMPORAL_STRIDE,
    "scale_factor_spatial": SPATIAL_STRIDE,
}
"""Keys of published configurations that must have these values, or be None or missing."""
PUBLISHED_UNUSED = ("dropout", "clip_output")
PIXELS_PER_PASS = 5_000_000
"""Most pixels in one pass through the network, which bounds memory: three latents of 832x480."""
FEW_PIXELS_PER_PASS = 1_600_000
"""Most pixels in one pass on devices with little memory: one latent of 832x480."""


def _middle(channels: int) -> Chain:
    return Chain([ResidualBlock(channels, channels), AttentionBlock(channels), ResidualBlock(channels, channels)])


def _residuals(channels: int, out_channels: int, blocks: int) -> list[nn.Module]:
    return [ResidualBlock(channels if block == 0 else out_channels, out_channels) for block in range(blocks)]


class Encoder(nn.Module):
    """Pixels to the mean and the log variance of latents."""

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        widths = [config.dim * multiple for multiple in (1, *config.dim_mult)]
        self.conv1 = CausalConv3d(3, widths[0], (3, 3, 3))
        layers: list[nn.Module] = []
        for level, (channels, out_channels) in enumerate(pairwise(widths)):
            layers += _residuals(channels, out_channels, config.num_res_blocks)
            if level < len(config.temporal_downsample):
                layers.append(Downsample(out_channels, temporal=config.temporal_downsample[level]))
        self.downsamples = Chain(layers)
        self.middle = _middle(widths[-1])
        self.head = NormedConv(widths[-1], 2 * config.z_dim)

    def forward(self, x: Float[Tensor, "b c f h w"], state: StreamState | None) -> Float[Tensor, "b k t y x"]:
        x = self.downsamples(self.conv1(x, state), state)
        return self.head(self.middle(x, state), state)


class Decoder(nn.Module):
    """Latents to pixels."""

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        widths = [config.dim * multiple for multiple in (config.dim_mult[-1], *reversed(config.dim_mult))]
        temporal_upsample = config.temporal_downsample[::-1]
        self.conv1 = CausalConv3d(config.z_dim, widths[0], (3, 3, 3))
        self.middle = _middle(widths[0])
        layers: list[nn.Module] = []
        for level, (channels, out_channels) in enumerate(pairwise(widths)):
            layers += _residuals(channels // 2 if level else channels, out_channels, config.num_res_blocks + 1)
            if level < len(temporal_upsample):
                layers.append(Upsample(out_channels, temporal=temporal_upsample[level]))
        self.upsamples = Chain(layers)
        self.head = NormedConv(widths[-1], 3)

    def forward(self, x: Float[Tensor, "b k t y x"], state: StreamState) -> Float[Tensor, "b c f h w"]:
        x = self.middle(self.conv1(x, state), state)
        return self.head(self.upsamples(x, state), state)


class WanVAE(nn.Module):
    """Wan2.1's VAE as a codec (`shotstream.model.codec.Codec`), of any width.

    Pixels are in [-1, 1], latents normalised per channel. Results have the dtype of what was handed in; the arithmetic
    between has that of the weights, normalisation float32.

    `pixels_per_pass` changes how much memory a call needs, and but for rounding not what comes of it.

    Raises:
        InputError: the configuration does not make a codec of stride (4, 8, 8), or lacks statistics of its latents.
    """

    mean_bits: Tensor
    std_bits: Tensor

    def __init__(self, config: WanVAEConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or WanVAEConfig()
        mean, std = _check_config(config)
        self.latent_channels, self.pixels_per_pass = config.z_dim, PIXELS_PER_PASS
        # Kept as bits, so that a cast of the module leaves them float32, and never on the meta device: no checkpoint
        # holds them.
        self.register_buffer(
            "mean_bits", torch.tensor(mean, dtype=torch.float32, device="cpu").view(torch.int32), persistent=False
        )
        self.register_buffer(
            "std_bits", torch.tensor(std, dtype=torch.float32, device="cpu").view(torch.int32), persistent=False
        )
        self.encoder = Encoder(config)
        self.conv1 = nn.Conv3d(2 * config.z_dim, 2 * config.z_dim, 1)
        self.conv2 = nn.Conv3d(config.z_dim, config.z_dim, 1)
        self.decoder = Decoder(config)
        self._encoder_slots = number_slots(self.encoder)
        self._decoder_slots = number_slots(self.decoder)

    def encoding_tensors(self) -> Iterator[Tensor]:
        """Yield the tensors that decide the latents: all but the decoder's."""
        yield from (self.mean_bits, self.std_bits)
        for part in (self.encoder, self.conv1):
            yield from part.state_dict().values()

    def encode(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b t k y x"]:
        """Encode a clip of 4n + 1 frames to n + 1 latents (the mean; nothing is sampled).

        Raises:
            InputError: another number of frames, or height or width is not divisible by 8.
        """
        batch, frames, _, height, width = pixels.shape
        latents = latents_of_frames(frames)
        if latents == 1:
            return self.encode_frames(pixels)
        _check_size(height, width)
        latents_per_pass = max(1, self.pixels_per_pass // (batch * TEMPORAL_STRIDE * height * width))
        ends = [frames_of_latents(done) for done in range(latents_per_pass, latents, latents_per_pass)]
        state = StreamState([None] * self._encoder_slots)
        return torch.cat([self._encode(part, state) for part in pixels.tensor_split(ends, dim=1)], dim=1)

    def encode_frames(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f k y x"]:
        """Encode each frame alone, as a clip of one frame; several share a pass as a batch.

        Raises:
            InputError: height or width is not divisible by 8.
        """
        height, width = pixels.shape[-2:]
        _check_size(height, width)
        clips = pixels.flatten(0, 1).unsqueeze(1).split(max(1, self.pixels_per_pass // (height * width)))
        latents = torch.cat([self._encode(part, None) for part in clips])
        return latents.squeeze(1).unflatten(0, pixels.shape[:2])

    def decode(self, latents: Float[Tensor, "b t k y x"]) -> Float[Tensor, "b f c h w"]:
        """Decode a whole clip of t latents to 4t - 3 frames, clamped to [-1, 1]."""
        return self.decode_next(latents, self.start_stream())

    def start_stream(self) -> StreamState:
        """Return the state of a decoder at the start of a clip, for `decode_next`."""
        return StreamState([None] * self._decoder_slots)

    def decode_next(self, latents: Float[Tensor, "b t k y x"], state: StreamState) -> Float[Tensor, "b f c h w"]:
        """Decode the next latents of a clip (one or more), and update `state`; in all the same pixels as `decode`.

        The first latent of a clip is one frame, every other one four.
        """
        batch, _, _, latent_height, latent_width = latents.shape
        pixels_per_latent = batch * TEMPORAL_STRIDE * SPATIAL_STRIDE**2 * latent_height * latent_width
        parts = latents.split(max(1, self.pixels_per_pass // pixels_per_latent), dim=1)
        pixels = [self._decode(part, state) for part in parts]
        return pixels[0] if len(pixels) == 1 else torch.cat(pixels, dim=1)

    def _encode(self, pixels: Float[Tensor, "b f c h w"], state: StreamState | None) -> Float[Tensor, "b t k y x"]:
        moments = self.conv1(self.encoder(self._enter(pixels), state))
        if state is not None:
            state.started = True
        mean = moments[:, : self.latent_channels].movedim(1, 2).float()
        return ((mean - self._statistic(self.mean_bits)) / self._statistic(self.std_bits)).to(pixels.dtype)

    def _decode(self, latents: Float[Tensor, "b t k y x"], state: StreamState) -> Float[Tensor, "b f c h w"]:
        scaled = latents.float() * self._statistic(self.std_bits) + self._statistic(self.mean_bits)
        pixels = self.decoder(self.conv2(self._enter(scaled)), state)
        state.started = True
        return pixels.clamp_(-1, 1).movedim(1, 2).to(latents.dtype)

    def _enter(self, video: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b c f h w"]:
        return video.movedim(2, 1).to(self.conv1.weight.dtype, memory_format=torch.channels_last_3d)

    def _statistic(self, bits: Tensor) -> Float[Tensor, "k 1 1"]:
        return bits.view(torch.float32)[:, None, None]


def wan_vae_config(published: Mapping[str, Any]) -> WanVAEConfig:
    """Convert a published config.json, with Wan's own keys or those of diffusers' AutoencoderKLWan.

    Raises:
        InputError: an unknown key, or a VAE of another build than Wan2.1's.
    """
    where = "config.json of the VAE"
    data = {PUBLISHED_NAMES.get(key, key): value for key, value in published.items() if not key.startswith("_")}
    ours = [field.name for field in fields(WanVAEConfig)]
    fixed = PUBLISHED_FIXED | {"decoder_base_dim": data.get("dim", WanVAEConfig.dim)}
    check_keys(data, [*ours, *fixed, *PUBLISHED_UNUSED], where)
    for key, expected in fixed.items():
        if data.get(key) not in (None, expected):
            raise InputError(f"{where}: expected {key} {expected} as in Wan2.1, got {data[key]}; use Wan2.1's VAE")
    return from_dict(WanVAEConfig, {key: value for key, value in data.items() if key in ours}, where)


def _check_config(config: WanVAEConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Check a configuration, and return mean and standard deviation of its latents."""
    stride = (2 ** sum(config.temporal_downsample), 2 ** len(config.temporal_downsample))
    if stride != (TEMPORAL_STRIDE, SPATIAL_STRIDE) or len(config.dim_mult) != len(config.temporal_downsample) + 1:
        raise InputError(
            "expected a VAE with four entries in dim_mult and three in temporal_downsample, two of them true, "
            f"got {config.dim_mult} and {config.temporal_downsample}"
        )
    mean, std = config.latents_mean or LATENTS_MEAN, config.latents_std or LATENTS_STD
    if len(mean) != config.z_dim or len(std) != config.z_dim:
        raise InputError(
            f"expected {config.z_dim} values (z_dim) in latents_mean and in latents_std, got {len(mean)} and {len(std)}"
        )
    return mean, std


def _check_size(height: int, width: int) -> None:
    if height % SPATIAL_STRIDE or width % SPATIAL_STRIDE:
        raise InputError(
            f"expected height and width divisible by {SPATIAL_STRIDE}, got {height} x {width}; resize or crop"
        )
