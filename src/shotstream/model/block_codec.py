"""The embedded codec: blocks of 4x8x8 pixels to latents and back, causal, and fast on a laptop.

The encoder is one linear map of each block: its scaled principal components. The first frame of a clip is a block of
1x8x8 with a map of its own, rotated so that a still picture has nearly the same latent as a first frame and as four
equal frames. The decoder is the transposed map plus a light convolutional network over the grid of blocks, which adds
what a linear map cannot: shapes that cross blocks, and motion inside one. It reads the current and the previous latent,
so the state of a stream is one latent.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.core.spec import SPATIAL_STRIDE, TEMPORAL_STRIDE, latents_of_frames
from shotstream.model.config import BlockCodecConfig

PIXEL_CHANNELS = 3
BLOCK_FRAMES = (1, TEMPORAL_STRIDE)
BLOCK_VALUES = tuple(frames * PIXEL_CHANNELS * SPATIAL_STRIDE**2 for frames in BLOCK_FRAMES)
FIRST, LATER = 0, 1


class ResidualBlock(nn.Module):
    """Residual block: two 3x3 convolutions over the grid of blocks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Float[Tensor, "n c y x"]) -> Float[Tensor, "n c y x"]:
        return x + self.second(F.gelu(self.first(F.gelu(x))))


class Refinement(nn.Module):
    """Network whose output is added to the linear decoding; first and later latents have their own input and output."""

    def __init__(self, latent_channels: int, width: int, depth: int) -> None:
        super().__init__()
        inputs = (latent_channels, 2 * latent_channels)
        self.into = nn.ModuleList(nn.Conv2d(size, width, 3, padding=1) for size in inputs)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))
        self.out = nn.ModuleList(nn.Conv2d(width, size, 1) for size in BLOCK_VALUES)

    def forward(self, x: Float[Tensor, "n i y x"], which: int) -> Float[Tensor, "n v y x"]:
        return self.out[which](self.blocks(self.into[which](x)))


@dataclass
class BlockDecoderState:
    """State of a streamed decoder: the last latent, or None at the start of a clip."""

    last: Float[Tensor, "b k y x"] | None = None


class BlockCodec(nn.Module):
    """The embedded codec; satisfies `model.codec.Codec`."""

    def __init__(self, config: BlockCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.latent_channels = config.latent_channels
        self.analysis = nn.ModuleList(nn.Conv2d(size, config.latent_channels, 1) for size in BLOCK_VALUES)
        self.synthesis = nn.ModuleList(nn.Conv2d(config.latent_channels, size, 1) for size in BLOCK_VALUES)
        self.refinement = Refinement(config.latent_channels, config.width, config.depth)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, latents and pixels."""
        return next(self.parameters()).dtype

    def encoding_tensors(self) -> Iterator[Tensor]:
        """Yield the tensors that decide the latents: the linear maps of the encoder."""
        return iter(self.analysis.state_dict().values())

    def encode(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b t k y x"]:
        """Encode a clip of 4n + 1 frames to n + 1 latents.

        Raises:
            InputError: another number of frames, or a size not divisible by 8.
        """
        latents_of_frames(pixels.shape[1])
        first = self.encode_frames(pixels[:, :1])
        if pixels.shape[1] == 1:
            return first
        return torch.cat([first, self._encode_blocks(pixels[:, 1:], LATER)], 1)

    def encode_frames(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f k y x"]:
        """Encode each frame alone, as the first frame of a clip."""
        return self._encode_blocks(pixels, FIRST)

    def decode(self, latents: Float[Tensor, "b t k y x"]) -> Float[Tensor, "b f c h w"]:
        """Decode a whole clip."""
        return self.decode_next(latents, self.start_stream())

    def start_stream(self) -> BlockDecoderState:
        """Return the state of a decoder at the start of a clip."""
        return BlockDecoderState()

    def decode_next(self, latents: Float[Tensor, "b t k y x"], state: BlockDecoderState) -> Float[Tensor, "b f c h w"]:
        """Decode the next latents of a clip, and update `state`."""
        latents = latents.to(self.dtype)
        pixels = []
        before = state.last
        if before is None:
            before, latents = latents[:, 0], latents[:, 1:]
            pixels.append(self._decode_blocks(before, before, FIRST))
        if latents.shape[1]:
            previous = torch.cat([before[:, None], latents[:, :-1]], 1).flatten(0, 1)
            later = latents.flatten(0, 1)
            blocks = self._decode_blocks(later, torch.cat([later, previous], 1), LATER)
            pixels.append(blocks.unflatten(0, latents.shape[:2]).flatten(1, 2))
        state.last = latents[:, -1] if latents.shape[1] else before
        return torch.cat(pixels, 1)

    def _encode_blocks(self, pixels: Float[Tensor, "b f c h w"], which: int) -> Float[Tensor, "b t k y x"]:
        latents = self.analysis[which](to_blocks(pixels.to(self.dtype), BLOCK_FRAMES[which]))
        return latents.unflatten(0, (pixels.shape[0], -1))

    def _decode_blocks(
        self, latents: Float[Tensor, "n k y x"], seen: Float[Tensor, "n i y x"], which: int
    ) -> Float[Tensor, "n f c h w"]:
        blocks = self.synthesis[which](latents) + self.refinement(seen, which)
        return from_blocks(blocks, BLOCK_FRAMES[which])


def to_blocks(pixels: Float[Tensor, "b f c h w"], frames: int) -> Float[Tensor, "n v y x"]:
    """Move the pixels of each block of `frames` x 8 x 8 into channels; n is batch size times blocks in time.

    Raises:
        InputError: the size is not divisible by 8.
    """
    b, f, c, h, w = pixels.shape
    if h % SPATIAL_STRIDE or w % SPATIAL_STRIDE:
        raise InputError(f"expected height and width divisible by {SPATIAL_STRIDE}, got {h}x{w}; crop or pad the clip")
    blocks = pixels.reshape(b * f // frames, frames * c, h, w)
    return F.pixel_unshuffle(blocks, SPATIAL_STRIDE)


def from_blocks(blocks: Float[Tensor, "n v y x"], frames: int) -> Float[Tensor, "n f c h w"]:
    """Invert `to_blocks`; each block in time gives a clip of `frames` frames."""
    return F.pixel_shuffle(blocks, SPATIAL_STRIDE).unflatten(1, (frames, PIXEL_CHANNELS))
