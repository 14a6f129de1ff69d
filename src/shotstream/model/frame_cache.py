"""A KV cache of latents by their numbers in a video: every forward chooses which it sees, and at which positions.

Keys are held at the position at which they were committed. Where a forward wants a latent elsewhere, its keys are
turned by the difference when they are read, which is the same as holding them without a position: rotations add up. A
forward that denoises writes nothing; its own keys are put behind those that it sees.

Source: Infinity-RoPE (positions within the window, given when keys are read), Rolling Forcing (the first latents in
front of the window, wherever that is).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.model.kv_cache import CacheShape
from shotstream.model.rotary import Rotary, rotate, time_rotation


class Key(NamedTuple):
    """A latent in the cache as one forward sees it: its number in the video, and the position to see it at.

    `position` None: as it was committed.
    """

    frame: int
    position: int | None = None


class Slot(NamedTuple):
    """A latent's place in the buffer, and the temporal position of its keys."""

    place: int
    position: int


class FrameCache:
    """Keys and values of all layers for at most `capacity` latents of a video."""

    def __init__(self, shape: CacheShape, capacity: int, dtype: torch.dtype, device: torch.device | str) -> None:
        """Allocate `[layers, 2, batch, capacity, tokens, heads, head_dim]` once; nothing later grows."""
        self.shape, self.capacity = shape, capacity
        self._buffer = torch.zeros(
            shape.layers,
            2,
            shape.batch,
            capacity,
            shape.tokens_per_latent,
            shape.heads,
            shape.head_dim,
            dtype=dtype,
            device=device,
        )
        self._slots: dict[int, Slot] = {}

    def keep(self, frames: Sequence[int]) -> None:
        """Drop all latents but these."""
        kept = set(frames)
        self._slots = {frame: slot for frame, slot in self._slots.items() if frame in kept}

    def mean_keys(self, frames: Sequence[int]) -> Float[Tensor, "layers f heads d"]:
        """Return the mean over the tokens of each latent's keys as they are held, in float32, of the first row."""
        places = [self._slots[frame].place for frame in frames]
        return self._buffer[:, 0, 0, places].float().mean(2)

    def see(
        self, frames: range, positions: Sequence[int], keys: Sequence[Key] | None, *, write: bool = False
    ) -> "StagedFrames":
        """Return what a forward of these latents sees: held latents and itself.

        Args:
            frames: numbers of the latents.
            positions: their temporal positions.
            keys: held latents, and where they are seen; None: all, as they were committed.
            write: whether the forward is clean and will be committed.

        Raises:
            InputError: there is no room for as many latents.
        """
        seen = [Key(frame) for frame in self._slots if frame not in frames] if keys is None else list(keys)
        slots = [self._slots[key.frame] for key in seen]
        moves = [
            0 if key.position is None else key.position - slot.position for key, slot in zip(seen, slots, strict=True)
        ]
        turn = None
        if any(moves):
            turn = time_rotation(moves, self.shape.head_dim, self._buffer.device, self.shape.tokens_per_latent)
        own = self._room(frames, positions) if write else {}
        return StagedFrames(self, tuple(slot.place for slot in slots), turn, own)

    def _room(self, frames: range, positions: Sequence[int]) -> dict[int, Slot]:
        """Return a slot for each latent: its own where it is held already, else a free one."""
        used = {slot.place for slot in self._slots.values()}
        free = [index for index in range(self.capacity) if index not in used]
        new = [frame for frame in frames if frame not in self._slots]
        if len(new) > len(free):
            raise InputError(
                f"the cache has room for {len(free)} more latents, got {len(new)}; keep fewer or make it larger"
            )
        places = {**dict(zip(new, free, strict=False)), **{frame: slot.place for frame, slot in self._slots.items()}}
        return {frame: Slot(places[frame], position) for frame, position in zip(frames, positions, strict=True)}


@dataclass(frozen=True)
class StagedFrames:
    """A view of a `FrameCache` for one forward: its slots, the rotation of their keys, and the slots to write."""

    cache: FrameCache
    slots: tuple[int, ...]
    turn: Rotary | None
    own: dict[int, Slot]

    def extend(
        self, layer: int, k: Float[Tensor, "b n heads d"], v: Float[Tensor, "b n heads d"]
    ) -> tuple[Float[Tensor, "b m heads d"], Float[Tensor, "b m heads d"]]:
        """Return all keys and values that this forward sees in a layer: those of the cache, then its own."""
        keys, values = self.cache._buffer[layer, :, : len(k)]
        if self.own:
            places = [slot.place for slot in self.own.values()]
            keys[:, places] = k.unflatten(1, (len(places), -1))
            values[:, places] = v.unflatten(1, (len(places), -1))
        if not self.slots:
            return k, v
        past = keys[:, self.slots].flatten(1, 2)
        past = past if self.turn is None else rotate(past, self.turn)
        return torch.cat([past, k], 1), torch.cat([values[:, self.slots].flatten(1, 2), v], 1)

    def commit(self) -> None:
        """Hold from now on what the forward wrote."""
        self.cache._slots.update(self.own)
