"""The interface of codecs: pixels to latents and back, whole or streamed.

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
class Codec(Protocol):
    """Interface that Wan's VAE and the embedded codec share."""

    latent_channels: int

    def encoding_tensors(self) -> Iterator[Tensor]:
        """Yield the tensors that decide the latents; stored latents are identified by them."""
        ...

    def encode(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b t k y x"]:
        """Encode a clip of 4n + 1 frames to n + 1 latents."""
        ...

    def encode_frames(self, pixels: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f k y x"]:
        """Encode each frame alone, as a clip of one frame; context frames are encoded so."""
        ...

    def decode(self, latents: Float[Tensor, "b t k y x"]) -> Float[Tensor, "b f c h w"]:
        """Decode a whole clip."""
        ...

    def start_stream(self) -> Any:
        """Return the state of a decoder at the start of a clip, for `decode_next`."""
        ...

    def decode_next(self, latents: Float[Tensor, "b t k y x"], state: Any) -> Float[Tensor, "b f c h w"]:
        """Decode the next latents of a clip (one or more), and update `state`; in all the same pixels as `decode`."""
        ...


def to_pixels(frames: UInt8[np.ndarray, "f h w c"]) -> Float[Tensor, "1 f c h w"]:
    """Convert uint8 frames to pixels in [-1, 1], with a batch of one."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)[None].float() / 127.5 - 1


def to_frames(pixels: Float[Tensor, "1 f c h w"]) -> UInt8[np.ndarray, "f h w c"]:
    """Convert the pixels of one clip to uint8 frames; values are rounded, and clamped to [-1, 1]."""
    scaled = pixels[0].float().add(1).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
