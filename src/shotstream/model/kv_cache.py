"""The dual cache: keys and values of the context and of this shot's chunks, in one contiguous buffer.

Denoising stages its keys and values behind the committed ones, so that attention reads one slice without cloning or
concatenating anything; only a commit makes them part of the cache. The next stage overwrites what was not committed.

The buffer holds slots of one latent. The first slots are pinned: the context (the paper's global cache) and, with a
rolling window, a sink of first latents. The rest is the local cache, a ring whose oldest latents give way once it is
full. Attention does not mind the order of keys, because their positions were rotated into them when they were made.
Where a window rolls beyond the positions of training, its keys are turned back in time as it moves on
(`rotate_window`),
and new latents keep the last position: what counts is where a latent stands in the cache, not when it was made.
Source: StreamingLLM (positions within the cache), Infinity-RoPE (the newest block at the last position that training
has seen, those before it rotated backward, the sink where it was).

In self-forcing training the cache itself records no gradient: it is written by clean passes that do not. What the
published training does is kept as `straight_through`: a later chunk sees an earlier one's clean keys and values, but
its gradient goes to those of the forward that made the earlier chunk, as if they were the same. A block may be computed
again in the backward pass (activation checkpointing), as long as the cache is left as it is until then and has no
rolling window: it then sees what it saw, and nothing of the chunks that were made since.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.spec import tokens_per_latent
from shotstream.model.config import TransformerConfig
from shotstream.model.rotary import Rotary, rotate


@dataclass(frozen=True)
class CacheShape:
    """Shape of a cache: the transformer's layers and heads, the batch, and the tokens of one latent."""

    layers: int
    batch: int
    tokens_per_latent: int
    heads: int
    head_dim: int

    @classmethod
    def of(cls, config: TransformerConfig, batch: int, latent_size: tuple[int, int]) -> "CacheShape":
        """Return the shape for a network and `batch` rows of latents of (height, width)."""
        return cls(config.num_layers, batch, tokens_per_latent(*latent_size), config.num_heads, config.head_dim)

    def latent_bytes(self, dtype: torch.dtype) -> int:
        """Return the bytes of the keys and values of one latent, in all layers and rows."""
        return 2 * self.layers * self.batch * self.tokens_per_latent * self.heads * self.head_dim * dtype.itemsize


class CacheSize(NamedTuple):
    """Size of a cache: rows, height and width of a latent, and how many latents it holds and never evicts."""

    batch: int
    latent_size: tuple[int, int]
    capacity: int
    pinned: int


