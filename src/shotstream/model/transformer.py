"""The diffusion transformer: one network for teacher and student, in training and at inference.

What differs between them is handed in: the plan of attention or the memory, and the gradient. Parameters carry Wan's
original names. Source: Wan2.1 (the network), ShotStream section 3 (captions by shot, rotary phase, dual cache).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from shotstream.core.spec import tokens_per_latent
from shotstream.core.types import FrameLayout
from shotstream.model.activation import TanhGELU
from shotstream.model.attention import Attend, LayerPlan, Plan, attend, attend_by_plan, pieces
from shotstream.model.attention_kernels import TORCH, Kernel
from shotstream.model.config import EMBEDDED_SHOTS, TransformerConfig
from shotstream.model.device import send
from shotstream.model.kv_cache import CacheShape, KVCache, Staged
from shotstream.model.rotary import SHOT_PHASE, Rotary, make_rotary, rotate
from shotstream.model.schedule import TRAIN_TIMESTEPS, velocity_from_clean

SHOT_EMBEDDING_STD = 0.02
TextKeys = list[tuple[Tensor, Tensor]]
"""Cross-attention keys and values of every layer: [b, s, l, heads, d] each, for s captions of l tokens."""


@dataclass(frozen=True)
class TokenPositions:
    """A layout made ready for latents of one size: rotary tables, and the caption of every latent.

    `caption` is the one all latents attend to, or None where they differ and `captions` says which: the first `alone`
    latents each have their own, all after them share the last one's. `shots` is every latent's row of the shot
    embedding, None for a network without one. With `reads` there is one sequence of text, and that is its
    cross-attention plan: queries in latents, keys in tokens. `text_rotary` turns the queries of cross-attention.
    """

    rotary: Rotary
    caption: int | None
    captions: Int[Tensor, "b f"]
    alone: int
    shots: Int[Tensor, "b f"] | None
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
    """Attention among video tokens: to each other by a plan, or to a memory and each other."""

    def project(self, x: Float[Tensor, "b n dim"], rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, rotated, and values, [b, n, heads, d] each."""
        k, v = self.keys_values(x)
        return rotate(self.queries(x), rotary), rotate(k, rotary), v

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, layer: int, staged: Staged | None, plan: Plan
    ) -> Float[Tensor, "b n dim"]:
        """What the tokens see, before the output projection."""
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
        """What the tokens read, before the output projection."""
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


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward, the first and last modulated by the timestep.

    What surrounds the two attentions stands in methods of their own (`PIECES`): functions of tensors alone, which know
    neither the layer nor the memory nor the captions, so that they can be compiled once for all of these.
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
        self.ffn = nn.Sequential(nn.Linear(dim, config.ffn_dim), TanhGELU(), nn.Linear(config.ffn_dim, dim))
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / math.sqrt(dim))

    def forward(
        self,
        x: Float[Tensor, "b n dim"],
        modulation: Float[Tensor, "b f 6 dim"],
        text: tuple[Tensor, Tensor] | Float[Tensor, "b s l dim"],
        placement: TokenPositions,
        layer: int,
        staged: Staged | None,
        plan: Plan,
    ) -> Float[Tensor, "b n dim"]:
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.modulation + modulation).unbind(2)
        q, k, v = self.enter(x, shift1, scale1, placement.rotary)
        seen = self.self_attn(q, k, v, layer, staged, plan)
        x, q = self.turn(x, seen, gate1)
        if isinstance(text, Tensor):
            text = self.cross_attn.keys_values(text)
        read = self.cross_attn(q, text, placement, layer)
        return self.leave(x, read, shift2, scale2, gate2)

    def enter(self, x: Tensor, shift: Tensor, scale: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        """From tokens to the queries, keys and values of self-attention."""
        return self.self_attn.project(modulate(self.norm1(x), shift, scale).to(self.matrix_dtype), rotary)

    def turn(self, x: Tensor, seen: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        """From what self-attention saw to tokens, and to their queries of the captions."""
        x = gated_add(x, self.self_attn.o(seen), gate)
        return x, self.cross_attn.queries(self.norm3(x).to(self.matrix_dtype))

    def leave(self, x: Tensor, read: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        """From what was read in the captions to the tokens of the next block."""
        x = x + self.cross_attn.o(read)
        return gated_add(x, self.ffn(modulate(self.norm2(x), shift, scale).to(self.matrix_dtype)), gate)

    @property
    def matrix_dtype(self) -> torch.dtype:
        """The dtype of the inputs of attention and feed-forward; tokens may be more precise between them."""
        return self.self_attn.norm_q.weight.dtype

    def read_text(self, embedded: Float[Tensor, "b s l dim"]) -> tuple[Tensor, Tensor]:
        """Keys and values of embedded captions, [b, s, l, heads, d] each."""
        return self.cross_attn.keys_values(embedded)


class Head(nn.Module):
    """The last norm, modulated, and the projection to a patch of velocity."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim, config.eps, elementwise_affine=False)
        self.head = nn.Linear(config.dim, config.out_dim * math.prod(config.patch_size))
        self.modulation = nn.Parameter(torch.randn(1, 2, config.dim) / math.sqrt(config.dim))

    def forward(self, x: Float[Tensor, "b n dim"], time: Float[Tensor, "b f dim"]) -> Float[Tensor, "b n out"]:
        shift, scale = (self.modulation + time[:, :, None]).unbind(2)
        return self.head(modulate(self.norm(x), shift, scale))


class Transformer(nn.Module):
    """Velocity of noisy latents, given captions, a layout, and what is remembered."""

    def __init__(self, config: TransformerConfig, shot_phase: float = SHOT_PHASE) -> None:
        super().__init__()
        self.config, self.shot_phase = config, shot_phase if config.indicator == "phase" else 0.0
        dim = config.dim
        self.patch_embedding = nn.Conv3d(config.embedded_channels, dim, config.patch_size, stride=config.patch_size)
        self.text_embedding = nn.Sequential(nn.Linear(config.text_dim, dim), TanhGELU(), nn.Linear(dim, dim))
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head = Head(config)
        learned = config.indicator == "learned"
        self.shot_embedding = nn.Parameter(torch.randn(EMBEDDED_SHOTS, dim) * SHOT_EMBEDDING_STD) if learned else None
        self.use(TORCH)

    def use(self, kernel: Kernel) -> None:
        """Attends with another kernel from now on (`model.attention_kernels`)."""
        self.kernel = kernel
        for block in cast("Iterable[Block]", self.blocks):
            block.self_attn.attend = block.cross_attn.attend = kernel.attend

    def place(
        self, layout: FrameLayout, latent_size: tuple[int, int], diagonal: Sequence[int] = (0,)
    ) -> TokenPositions:
        """Everything that follows from where latents of (height, width) sit: made once a chunk, used at every step.

        `diagonal` is added to the row and column positions of each latent, or of all.
        """
        device = self.patch_embedding.weight.device
        rotary = make_rotary(layout, latent_size, self.config.head_dim, device, self.shot_phase, diagonal)
        first = int(layout.captions[0, 0])
        caption = first if bool((layout.captions == first).all()) else None
        shots = None if self.shot_embedding is None else send(layout.shots.clamp(max=EMBEDDED_SHOTS - 1), device)
        differing = (layout.captions != layout.captions[:, -1:]).any(0).nonzero()
        alone = int(differing.max()) + 1 if len(differing) else 0
        return TokenPositions(rotary, caption, send(layout.captions, device), alone, shots)

    def read_text(self, text: Float[Tensor, "b s l e"]) -> TextKeys:
        """Cross-attention keys and values of s captions, to be used for a whole shot."""
        embedded = self.text_embedding(text.to(self.patch_embedding.weight.dtype))
        return [cast(Block, block).read_text(embedded) for block in self.blocks]

    def new_cache(
        self,
        batch: int,
        latent_size: tuple[int, int],
        capacity: int,
        pinned: int,
        *,
        straight_through: bool = True,
        dtype: torch.dtype | None = None,
    ) -> KVCache:
        """An empty cache for this network and latents of (height, width); the rest is as in `KVCache`.

        `dtype` is that of the keys and values, None for that of the weights; another one is for forwards under
        autocast.
        """
        shape = CacheShape(
            len(self.blocks), batch, tokens_per_latent(*latent_size), self.config.num_heads, self.config.head_dim
        )
        weight = self.patch_embedding.weight
        dtype = dtype or weight.dtype
        return KVCache(shape, capacity, pinned, dtype, weight.device, straight_through=straight_through)

    def forward(
        self,
        latents: Float[Tensor, "b f k h w"],
        timesteps: Float[Tensor, "b f"],
        text: TextKeys | Float[Tensor, "b s l e"],
        placement: TokenPositions,
        staged: Staged | None = None,
        plan: Plan | LayerPlan = (),
    ) -> Float[Tensor, "b f c h w"]:
        """The velocity (noise - clean) of each latent.

        Args:
            latents: noisy or clean latents, all of which are queries, with the context's channels where they carry
                them (`model.context_injection`).
            timesteps: 1000 sigma of each latent.
            text: embeddings of s captions (zero rows are padding and are attended), or their keys from `read_text`.
            placement: from `place`, for exactly these latents.
            staged: room in a cache; the latents see what it remembers, and each other. None: no memory.
            plan: who sees whom, with a cache's latents before the new ones; empty means everyone sees everyone. A
                function gives the plan of a layer.
        """
        dtype = self.patch_embedding.weight.dtype
        x = self._indicate(self._patchify(latents.to(dtype)), placement)
        time = self.time_embedding(timestep_features(timesteps, self.config.freq_dim).to(self.head.modulation.dtype))
        modulation = self.time_projection(time).unflatten(-1, (6, -1))
        embedded = self.text_embedding(text.to(dtype)) if isinstance(text, Tensor) else None
        with self.kernel.scope():
            for layer, block in enumerate(self.blocks):
                captions = text[layer] if embedded is None else embedded
                seen = plan(layer) if callable(plan) else plan
                x = block(x, modulation, captions, placement, layer, staged, seen)
        predicted = self._unpatchify(self.head(x, time), latents.shape)
        if self.config.prediction == "velocity":
            return predicted
        own = latents[:, :, : self.config.in_dim]
        return velocity_from_clean(own, predicted.to(latents.dtype), timesteps / TRAIN_TIMESTEPS)

    def _indicate(self, x: Float[Tensor, "b n dim"], placement: TokenPositions) -> Float[Tensor, "b n dim"]:
        """Tokens with the embedding of their latent's shot, where the network has one."""
        if self.shot_embedding is None:
            return x
        assert placement.shots is not None, "a placement is used by the network that made it"
        embedded = self.shot_embedding[placement.shots][:, :, None]
        return (x.unflatten(1, (placement.shots.shape[1], -1)) + embedded).flatten(1, 2)

    def _patchify(self, latents: Float[Tensor, "b f k h w"]) -> Float[Tensor, "b n dim"]:
        b, f, k, h, w = latents.shape
        _, ph, pw = self.config.patch_size
        patches = latents.reshape(b, f, k, h // ph, ph, w // pw, pw).permute(0, 1, 3, 5, 2, 4, 6)
        weight, bias = self.patch_embedding.weight, self.patch_embedding.bias
        return F.linear(patches.reshape(b, -1, k * ph * pw), weight.flatten(1), bias)

    def _unpatchify(self, patches: Float[Tensor, "b n out"], shape: torch.Size) -> Float[Tensor, "b f c h w"]:
        b, f, _, h, w = shape
        _, ph, pw = self.config.patch_size
        grid = patches.reshape(b, f, h // ph, w // pw, ph, pw, -1).permute(0, 1, 6, 2, 4, 3, 5)
        return grid.reshape(b, f, -1, h, w)


def is_modulation(name: str) -> bool:
    """Whether a parameter of that name makes shifts, scales and gates of tokens, or reads their sums between layers.

    Where these alone are in float32, so are all sums of tokens and their norms: the precision that Wan was trained in.
    """
    return name.startswith(("time_", "head.")) or name.endswith(".modulation") or ".norm3." in name


def timestep_features(timesteps: Float[Tensor, "b f"], dim: int) -> Float[Tensor, "b f dim"]:
    """Sinusoidal features of timesteps, cosines first, frequencies falling from 1 to 1/10000; in float64 if it can."""
    half = dim // 2
    precise = torch.float32 if timesteps.device.type == "mps" else torch.float64
    exponents = torch.arange(half, dtype=precise, device=timesteps.device) / half
    angles = timesteps.to(precise)[..., None] * 10000.0**-exponents
    return torch.cat([angles.cos(), angles.sin()], -1).float()


def modulate(
    x: Float[Tensor, "b n dim"], shift: Float[Tensor, "b f dim"], scale: Float[Tensor, "b f dim"]
) -> Float[Tensor, "b n dim"]:
    """x (1 + scale) + shift, with one shift and scale a latent."""
    x = x.unflatten(1, (shift.shape[1], -1))
    return (x * (1 + scale[:, :, None]) + shift[:, :, None]).flatten(1, 2)


def gated_add(
    x: Float[Tensor, "b n dim"], y: Float[Tensor, "b n dim"], gate: Float[Tensor, "b f dim"]
) -> Float[Tensor, "b n dim"]:
    """x + y gate, with one gate a latent."""
    return x + (y.unflatten(1, (gate.shape[1], -1)) * gate[:, :, None]).flatten(1, 2)
