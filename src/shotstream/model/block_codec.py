"""The embedded codec: blocks of 4x8x8 pixels to latents and back, causal, and fast on a laptop.

A linear map of each block (begun at its principal components) carries most of the picture; a light convolutional
network over the grid of blocks adds what a linear map cannot: shapes that cross blocks, and motion inside a block. The
first frame of a clip is a block of 1x8x8 with maps of its own. The encoder looks at one block of time only, the
decoder at the current and the one before, so that its stream state is one latent.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.core.spec import SPATIAL_STRIDE, TEMPORAL_STRIDE, latents_of_frames
from shotstream.model.config import BlockCodecConfig

PIXEL_CHANNELS = 3
FIRST_VALUES = PIXEL_CHANNELS * SPATIAL_STRIDE**2
LATER_VALUES = FIRST_VALUES * TEMPORAL_STRIDE


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions over the grid of blocks, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Float[Tensor, "n c y x"]) -> Float[Tensor, "n c y x"]:
        return x + self.second(F.gelu(self.first(F.gelu(x))))


class Trunk(nn.Module):
    """The refining network: a projection in, residual blocks, and a projection out for first and later latents."""

    def __init__(self, inputs: tuple[int, int], width: int, depth: int, outputs: tuple[int, int]) -> None:
        super().__init__()
        self.into = nn.ModuleList(nn.Conv2d(size, width, 1) for size in inputs)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))
        self.out = nn.ModuleList(nn.Conv2d(width, size, 3, padding=1) for size in outputs)

    def forward(self, x: Float[Tensor, "n i y x"], *, first: bool) -> Float[Tensor, "n o y x"]:
        which = 0 if first else 1
        return self.out[which](self.blocks(self.into[which](x)))


@dataclass
class BlockDecoderState:
    """What a streamed decoder remembers: the last latent, or None before the first."""

    last: Float[Tensor, "b k y x"] | None = None


class BlockCodec(nn.Module):
    """The embedded codec; satisfies `model.codec.Codec`."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: BlockCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.latent_channels = k = config.latent_channels
        values = (FIRST_VALUES, LATER_VALUES)
        self.analysis = nn.ModuleList(nn.Conv2d(size, k, 1) for size in values)
        self.synthesis = nn.ModuleList(nn.Conv2d(k, size, 1) for size in values)
        self.encoder = Trunk(values, config.width, config.encoder_depth, (k, k))
        self.decoder = Trunk((k, 2 * k), config.width, config.decoder_depth, values)
        self.register_buffer("mean", torch.zeros(k))
        self.register_buffer("std", torch.ones(k))

    def encode(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b t k y x"]:
        """Latents of a clip of 4n + 1 frames.

        Raises:
            InputError: another number of frames, or a size not divisible by 8.
        """
        latents_of_frames(pixels.shape[1])
        first = self.encode_frames(pixels[:, :1])
        if pixels.shape[1] == 1:
            return first
        return torch.cat([first, self._encode_blocks(pixels[:, 1:], TEMPORAL_STRIDE)], 1)

    def encode_frames(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f k y x"]:
        """Latents of frames that are each encoded alone."""
        return self._encode_blocks(pixels, 1)

    def decode(self, latents: Float[Tensor, "b t k y x"]) -> Float[Tensor, "b f c h w"]:
        """Pixels of a whole clip."""
        return self.decode_next(latents, self.start_stream())

    def start_stream(self) -> BlockDecoderState:
        """The state of a decoder that has seen nothing yet."""
        return BlockDecoderState()

    def decode_next(
        self, latents: Float[Tensor, "b t k y x"], state: BlockDecoderState
    ) -> Float[Tensor, "b f c h w"]:
        """Pixels of the next latents of a clip; `state` is updated."""
        latents = latents.to(self.mean.dtype)
        pixels = []
        before = state.last
        if before is None:
            before, latents = latents[:, 0], latents[:, 1:]
            pixels.append(self._decode_blocks(before, None, 1))
        if latents.shape[1]:
            previous = torch.cat([before[:, None], latents[:, :-1]], 1).flatten(0, 1)
            later = self._decode_blocks(latents.flatten(0, 1), previous, TEMPORAL_STRIDE)
            pixels.append(later.unflatten(0, latents.shape[:2]).flatten(1, 2))
        state.last = latents[:, -1] if latents.shape[1] else before
        return torch.cat(pixels, 1)

    def _encode_blocks(self, pixels: Float[Tensor, "b f c h w"], frames: int) -> Float[Tensor, "b t k y x"]:
        which = 0 if frames == 1 else 1
        x = to_blocks(pixels.to(self.mean.dtype), frames)
        z = self.analysis[which](x) + self.encoder(x, first=frames == 1)
        z = (z - self.mean[:, None, None]) / self.std[:, None, None]
        return z.unflatten(0, (pixels.shape[0], -1))

    def _decode_blocks(
        self, z: Float[Tensor, "n k y x"], previous: Float[Tensor, "n k y x"] | None, frames: int
    ) -> Float[Tensor, "n f c h w"]:
        which = 0 if frames == 1 else 1
        seen = z if previous is None else torch.cat([z, previous], 1)
        linear = self.synthesis[which](z * self.std[:, None, None] + self.mean[:, None, None])
        return from_blocks(linear + self.decoder(seen, first=frames == 1), frames)


def to_blocks(pixels: Float[Tensor, "b f c h w"], frames: int) -> Float[Tensor, "n v y x"]:
    """Blocks of `frames` x 8 x 8 pixels as channels; n is batch times blocks of time.

    Raises:
        InputError: the size is not divisible by 8.
    """
    b, f, c, h, w = pixels.shape
    if h % SPATIAL_STRIDE or w % SPATIAL_STRIDE:
        raise InputError(f"expected height and width divisible by {SPATIAL_STRIDE}, got {h}x{w}; crop or pad the clip")
    blocks = pixels.reshape(b * f // frames, frames * c, h, w)
    return F.pixel_unshuffle(blocks, SPATIAL_STRIDE)


def from_blocks(blocks: Float[Tensor, "n v y x"], frames: int) -> Float[Tensor, "n f c h w"]:
    """The inverse of `to_blocks`, with the frames of a block apart."""
    return F.pixel_shuffle(blocks, SPATIAL_STRIDE).unflatten(1, (frames, PIXEL_CHANNELS))
