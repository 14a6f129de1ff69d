"""Records that several folders share."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class FrameLayout:
    """Positions, phases and captions of latents: made in `story.layout`, read by the transformer.

    Host tensors, one entry a latent. `positions` is the temporal rotary index, `shots` the shot index that sets the
    rotary phase (reference: ShotStream's RoPE discontinuity), `captions` which of the captions handed to the
    transformer the latent attends to.
    """

    positions: Int[Tensor, "b f"]
    shots: Int[Tensor, "b f"]
    captions: Int[Tensor, "b f"]

    @property
    def latents(self) -> int:
        """Number of latents a sample."""
        return self.positions.shape[1]

    def __getitem__(self, latents: slice) -> "FrameLayout":
        """Return the layout of some of the latents."""
        return FrameLayout(self.positions[:, latents], self.shots[:, latents], self.captions[:, latents])

    def __add__(self, after: "FrameLayout") -> "FrameLayout":
        """Return this layout followed by another."""
        return FrameLayout(
            torch.cat([self.positions, after.positions], 1),
            torch.cat([self.shots, after.shots], 1),
            torch.cat([self.captions, after.captions], 1),
        )

    def expand(self, batch: int) -> "FrameLayout":
        """Repeat the samples of the layout, in order, until there are `batch` of them."""
        times = batch // len(self.positions)
        return FrameLayout(self.positions.repeat(times, 1), self.shots.repeat(times, 1), self.captions.repeat(times, 1))
