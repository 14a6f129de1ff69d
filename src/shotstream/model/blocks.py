"""The blocks of the transformer: self-attention, cross-attention and feed-forward, modulated by the noise level.

Parameters carry Wan's original names. Source: Wan2.1.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from shotstream.model.activation import TanhGELU
from shotstream.model.attention import Attend, LayerPlan, Plan, attend, attend_by_plan, pieces
from shotstream.model.config import TransformerConfig
from shotstream.model.frame_cache import StagedFrames
from shotstream.model.kv_cache import Staged
from shotstream.model.rotary import Rotary, rotate

TextKeys = list[tuple[Tensor, Tensor]]
"""Cross-attention keys and values of every layer: [b, s, l, heads, d] each, for s captions of l tokens."""


@dataclass(frozen=True)
class TokenPositions:
    """A layout made ready for latents of one size: rotary tables, and the caption of every latent.

    `caption` is the one all latents attend to, or None where they differ and `captions` says which: the first `alone`
    latents each have their own, all after them share the last one's. `shots` is every latent's row of the shot
    embedding, None for a network without one. With `reads` there is one sequence of text, and that is its
    cross-attention plan: queries in latents, keys in tokens. `text_rotary` turns the queries of cross-attention.
    `size` is (rows, columns) of the tokens of a latent.
    """

    rotary: Rotary
    caption: int | None
    captions: Int[Tensor, "b f"]
    alone: int
    shots: Int[Tensor, "b f"] | None
    size: tuple[int, int]
    reads: LayerPlan | None = None
    text_rotary: Rotary | None = None


class RMSNorm(nn.Module):
    """Root-mean-square norm over all heads' channels together, computed in float32; the result has the dtype of `x`."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        return F.rms_norm(x.float(), self.weight.shape, None, self.eps).to(x.dtype) * self.weight.to(x.dtype)


class Attention(nn.Module):
    """The projections that self- and cross-attention share: q, k, v, o, with RMS norms on q and k; and the kernel."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.attend: Attend = attend
        self.q, self.k, self.v, self.o = (nn.Linear(config.dim, config.dim) for _ in range(4))
        self.norm_q, self.norm_k = RMSNorm(config.dim, config.eps), RMSNorm(config.dim, config.eps)

    def queries(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... heads d"]:
        return self.norm_q(self.q(x)).unflatten(-1, (-1, self.head_dim))

    def keys_values(self, x: Float[Tensor, "... dim"]) -> tuple[Tensor, Tensor]:
        k, v = self.norm_k(self.k(x)), self.v(x)
        return k.unflatten(-1, (-1, self.head_dim)), v.unflatten(-1, (-1, self.head_dim))


class SelfAttention(Attention):
    """Attention among video tokens: to each other by a plan, or to a cache and each other."""

    def project(self, x: Float[Tensor, "b n dim"], rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        """Project tokens to rotated queries and keys, and values, [b, n, heads, d] each."""
        k, v = self.keys_values(x)
        return rotate(self.queries(x), rotary), rotate(k, rotary), v

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, layer: int, staged: Staged | StagedFrames | None, plan: Plan
    ) -> Float[Tensor, "b n dim"]:
        """Return the result of self-attention, before the output projection."""
        if staged is not None:
            k, v = staged.extend(layer, k, v)
        if not plan:
            return self.attend(q, k, v).flatten(2)
        return attend_by_plan(q, k, v, plan, q.shape[1] // plan[-1].queries.stop, self.attend).flatten(2)


class CrossAttention(Attention):
    """Attention of every latent's tokens to the one caption that the latent belongs to."""

    def forward(
        self, q: Float[Tensor, "b n heads d"], text: tuple[Tensor, Tensor], placement: TokenPositions, layer: int
    ) -> Float[Tensor, "b n dim"]:
        """Return the result of cross-attention, before the output projection."""
        k, v = text
        if placement.text_rotary is not None:
            q = rotate(q, placement.text_rotary)
        if placement.reads is not None and (plan := placement.reads(layer)):
            tokens = q.shape[1] // placement.captions.shape[1]
            return attend_by_plan(q, k[:, 0], v[:, 0], plan, tokens, self.attend, tokens_per_key=1).flatten(2)
        if placement.caption is not None:
            return self.attend(q, k[:, placement.caption], v[:, placement.caption]).flatten(2)
        (batch, latents), alone = placement.captions.shape, placement.alone
        rows = placement.captions + k.shape[1] * torch.arange(batch, device=k.device)[:, None]
        k, v = k.flatten(0, 1), v.flatten(0, 1)
        front = alone * (q.shape[1] // latents)
        own, shared = pieces(q, (slice(0, front), slice(front, None)))
        seen = []
        if alone:
            of = rows[:, :alone].flatten()
            own = own.unflatten(1, (alone, -1)).flatten(0, 1)
            out = self.attend(own, k.index_select(0, of), v.index_select(0, of))
            seen.append(out.unflatten(0, (batch, alone)).flatten(1, 2))
        seen.append(self.attend(shared, k.index_select(0, rows[:, -1]), v.index_select(0, rows[:, -1])))
        return torch.cat(seen, 1).flatten(2)


class FeedForward(nn.ModuleList):
    """The two linear maps of a block, with a convolution over each latent between them where the configuration asks."""

    def __init__(self, config: TransformerConfig) -> None:
        dim, hidden = config.dim, config.ffn_dim
        super().__init__([nn.Linear(dim, hidden), TanhGELU(), nn.Linear(hidden, dim)])
        self.conv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False) if config.ffn_conv else None

    def forward(self, x: Float[Tensor, "b n dim"], size: tuple[int, int]) -> Float[Tensor, "b n dim"]:
        hidden = self[0](x)
        if self.conv is not None:
            pictures = hidden.reshape(-1, *size, hidden.shape[-1]).permute(0, 3, 1, 2)
            hidden = hidden + self.conv(pictures).permute(0, 2, 3, 1).reshape(hidden.shape)
        return self[2](self[1](hidden))


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward, the first and last modulated by the timestep.

    What surrounds the two attentions stands in methods of their own (`PIECES`): functions of tensors alone, which know
    neither the layer nor the cache nor the captions, so that they can be compiled once for all of these.
    """

    PIECES = ("enter", "turn", "leave")

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim, eps = config.dim, config.eps
        self.norm1 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.self_attn = SelfAttention(config)
        self.norm3 = nn.LayerNorm(dim, eps)
        self.cross_attn = CrossAttention(config)
        self.norm2 = nn.LayerNorm(dim, eps, elementwise_affine=False)
        self.ffn = FeedForward(config)
        self.modulation = nn.Parameter(nn.init.normal_(torch.empty(1, 6, dim), std=dim**-0.5))

    def forward(
        self,
        x: Float[Tensor, "b n dim"],
        modulation: Float[Tensor, "b f 6 dim"],
        text: tuple[Tensor, Tensor] | Float[Tensor, "b s l dim"],
        placement: TokenPositions,
        layer: int,
        staged: Staged | StagedFrames | None,
        plan: Plan,
    ) -> Float[Tensor, "b n dim"]:
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.modulation + modulation).unbind(2)
        q, k, v = self.enter(x, shift1, scale1, placement.rotary)
        seen = self.self_attn(q, k, v, layer, staged, plan)
        x, q = self.turn(x, seen, gate1)
        if isinstance(text, Tensor):
            text = self.cross_attn.keys_values(text)
        read = self.cross_attn(q, text, placement, layer)
        return self.leave(x, read, shift2, scale2, gate2, placement.size)

    def enter(self, x: Tensor, shift: Tensor, scale: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        """Project tokens to the queries, keys and values of self-attention."""
        return self.self_attn.project(modulate(self.norm1(x), shift, scale).to(self.matrix_dtype), rotary)

    def turn(self, x: Tensor, seen: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        """Add the result of self-attention to the tokens, and project them to queries for cross-attention."""
        x = gated_add(x, self.self_attn.o(seen), gate)
        return x, self.cross_attn.queries(self.norm3(x).to(self.matrix_dtype))

    def leave(
        self, x: Tensor, read: Tensor, shift: Tensor, scale: Tensor, gate: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Add the result of cross-attention to the tokens, and apply the feed-forward network."""
        x = x + self.cross_attn.o(read)
        return gated_add(x, self.ffn(modulate(self.norm2(x), shift, scale).to(self.matrix_dtype), size), gate)

    @property
    def matrix_dtype(self) -> torch.dtype:
        """Return the dtype of the inputs of attention and feed-forward; tokens may be more precise between them."""
        return self.self_attn.norm_q.weight.dtype

    def project_text(self, embedded: Float[Tensor, "b s l dim"]) -> tuple[Tensor, Tensor]:
        """Project embedded captions to keys and values, [b, s, l, heads, d] each."""
        return self.cross_attn.keys_values(embedded)


