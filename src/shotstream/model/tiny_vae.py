"""A tiny decoder for the latents of Wan's VAE: fast and lossy, whole and streamed (TAEHV's `taew2_1`).

Pictures go through plain convolutions one by one. Time enters in two places: memory blocks, which see the frame before,
and growth, where one frame becomes two. Latents come normalised, as the transformer makes them. The first latent of a
clip grows to four frames like every other; three of them are dropped.

The published files hold an encoder too, which is not read, because context frames must be encoded exactly.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from shotstream.core.spec import TEMPORAL_STRIDE
from shotstream.model.config import TinyDecoderConfig, WanVAEConfig
from shotstream.model.wan_vae import WanVAE
from shotstream.model.wan_vae_layers import StreamState, map_frames

MEMORY_BLOCKS = 3
LEVEL_GROWTH = (1, 2, 2)
"""Factor of the frame rate at each level."""
TINY_VAE_PREFIX = "tiny."
"""Prefix of the tiny network's weights in the VAE's state."""


class SoftClamp(nn.Module):
    """Smooth clamp of latents to (-3, 3)."""

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return torch.tanh(x / 3) * 3


class MemoryBlock(nn.Module):
    """Residual block of three convolutions over a frame and the one before it (zeros before the first)."""

    def __init__(self, channels: int, slot: int) -> None:
        """Create the layers; `slot` is the index of the previous frame in the stream's state."""
        super().__init__()
        self.conv = nn.Sequential(
            _conv(2 * channels, channels),
            nn.ReLU(inplace=True),
            _conv(channels, channels),
            nn.ReLU(inplace=True),
            _conv(channels, channels),
        )
        self.slot = slot

    def forward(self, x: Float[Tensor, "b c f h w"], state: StreamState) -> Float[Tensor, "b c f h w"]:
        past = state.past(self.slot, x, 1)
        pairs = torch.cat([x, torch.cat([past, x[:, :, :-1]], dim=2)], dim=1)
        past.copy_(x[:, :, -1:])
        return F.relu(x + map_frames(self.conv, pairs))


class Growth(nn.Module):
    """Upsample each frame to `frames` frames of twice the height and width; a clip's first `dropped` are left out.

    The published network enlarges first. The result is the same, because the map is of single pixels, but costs more.
    """

    def __init__(self, channels: int, frames: int, dropped: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, frames * channels, 1, bias=False)
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest-exact")
        self.frames, self.dropped = frames, dropped

    def forward(self, x: Float[Tensor, "b c f h w"], state: StreamState) -> Float[Tensor, "b c g y x"]:
        grown = map_frames(self.conv, x).movedim(1, -1).unflatten(-1, (self.frames, -1))
        frames = grown.movedim(-2, 2).flatten(1, 2).movedim(-1, 1)
        return map_frames(self.enlarge, frames if state.started else frames[:, :, self.dropped :])


class TinyDecoder(nn.Module):
    """Decoder of normalised latents to pixels in [0, 1]; parameters have the names of the published file."""

    def __init__(self, config: TinyDecoderConfig) -> None:
        super().__init__()
        widths = config.widths
        layers: list[nn.Module] = [SoftClamp(), _conv(config.latent_channels, widths[0]), nn.ReLU(inplace=True)]
        for level, (channels, out_channels) in enumerate(pairwise(widths)):
            slots = range(level * MEMORY_BLOCKS, (level + 1) * MEMORY_BLOCKS)
            dropped = TEMPORAL_STRIDE - 1 if level == len(LEVEL_GROWTH) - 1 else 0
            layers += [MemoryBlock(channels, slot) for slot in slots]
            layers += [nn.Identity(), Growth(channels, LEVEL_GROWTH[level], dropped)]
            layers.append(_conv(channels, out_channels, bias=False))
        self.decoder = nn.ModuleList([*layers, nn.ReLU(inplace=True), _conv(widths[-1], 3)])

    def start_stream(self) -> StreamState:
        """Return the state of a decoder at the start of a clip."""
        return StreamState([None] * (MEMORY_BLOCKS * len(LEVEL_GROWTH)))

    def forward(self, x: Float[Tensor, "b k t y x"], state: StreamState) -> Float[Tensor, "b c f h w"]:
        for layer in self.decoder:
            x = layer(x, state) if isinstance(layer, MemoryBlock | Growth) else map_frames(layer, x)
        state.started = True
        return x.clamp(0, 1)


class TinyWanVAE(WanVAE):
    """Wan's VAE with the tiny network as its decoder; the full decoder is kept for comparison."""

    def __init__(self, config: WanVAEConfig, tiny: TinyDecoderConfig) -> None:
        super().__init__(config)
        self.tiny = TinyDecoder(tiny)

    def start_stream(self) -> StreamState:
        """Return the state of a decoder at the start of a clip, for `decode_next`."""
        return self.tiny.start_stream()

    def decode_fully(self, latents: Float[Tensor, "b t k y x"]) -> Float[Tensor, "b f c h w"]:
        """Decode a whole clip with the full decoder, one latent at a time, which needs the least memory."""
        state, decode = super().start_stream(), super()._decode
        return torch.cat([decode(latent, state) for latent in latents.split(1, dim=1)], dim=1)

    def _decode(self, latents: Float[Tensor, "b t k y x"], state: StreamState) -> Float[Tensor, "b f c h w"]:
        pixels = self.tiny(self._enter(latents), state)
        return pixels.movedim(1, 2).to(latents.dtype).mul_(2).sub_(1)


def _conv(channels: int, out_channels: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, 3, padding=1, bias=bias)
