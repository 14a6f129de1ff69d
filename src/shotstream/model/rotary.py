"""Rotary positions in time, height and width, with ShotStream's phase jump between shots.

The head's complex channels are split into c - 2 (c // 3) for time and c // 3 each for height and width. The temporal
angle of channel j at position p of shot k is p w_j + k theta: the shot adds a phase, not a shift in time, so that
frames at the same position of different shots differ (paper: RoPE discontinuity).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from shotstream.core.spec import PATCH
from shotstream.core.types import FrameLayout
from shotstream.model.device import send

BASE = 10000.0
SHOT_PHASE = 1 / 6


@dataclass(frozen=True)
class Rotary:
    """Cosine and sine of every token's angles, made once for a chunk and used by all layers and steps."""

    cos: Float[Tensor, "b n 1 c"]
    sin: Float[Tensor, "b n 1 c"]


Axes = tuple[Float[Tensor, "b f 1 1 t"], Float[Tensor, "1 g h 1 s"], Float[Tensor, "1 g 1 w s"]]
"""Angles along time, rows and columns; g is 1, or the latents where rows and columns are shifted latent by latent."""


def rotary_angles(
    positions: Int[Tensor, "b f"],
    shots: Int[Tensor, "b f"],
    grid: tuple[int, int],
    head_dim: int,
    shot_phase: float = SHOT_PHASE,
    diagonal: Sequence[int] = (0,),
) -> Axes:
    """Return the angles that follow from a token's time, row and column, in float64.

    `diagonal` is added to the rows and columns of each latent, or of all of them.
    """
    rows, columns = grid
    channels = head_dim // 2
    third = channels // 3
    time = positions.double()[..., None] * _frequencies(channels - 2 * third) + shots.double()[..., None] * shot_phase
    shift = torch.tensor(diagonal, dtype=torch.float64)[:, None, None]
    height = (torch.arange(rows, dtype=torch.float64)[:, None] + shift) * _frequencies(third)
    width = (torch.arange(columns, dtype=torch.float64)[:, None] + shift) * _frequencies(third)
    return time[:, :, None, None], height[None, :, :, None], width[None, :, None]


def join_axes(
    time: Float[Tensor, "b f 1 1 t"], height: Float[Tensor, "1 g h 1 s"], width: Float[Tensor, "1 g 1 w s"]
) -> Float[Tensor, "b n c"]:
    """Join the angles of the axes for all tokens, frame by frame, row by row; c = head_dim / 2."""
    shape = (*time.shape[:2], height.shape[2], width.shape[3])
    return torch.cat([part.expand(*shape, part.shape[-1]) for part in (time, height, width)], -1).flatten(1, 3)


def make_rotary(
    layout: FrameLayout,
    latent_size: tuple[int, int],
    head_dim: int,
    device: torch.device,
    shot_phase: float = SHOT_PHASE,
    diagonal: Sequence[int] = (0,),
) -> Rotary:
    """Make the rotary tables of latents of that height and width, in float32 on `device`."""
    grid = (latent_size[0] // PATCH[1], latent_size[1] // PATCH[2])
    return _tables(rotary_angles(layout.positions, layout.shots, grid, head_dim, shot_phase, diagonal), device)


def make_text_rotary(positions: Sequence[int], head_dim: int, device: torch.device) -> Rotary:
    """Return rotary tables over all channels of a head, for tokens of cross-attention at these positions."""
    angles = torch.tensor(positions, dtype=torch.float64)[:, None] * _frequencies(head_dim // 2)
    cos, sin = (send(of(angles).float(), device)[None, :, None] for of in (torch.cos, torch.sin))
    return Rotary(cos, sin)


def time_rotation(positions: int | Sequence[int], head_dim: int, device: torch.device, tokens: int = 1) -> Rotary:
    """Return the turn that moves rotated keys by that many temporal positions.

    One number is for keys wherever they are; several are for latents of so many tokens each. Rotations about the same
    axes add up, so turning a key is the same as having made it at its new position.
    """
    moves = [positions] if isinstance(positions, int) else list(positions)
    time, shot = torch.tensor([moves]), torch.zeros(1, len(moves), dtype=torch.long)
    turn = _tables(rotary_angles(time, shot, (1, 1), head_dim), device)
    return Rotary(turn.cos.repeat_interleave(tokens, 1), turn.sin.repeat_interleave(tokens, 1))


def rotate(x: Float[Tensor, "b n heads d"], rotary: Rotary) -> Float[Tensor, "b n heads d"]:
    """Rotate queries or keys by their angles; neighbouring channels form one complex number.

    A CPU multiplies complex numbers in one pass; a compiler fuses the real arithmetic, and knows no complex one.
    """
    pairs = x.float().unflatten(-1, (-1, 2))
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        turned = torch.view_as_complex(pairs) * torch.complex(rotary.cos, rotary.sin)
        return torch.view_as_real(turned).flatten(-2).to(x.dtype)
    real, imaginary = pairs.unbind(-1)
    parts = (real * rotary.cos - imaginary * rotary.sin, real * rotary.sin + imaginary * rotary.cos)
    return torch.stack(parts, -1).flatten(-2).to(x.dtype)


def _tables(axes: Axes, device: torch.device) -> Rotary:
    """Cosine and sine of each axis are computed on the host in float64, and joined for all tokens on the device."""
    cos, sin = (
        join_axes(*(send(of(axis).float(), device) for axis in axes))[:, :, None] for of in (torch.cos, torch.sin)
    )
    return Rotary(cos, sin)


def _frequencies(channels: int) -> Float[Tensor, "c"]:
    exponents = torch.arange(0, 2 * channels, 2, dtype=torch.float64) / (2 * channels)
    return BASE**-exponents