class KVCache:
    """Keys and values of one shot in all layers, of `capacity` latents at a time; `pinned` are never evicted."""

    def __init__(
        self,
        shape: CacheShape,
        capacity: int,
        pinned: int,
        dtype: torch.dtype,
        device: torch.device | str,
        *,
        straight_through: bool = True,
    ) -> None:
        """Allocate [layers, 2, batch, capacity * tokens, heads, head_dim] once; nothing later grows.

        `straight_through` matters only while gradient is recorded; without it no gradient reaches earlier chunks.

        Raises:
            InputError: nothing is left beyond the pinned latents.
        """
        if not 0 <= pinned < capacity:
            raise InputError(f"expected a cache larger than its {pinned} pinned latents, got a capacity of {capacity}")
        self.shape, self.capacity, self.pinned = shape, capacity, pinned
        self._buffer = torch.zeros(
            shape.layers,
            2,
            shape.batch,
            capacity * shape.tokens_per_latent,
            shape.heads,
            shape.head_dim,
            dtype=dtype,
            device=device,
        )
        self._latents_seen = 0
        self._straight_through = straight_through
        self._carriers: dict[tuple[int, int], dict[int, tuple[int, Tensor]]] = {}

    @property
    def latents(self) -> int:
        """Return the number of committed latents."""
        return min(self._latents_seen, self.capacity)

    def kept(self, latents: int) -> list[int]:
        """Return which of the first `latents` are left when all of them were committed, by number, oldest first."""
        ring = self.capacity - self.pinned
        return [*range(min(latents, self.pinned)), *range(max(self.pinned, latents - ring), latents)]

    def reset(self, keep: int = 0) -> None:
        """Forget everything but the first `keep` latents (the context, when a shot starts again)."""
        assert keep <= min(self._latents_seen, self.pinned)
        self._latents_seen = keep
        self._carriers.clear()

    def stage(self, latents: int) -> "Staged":
        """Return room for the keys and values of the next `latents`, which see all committed ones and each other.

        Raises:
            InputError: they do not fit, or would wrap around the end of a rolling window.
        """
        first = self._slot_of(self._latents_seen)
        if first + latents > self.capacity:
            raise InputError(
                f"the cache has room for {self.capacity - first} more latents in a row, got {latents}; "
                "make it larger, or roll the window in whole chunks"
            )
        visible = max(self.latents, first + latents)
        return Staged(self, self._latents_seen, first, latents, visible)

    def keep(self, frames: Sequence[int]) -> None:
        """Forget everything but these latents, which must be the first ones and pinned."""
        self.reset(len(frames))

    def see(
        self,
        frames: range,
        positions: Sequence[int],  # noqa: ARG002 (as `FrameCache.see`)
        keys: Sequence[tuple[int, int | None]] | None,
        *,
        write: bool = False,  # noqa: ARG002
    ) -> "Staged":
        """Stage latents that see all committed ones, where they were committed (`model.frame_cache.FrameCache`)."""
        assert keys is None, "a ring shows all of its latents as they were committed"
        return self.stage(len(frames))

    def commit(self, staged: "Staged") -> None:
        """Commit what was staged last."""
        assert staged.first == self._slot_of(self._latents_seen), "only the latest stage can be committed"
        self._latents_seen += staged.latents

    def rotate_window(self, turn: Rotary) -> None:
        """Rotate the keys of all but the pinned latents, layer by layer in place (`model.rotary.time_rotation`).

        In bfloat16 five turns, which are what a key lives through in a window of six chunks, double its rounding error
        (0.16% to 0.33%).
        """
        start = self.pinned * self.shape.tokens_per_latent
        for layer in self._buffer:
            layer[0, :, start:] = rotate(layer[0, :, start:], turn)

    def keys(self, layer: int) -> Float[Tensor, "b n heads d"]:
        """Return the committed keys of a layer, rotated."""
        return self._buffer[layer, 0, :, : self.latents * self.shape.tokens_per_latent]

    def values(self, layer: int) -> Float[Tensor, "b n heads d"]:
        """Return the committed values of a layer."""
        return self._buffer[layer, 1, :, : self.latents * self.shape.tokens_per_latent]

    def _slot_of(self, latent: int) -> int:
        if latent < self.capacity:
            return latent
        return self.pinned + (latent - self.pinned) % (self.capacity - self.pinned)


@dataclass(frozen=True)
class Staged:
    """Room for the keys and values of one forward, in slots `first` .. `first + latents`.

    `seen` is how many latents had been committed before, evicted ones included; the first `visible` slots are seen.
    """

    cache: KVCache
    seen: int
    first: int
    latents: int
    visible: int

    def extend(
        self, layer: int, k: Float[Tensor, "b n heads d"], v: Float[Tensor, "b n heads d"]
    ) -> tuple[Float[Tensor, "b m heads d"], Float[Tensor, "b m heads d"]]:
        """Return all keys and values that this forward sees in a layer: the committed ones, and the new ones.

        New ones that have gradient are joined to the committed ones instead of written into the buffer.
        """
        tokens = self.cache.shape.tokens_per_latent
        start, stop, end = self.first * tokens, (self.first + self.latents) * tokens, self.visible * tokens
        buffer = self.cache._buffer[layer]
        if k.requires_grad or v.requires_grad:
            return self._join(layer, 0, k, start, end), self._join(layer, 1, v, start, end)
        rows = len(k)  # of a guided shot's two branches, the first may go alone
        buffer[0, :rows, start:stop] = k
        buffer[1, :rows, start:stop] = v
        return buffer[0, :rows, :end], buffer[1, :rows, :end]

    def commit(self) -> None:
        """Commit what the forward wrote."""
        self.cache.commit(self)

    def _join(self, layer: int, which: int, new: Tensor, start: int, end: int) -> Tensor:
        """Return the buffer with `new` in its place, and with the gradient of what earlier forwards had in theirs.

        Where a block is computed again, forwards of later chunks have left theirs too; these are none of its business.
        """
        cache = self.cache
        carriers = cache._carriers.setdefault((layer, which), {})
        earlier = {place: made for place, (seen, made) in carriers.items() if seen < self.seen}
        pieces, at = [], 0
        for place, made in sorted({**earlier, start: new}.items()):
            now = cache._buffer[layer, which, :, place : place + made.shape[1]]
            pieces += [
                cache._buffer[layer, which, :, at:place],
                new if place == start else now + (made - made.detach()),
            ]
            at = place + made.shape[1]
        if cache._straight_through and self.seen == cache._latents_seen:
            carriers[start] = self.seen, new
        return torch.cat([*pieces, cache._buffer[layer, which, :, at:end]], 1)
