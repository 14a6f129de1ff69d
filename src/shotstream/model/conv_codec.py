"""The learned codec of the embedded model: causal, convolutional, stride (4, 8, 8).

Encoder and decoder each add two things. One is a linear map between latents and blocks of 4x8x8 pixels; before training
it is that of principal components. The other is a convolutional network over the whole picture, at 1/8 and 1/4 of its
size; before training its output is zero. The first frame of a clip is encoded as four equal frames, so that one encoder
serves all latents. The decoder sees the current latent and the one before it: a stream's state is one latent.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.core.spec import SPATIAL_STRIDE, TEMPORAL_STRIDE, latents_of_frames
from shotstream.model.config import ConvCodecConfig

PIXEL_CHANNELS = 3
CLIP_CHANNELS = TEMPORAL_STRIDE * PIXEL_CHANNELS
FINE_STRIDE = SPATIAL_STRIDE // 2
BLOCK_VALUES, FINE_VALUES = CLIP_CHANNELS * SPATIAL_STRIDE**2, CLIP_CHANNELS * FINE_STRIDE**2


class ConvBlock(nn.Module):
    """A 3x3 depthwise convolution and a feed-forward network a position, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.expand, self.project = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(2 * width, width, 1)
        with torch.no_grad():
            for parameter in self.project.parameters():
                parameter.mul_(0.1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return x + self.project(F.silu(self.expand(self.depthwise(x))))


class ConvEncoder(nn.Module):
    """Four frames to one latent."""

    def __init__(self, config: ConvCodecConfig) -> None:
        super().__init__()
        coarse, fine = config.encoder_widths
        coarse_blocks, fine_blocks = config.encoder_depths
        self.linear = nn.Conv2d(BLOCK_VALUES, config.latent_channels, 1)
        self.enter, self.fine_blocks = nn.Conv2d(FINE_VALUES, fine, 1), _blocks(fine, fine_blocks)
        self.down, self.skip = nn.Conv2d(fine, coarse, 2, stride=2), nn.Conv2d(BLOCK_VALUES, coarse, 1)
        self.coarse_blocks, self.leave = _blocks(coarse, coarse_blocks), nn.Conv2d(coarse, config.latent_channels, 1)
        _zero(self.leave)

    def forward(self, clips: Float[Tensor, "n 12 h w"]) -> Float[Tensor, "n k y x"]:
        blocks = _channels_last(F.pixel_unshuffle(clips, SPATIAL_STRIDE))
        fine = self.fine_blocks(self.enter(_channels_last(F.pixel_unshuffle(clips, FINE_STRIDE))))
        return self.linear(blocks) + self.leave(F.silu(self.coarse_blocks(self.down(fine) + self.skip(blocks))))


class ConvDecoder(nn.Module):
    """A latent, with the one before it, to four frames."""

    def __init__(self, config: ConvCodecConfig) -> None:
        super().__init__()
        coarse, fine = config.decoder_widths
        coarse_blocks, fine_blocks = config.decoder_depths
        self.linear = nn.Conv2d(config.latent_channels, BLOCK_VALUES, 1)
        self.enter = nn.Conv2d(2 * config.latent_channels, coarse, 3, padding=1)
        self.coarse_blocks, self.up = _blocks(coarse, coarse_blocks), nn.Conv2d(coarse, 4 * fine, 1)
        self.fine_blocks, self.leave = _blocks(fine, fine_blocks), nn.Conv2d(fine, FINE_VALUES, 1)
        _zero(self.leave)

    def forward(
        self, latents: Float[Tensor, "n k y x"], previous: Float[Tensor, "n k y x"]
    ) -> Float[Tensor, "n 12 h w"]:
        coarse = self.coarse_blocks(self.enter(_channels_last(torch.cat([latents, previous], 1))))
        fine = self.fine_blocks(_channels_last(F.pixel_shuffle(self.up(coarse), 2)))
        linear = F.pixel_shuffle(self.linear(latents), SPATIAL_STRIDE)
        return linear + F.pixel_shuffle(self.leave(F.silu(fine)), FINE_STRIDE)


@dataclass
class ConvDecoderState:
    """State of a streamed decoder: the last latent, or None before the first."""

    last: Float[Tensor, "b k y x"] | None = None


class ConvCodec(nn.Module):
    """The learned codec; satisfies `model.codec.Codec`."""

    def __init__(self, config: ConvCodecConfig) -> None:
        super().__init__()
        self.config, self.latent_channels = config, config.latent_channels
        self.encoder, self.decoder = ConvEncoder(config), ConvDecoder(config)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of the weights, which latents and pixels have too."""
        return self.encoder.linear.weight.dtype

    def encoding_tensors(self) -> Iterator[Tensor]:
        """Return the weights of the encoder; latents that are kept belong to them."""
        return iter(self.encoder.state_dict().values())

    def encode(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b t k y x"]:
        """Return the latents of clips of 4n + 1 frames.

        Raises:
            InputError: another number of frames, or a size not divisible by 8.
        """
        latents_of_frames(pixels.shape[1])
        return self._encode(torch.cat([pixels[:, :1].expand(-1, TEMPORAL_STRIDE, -1, -1, -1), pixels[:, 1:]], 1))

    def encode_frames(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f k y x"]:
        """Return the latents of frames that are each encoded alone, as a clip of one frame is."""
        return self._encode(pixels.repeat_interleave(TEMPORAL_STRIDE, 1))

    def decode(self, latents: Float[Tensor, "b t k y x"]) -> Float[Tensor, "b f c h w"]:
        """Return the pixels of whole clips."""
        return self.decode_next(latents, self.start_stream())

    def start_stream(self) -> ConvDecoderState:
        """Return the state of a decoder that has seen nothing yet."""
        return ConvDecoderState()

    def decode_next(self, latents: Float[Tensor, "b t k y x"], state: ConvDecoderState) -> Float[Tensor, "b f c h w"]:
        """Return the pixels of the next latents of clips, and update `state`.

        The first latent of a clip becomes one frame (the last of the four that the decoder draws), each later one four.
        """
        latents = latents.to(self.dtype)
        begins, before = state.last is None, latents[:, 0] if state.last is None else state.last
        previous = torch.cat([before[:, None], latents[:, :-1]], 1)
        clips = self.decoder(latents.flatten(0, 1), previous.flatten(0, 1))
        frames = clips.unflatten(1, (TEMPORAL_STRIDE, PIXEL_CHANNELS)).unflatten(0, latents.shape[:2]).flatten(1, 2)
        state.last = latents[:, -1]
        return frames[:, TEMPORAL_STRIDE - 1 :] if begins else frames

    def _encode(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b t k y x"]:
        """Return one latent for every four frames."""
        b, f, c, h, w = pixels.shape
        if h % SPATIAL_STRIDE or w % SPATIAL_STRIDE:
            raise InputError(
                f"expected height and width divisible by {SPATIAL_STRIDE}, got {h}x{w}; crop or pad the clip"
            )
        clips = pixels.to(self.dtype).reshape(b * f // TEMPORAL_STRIDE, TEMPORAL_STRIDE * c, h, w)
        return self.encoder(clips).unflatten(0, (b, -1))


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ConvBlock(width) for _ in range(count)))


def _zero(layer: nn.Conv2d) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _channels_last(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    return x.contiguous(memory_format=torch.channels_last)