class Head(nn.Module):
    """The last norm, modulated, and the projection to the values of a patch, channels last.

    With `copy_previous` each position of a patch has one more channel: the logit of the gate that copies the previous
    latent (`model.transformer.copy_previous`).
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        places = math.prod(config.patch_size)
        self.head = nn.Linear(config.dim, config.out_dim * places)
        self.copy = nn.Linear(config.dim, places) if config.copy_previous else None
        self.modulation = nn.Parameter(nn.init.normal_(torch.empty(1, 2, config.dim), std=config.dim**-0.5))

    def forward(self, x: Float[Tensor, "b n dim"], time: Float[Tensor, "b f dim"]) -> Float[Tensor, "b n out"]:
        shift, scale = (self.modulation + time[:, :, None]).unbind(2)
        x = modulate(self.norm(x), shift, scale)
        values = self.head(x)
        if self.copy is None:
            return values
        logits = self.copy(x)
        return torch.cat([values.unflatten(-1, (logits.shape[-1], -1)), logits[..., None]], -1).flatten(-2)


def modulate(
    x: Float[Tensor, "b n dim"], shift: Float[Tensor, "b f dim"], scale: Float[Tensor, "b f dim"]
) -> Float[Tensor, "b n dim"]:
    """Return x (1 + scale) + shift, with one shift and scale a latent."""
    x = x.unflatten(1, (shift.shape[1], -1))
    return (x * (1 + scale[:, :, None]) + shift[:, :, None]).flatten(1, 2)


def gated_add(
    x: Float[Tensor, "b n dim"], y: Float[Tensor, "b n dim"], gate: Float[Tensor, "b f dim"]
) -> Float[Tensor, "b n dim"]:
    """Return x + y gate, with one gate a latent."""
    return x + (y.unflatten(1, (gate.shape[1], -1)) * gate[:, :, None]).flatten(1, 2)
