"""Attention, and plans of which latents see which.

No mask is ever built. A plan is a list of groups: in a group, every token of some query latents sees every token of
some key latents. One group of everything is bidirectional attention; one group a chunk, each seeing a longer prefix,
is block-causal attention. With clean copies of the chunks in front, and each noisy one seeing itself and the clean ones
before it, it is teacher forcing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

MAX_SCORES = 2**27
"""Scores that `attend_by_products` may keep for the backward pass of one attention: 256 MB in bfloat16."""
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Computes attention from queries, keys and values, [b, n, heads, d] each: `attend`, or another kernel."""


@dataclass(frozen=True)
class Group:
    """Query latents and the key latents they see, as slices into the sequence of latents; those of keys are joined."""

    queries: slice
    keys: tuple[slice, ...]


Plan = tuple[Group, ...]
LayerPlan = Callable[[int], Plan]
"""Returns the plan of a layer; an empty plan lets everyone see everyone."""


def block_causal_plan(context_latents: int, chunk_latents: Sequence[int]) -> tuple[Group, ...]:
    """Return a plan in which the context sees itself, and each chunk the context, the chunks before it, and itself."""
    groups = [Group(slice(0, context_latents), (slice(0, context_latents),))] if context_latents else []
    start = context_latents
    for latents in chunk_latents:
        groups.append(Group(slice(start, start + latents), (slice(0, start + latents),)))
        start += latents
    return tuple(groups)


def teacher_forcing_plan(context_latents: int, chunks: int, chunk_latents: int, copies: int = 1) -> tuple[Group, ...]:
    """Return the plan of teacher forcing, for the context, all clean chunks but the last, then all noisy chunks.

    A noisy chunk sees the context, the clean chunks before it, and itself, as at inference over a cache. With several
    noisy copies of all chunks, one copy after another, none sees another.
    """
    clean = block_causal_plan(context_latents, [chunk_latents] * (chunks - 1))
    begin = context_latents + chunk_latents * (chunks - 1)
    noisy = []
    for place in range(copies * chunks):
        own = slice(begin + place * chunk_latents, begin + (place + 1) * chunk_latents)
        before = context_latents + place % chunks * chunk_latents
        noisy.append(Group(own, (slice(0, before), own) if before else (own,)))
    return (*clean, *noisy)


def recommit_plan(cached_latents: int, latents: int, chunk_latents: int) -> tuple[Group, ...]:
    """Return a plan for chunks behind a cache: each sees the cached latents, the chunks before it, and itself."""
    starts = range(0, latents, chunk_latents)
    return tuple(
        Group(slice(start, start + chunk_latents), (slice(0, cached_latents + start + chunk_latents),))
        for start in starts
    )


def attend(
    q: Float[Tensor, "b n heads d"], k: Float[Tensor, "b m heads d"], v: Float[Tensor, "b m heads d"]
) -> Float[Tensor, "b n heads d"]:
    """Compute softmax attention of all queries to all keys, scaled by 1 / sqrt(d)."""
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2)


def attend_by_products(
    q: Float[Tensor, "b n heads d"], k: Float[Tensor, "b m heads d"], v: Float[Tensor, "b m heads d"]
) -> Float[Tensor, "b n heads d"]:
    """Compute the same as `attend`, by two batched matrix products and a softmax.

    This is for training on a CPU, where the backward pass of torch's fused kernel is slow. All scores are kept for the
    backward pass; where they are more than `MAX_SCORES`, the fused kernel is used instead.
    """
    batch, queries, heads, dim = q.shape
    if batch * heads * queries * k.shape[1] > MAX_SCORES:
        return attend(q, k, v)
    rows, columns, values = (x.transpose(1, 2).flatten(0, 1) for x in (q * dim**-0.5, k, v))
    out = torch.bmm(torch.bmm(rows, columns.mT).softmax(-1), values)
    return out.unflatten(0, (batch, heads)).transpose(1, 2)


def attend_by_plan(
    q: Float[Tensor, "b n heads d"],
    k: Float[Tensor, "b m heads d"],
    v: Float[Tensor, "b m heads d"],
    plan: Sequence[Group],
    tokens_per_latent: int,
    kernel: Attend = attend,
    tokens_per_key: int | None = None,
) -> Float[Tensor, "b n heads d"]:
    """Attend group by group; the groups' queries must follow each other and cover the sequence.

    Keys may be more than queries: those of a cache come first. Each key of a plan stands for `tokens_per_key` tokens;
    None: as many as a latent has.
    """
    per_key = tokens_per_latent if tokens_per_key is None else tokens_per_key

    def tokens(part: slice, each: int) -> slice:
        return slice(part.start * each, part.stop * each)

    queries = [tokens(group.queries, tokens_per_latent) for group in plan]
    keys = [tokens(own, per_key) for group in plan for own in group.keys]

    def seen(x: Tensor) -> list[Tensor]:
        parts = iter(pieces(x, keys))
        own = [list(islice(parts, len(group.keys))) for group in plan]
        return [torch.cat(several, 1) if len(several) > 1 else several[0] for several in own]

    parts = zip(pieces(q, queries), seen(k), seen(v), strict=True)
    return torch.cat([kernel(*part) for part in parts], 1)


def pieces(x: Float[Tensor, "b n ..."], slices: Sequence[slice]) -> tuple[Float[Tensor, "b m ..."], ...]:
    """Return `x[:, s]` for every slice. Gradients are added up in one tensor; torch would make a whole one of each."""
    return _Pieces.apply(x, *slices)


class _Pieces(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *slices: slice) -> tuple[Tensor, ...]:
        ctx.shape, ctx.slices = x.shape, slices
        return tuple(x[:, own] for own in slices)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        total = gradients[0].new_zeros(ctx.shape)
        for own, gradient in zip(ctx.slices, gradients, strict=True):
            total[:, own] += gradient
        return total, *(None for _ in ctx.slices)
