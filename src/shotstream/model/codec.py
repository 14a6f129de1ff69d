"""What the rest of the house asks of a codec: pixels to latents and back, whole or as they come.

A codec is causal with stride (4, 8, 8): the first latent of a clip is one frame, each later one four. Latents are
normalised (mean 0, deviation about 1 a channel). Pixels lie in [-1, 1].
"""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


@runtime_checkable
@runtime_checkable
class Codec(Protocol):
    """The seam behind which Wan's VAE and the embedded codec are the same."""

    latent_channels: int

    def encoding_tensors(self) -> Iterator[Tensor]:
        """The tensors that decide what latents are; latents that are kept belong to them."""
        ...

    def encode(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b t k y x"]:
        """Latents of a clip of 4n + 1 frames."""
        ...

    def encode_frames(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f k y x"]:
        """Latents of frames that are each encoded alone, as one-frame clips (how context frames are remembered)."""
        ...

    def decode(self, latents: Float[Tensor, "b t k y x"]) -> Float[Tensor, "b f c h w"]:
        """Pixels of a whole clip."""
        ...

    def start_stream(self) -> Any:
        """The state of a decoder that has seen nothing yet; hand it to `decode_next` and to nothing else."""
        ...

    def decode_next(self, latents: Float[Tensor, "b t k y x"], state: Any) -> Float[Tensor, "b f c h w"]:
        """Pixels of the next latents of a clip (one or more); `state` is updated. Equals `decode` of the whole."""
        ...


def to_pixels(frames: UInt8[np.ndarray, "f h w c"]) -> Float[Tensor, "1 f c h w"]:
    """Frames as people and files have them, as pixels in [-1, 1] with a batch of one."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)[None].float() / 127.5 - 1


def to_frames(pixels: Float[Tensor, "1 f c h w"]) -> UInt8[np.ndarray, "f h w c"]:
    """Pixels in [-1, 1] of one clip, as uint8 frames; values outside are clamped, values between are rounded."""
    scaled = pixels[0].float().add(1).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
