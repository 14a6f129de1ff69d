"""Convolutions of the VAE on CUDA, with the norm before and the sum after them, in Triton.

A convolution here is two kernels. The first *stages* its input: history and present frames side by side, normed and
activated, with a border of zeros, as rows of channels `[(t + f) (h + 2) (w + 2), c]`. In that layout every tap is the
same matrix of rows, some rows further on, so that the second kernel is a matrix product whose inner axis runs over taps
and channels, without a test for the border; it adds the bias and what the result is added to. Products are in the
dtype of the weights with sums in float32, and each value of the result is summed in the same order however many frames
come in a call. Enlarging is the same product with two taps a side, for each of four places in a doubled pixel.

Filters are read as they lie in channels-last memory, where each is one row of taps and channels.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

EPS = 1e-24


@dataclass(frozen=True)
class Tile:
    """Tile of one Triton program: `rows` pixels by `columns` channels, `depth` products at once."""

    rows: int
    columns: int
    depth: int = 64
    warps: int = 8
    stages: int = 4


TILES = {96: Tile(256, 128), 192: Tile(128, 256, stages=3), 384: Tile(256, 128)}
"""Tiles by number of output channels; the fastest of those tried on an H100."""
SMALLEST = Tile(128, 16, warps=4)
WIDER = Tile(128, 128)


def tile_of(channels: int) -> Tile:
    """Return the tile for a number of output channels."""
    return TILES.get(channels, SMALLEST if channels <= SMALLEST.columns else WIDER)


def stage(
    x: Float[Tensor, "f h w c"], past: Float[Tensor, "t h w c"] | None, gamma: Float[Tensor, "c"] | None, border: int
) -> Float[Tensor, "t_f h_p w_p c"]:
    """Write past and present frames into a border of zeros; with `gamma`, the present after norm and SiLU."""
    frames, height, width, channels = x.shape
    before = 0 if past is None else len(past)
    shape = (before + frames, height + 2 * border, width + 2 * border, channels)
    staged = torch.empty(shape, dtype=x.dtype, device=x.device)
    rows, lanes = staged.numel() // channels, triton.next_power_of_2(channels)
    block = max(1, 4096 // lanes)
    _stage[(triton.cdiv(rows, block),)](
        x,
        x if past is None else past,
        x if gamma is None else gamma,
        staged,
        rows,
        before,
        height,
        width,
        channels,
        BORDER=border,
        NORM=gamma is not None,
        EPS=EPS,
        LANES=lanes,
        ROWS=block,
        num_warps=4,
    )
    return staged


def product(
    staged: Float[Tensor, "t_f h_p w_p c"],
    filters: Float[Tensor, "p k taps_c"],
    bias: Float[Tensor, "k"] | None,
    added: Float[Tensor, "f y x k"] | None,
    out: Float[Tensor, "f y x k"],
    taps: tuple[int, int, int],
    tile: Tile | None = None,
) -> Float[Tensor, "f y x k"]:
    """Fill `out` with the products of staged rows and filters, plus bias and `added`, and return it.

    There is one set of filters, or one for each of the four places in a doubled pixel.
    """
    sides = {1: 1, 4: 2}[len(filters)]
    channels_out = filters.shape[1]
    tile = tile or tile_of(channels_out)
    frames, height, width = out.shape[0], out.shape[1] // sides, out.shape[2] // sides
    pixels = frames * height * width
    _product[(triton.cdiv(pixels, tile.rows) * triton.cdiv(channels_out, tile.columns), len(filters))](
        staged,
        filters,
        filters if bias is None else bias,
        out if added is None else added,
        out,
        pixels,
        height,
        width,
        staged.shape[2],
        staged.shape[1] * staged.shape[2],
        CHANNELS=staged.shape[3],
        OUT=channels_out,
        TAPS_Y=taps[1],
        TAPS_X=taps[2],
        INNER=filters.shape[2],
        SIDES=sides,
        BIAS=bias is not None,
        ADD=added is not None,
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        DEPTH=tile.depth,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return out


@triton.jit
def _stage(  # type: ignore[no-untyped-def]
    x,
    past,
    gamma,
    staged,
    rows,
    before,
    height,
    width,
    channels,
    BORDER: tl.constexpr,
    NORM: tl.constexpr,
    EPS: tl.constexpr,
    LANES: tl.constexpr,
    ROWS: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    lane = tl.arange(0, LANES)
    across, down = width + 2 * BORDER, height + 2 * BORDER
    at_x, at_y, frame = row % across - BORDER, row // across % down - BORDER, row // (across * down)
    inside = (row < rows) & (at_x >= 0) & (at_x < width) & (at_y >= 0) & (at_y < height)
    pixel = at_y * width + at_x
    held = lane < channels
    new, old = inside & (frame >= before), inside & (frame < before)
    from_x = ((frame - before) * height * width + pixel).to(tl.int64)[:, None] * channels + lane[None, :]
    value = tl.load(x + from_x, mask=new[:, None] & held[None, :], other=0.0)
    if NORM:
        exact = value.to(tl.float32)
        scale = tl.rsqrt(tl.sum(exact * exact, 1) / channels + EPS)
        exact = exact * scale[:, None] * tl.load(gamma + lane, mask=held, other=0.0).to(tl.float32)[None, :]
        value = (exact * tl.sigmoid(exact)).to(value.dtype)
    from_past = (frame * height * width + pixel).to(tl.int64)[:, None] * channels + lane[None, :]
    value += tl.load(past + from_past, mask=old[:, None] & held[None, :], other=0.0)
    to = row.to(tl.int64)[:, None] * channels + lane[None, :]
    tl.store(staged + to, value, mask=(row < rows)[:, None] & held[None, :])


@triton.jit
def _product(  # type: ignore[no-untyped-def]
    staged,
    filters,
    bias,
    added,
    out,
    pixels,
    height,
    width,
    line,
    plane,
    CHANNELS: tl.constexpr,
    OUT: tl.constexpr,
    TAPS_Y: tl.constexpr,
    TAPS_X: tl.constexpr,
    INNER: tl.constexpr,
    SIDES: tl.constexpr,
    BIAS: tl.constexpr,
    ADD: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    whole: tl.constexpr = INNER % DEPTH == 0 and OUT % COLUMNS == 0
    parts: tl.constexpr = (OUT + COLUMNS - 1) // COLUMNS
    place = tl.program_id(1)
    odd_y, odd_x = place // SIDES, place % SIDES
    row = tl.program_id(0) // parts * ROWS + tl.arange(0, ROWS)
    pixel = tl.minimum(row, pixels - 1)
    at_x, at_y, frame = pixel % width, pixel // width % height, pixel // (width * height)
    start = frame * plane + (at_y + odd_y) * line + at_x + odd_x
    seen = staged + start[:, None] * CHANNELS
    column = tl.program_id(0) % parts * COLUMNS + tl.arange(0, COLUMNS)
    filters += place * OUT * INNER
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for at in range(0, INNER, DEPTH):
        inner = at + tl.arange(0, DEPTH)
        tap, channel = inner // CHANNELS, inner % CHANNELS
        tap_t, tap_y, tap_x = tap // (TAPS_X * TAPS_Y), tap // TAPS_X % TAPS_Y, tap % TAPS_X
        further = (tap_t * plane + tap_y * line + tap_x) * CHANNELS + channel
        if INNER % DEPTH:
            value = tl.load(seen + further[None, :], mask=(inner < INNER)[None, :], other=0.0)
        else:
            value = tl.load(seen + further[None, :])
        taps = filters + column[None, :] * INNER + inner[:, None]
        if whole:
            factor = tl.load(taps)
        else:
            factor = tl.load(taps, mask=(inner < INNER)[:, None] & (column < OUT)[None, :], other=0.0)
        total = tl.dot(value, factor, total, input_precision="ieee")
    to_y, to_x = at_y * SIDES + odd_y, at_x * SIDES + odd_x
    to = ((frame * height * SIDES + to_y) * width * SIDES + to_x)[:, None] * OUT
    mask = (row < pixels)[:, None] & (column < OUT)[None, :]
    if BIAS:
        total += tl.load(bias + column, mask=column < OUT, other=0.0).to(tl.float32)[None, :]
    if ADD:
        total += tl.load(added + to + column[None, :], mask=mask, other=0.0).to(tl.float32)
    tl.store(out + to + column[None, :], total.to(out.dtype.element_ty), mask=mask)
