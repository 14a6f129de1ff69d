"""Decode latents to frames as they come."""

import copy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from shotstream.core.profiling import Clock, no_profiler
from shotstream.engine.finite_check import check_chunk
from shotstream.model.codec import Codec, to_frames


class FrameDecoder:
    """Decodes one shot chunk by chunk; the state is what was pushed before."""

    def __init__(self, codec: Codec, clock: Clock = no_profiler) -> None:
        self._codec, self._state, self._clock = codec, codec.start_stream(), clock

    @torch.inference_mode()
    def state(self) -> Any:
        """Copy what the decoder has seen, for `restore`."""
        return copy.deepcopy(self._state)

    def restore(self, state: Any) -> None:
        """Go back to where `state` was taken; it belongs to the decoder from then on."""
        self._state = state

    @torch.inference_mode()
    def push(
        self, latents: Float[Tensor, "1 t k y x"]
    ) -> tuple[UInt8[np.ndarray, "f h w c"], Float[Tensor, "1 f c h w"]]:
        """Decode the next latents to frames for people (uint8) and pixels in [-1, 1] for the context.

        Raises:
            InputError: they are not finite.
        """
        with self._clock("decode"):
            pixels = self._codec.decode_next(latents, self._state)
        with self._clock("transfer"):
            frames = to_frames(pixels)
            check_chunk(latents, pixels)
            return frames, pixels
