"""The encoder of UMT5 (arXiv 2304.09151): one vector for each token. Modules have the names of Wan's T5 weights."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shotstream.model.config import TextEncoderConfig

MAX_DISTANCE_TOKENS = 128
"""Tokens further apart than this share one position bias for each direction."""


class RelativePositionBias(nn.Module):
    """Learned bias of attention scores, for each head and each bucket of distances between query and key."""

    def __init__(self, buckets: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(buckets, heads)

    def forward(self, length: int) -> Float[Tensor, "h l l"]:
        """Return the bias of every key (last axis) for every query."""
        positions = torch.arange(length, device=self.embedding.weight.device)
        buckets = distance_buckets(positions[None, :] - positions[:, None], self.embedding.num_embeddings)
        return self.embedding(buckets).permute(2, 0, 1)


def distance_buckets(distance: Int[Tensor, "q k"], buckets: int) -> Int[Tensor, "q k"]:
    """Number the buckets of signed distances in tokens: one half of them for keys that come after the query.

    In each half, the first half are single distances, the rest grow logarithmically up to `MAX_DISTANCE_TOKENS`.
    """
    half = buckets // 2
    single = half // 2
    size = distance.abs()
    octaves = torch.log(size.clamp(min=1) / single) / math.log(MAX_DISTANCE_TOKENS / single)
    wide = (single + (octaves * (half - single)).long()).clamp(max=half - 1)
    return torch.where(size < single, size, wide) + (distance > 0) * half


class Umt5Attention(nn.Module):
    """Multi-head self-attention whose scores are not scaled."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        inner = config.attention_dim // config.num_heads * config.num_heads
        self.q, self.k, self.v = (nn.Linear(config.dim, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, config.dim, bias=False)

    def forward(self, x: Float[Tensor, "s l d"], bias: Float[Tensor, "s h l l"]) -> Float[Tensor, "s l d"]:
        """Attend, with `bias` added to the scores."""
        q, k, v = (layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        return self.o(F.scaled_dot_product_attention(q, k, v, bias, scale=1.0).transpose(1, 2).flatten(2))


class GatedFeedForward(nn.Module):
    """Feed-forward layer with a GELU gate."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(config.dim, config.ffn_dim, bias=False), nn.GELU("tanh"))
        self.fc1 = nn.Linear(config.dim, config.ffn_dim, bias=False)
        self.fc2 = nn.Linear(config.ffn_dim, config.dim, bias=False)

    def forward(self, x: Float[Tensor, "s l d"]) -> Float[Tensor, "s l d"]:
        """Apply the layer to every token."""
        return self.fc2(self.gate(x) * self.fc1(x))


class Umt5Block(nn.Module):
    """Attention with its own position bias, then feed-forward, each on normed input beside a residual."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(config.dim, eps=1e-6)
        self.attn = Umt5Attention(config)
        self.pos_embedding = RelativePositionBias(config.num_buckets, config.num_heads)
        self.norm2 = nn.RMSNorm(config.dim, eps=1e-6)
        self.ffn = GatedFeedForward(config)

    def forward(self, x: Float[Tensor, "s l d"], padding: Bool[Tensor, "s l"]) -> Float[Tensor, "s l d"]:
        """Apply the block. Keys where `padding` is true are not attended to."""
        bias = self.pos_embedding(x.shape[1]).masked_fill(padding[:, None, None], torch.finfo(x.dtype).min)
        x = x + self.attn(self.norm1(x), bias)
        return x + self.ffn(self.norm2(x))


class Umt5Encoder(nn.Module):
    """Embed tokens, apply the blocks, norm."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.dim)
        self.blocks = nn.ModuleList(Umt5Block(config) for _ in range(config.num_layers))
        self.norm = nn.RMSNorm(config.dim, eps=1e-6)
        self.blocks.apply(_draw_weights)

    def forward(self, ids: Int[Tensor, "s l"], mask: Int[Tensor, "s l"]) -> Float[Tensor, "s l d"]:
        """Embed token ids. Tokens where `mask` is 0 are not attended to."""
        x = self.token_embedding(ids)
        for block in self.blocks:
            x = block(x, mask == 0)
        return self.norm(x)


def _draw_weights(layer: nn.Module) -> None:
    """Draw initial weights that keep the variance; queries have smaller ones, because scores are not scaled."""
    if isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    elif isinstance(layer, Umt5Attention):
        with torch.no_grad():
            layer.q.weight.mul_((layer.q.out_features // layer.num_heads) ** -0.5)
    elif isinstance(layer, RelativePositionBias):
        nn.init.normal_(layer.embedding.weight, std=0.1)
