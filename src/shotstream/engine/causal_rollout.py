"""One shot, chunk by chunk, over the dual cache. The same code makes shots at inference and in self-forcing training.

A shot may be steered between two chunks, and may go on for longer than any shot in training: then the memory is a
rolling window, and where the layout's positions stand still what it holds moves back in time instead
(`model.kv_cache`).

Source: ShotStream section 3 (dual cache, clean commit), reference facts 3 and 6; LongLive (what is remembered is
committed again under a new caption, here block-causally as it was committed first; frame sink).
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.profiling import Clock, no_profiler
from shotstream.core.spec import CHUNK_LATENTS
from shotstream.engine.cached_transformer import CachedTransformer
from shotstream.engine.sampler import Sampler
from shotstream.model.attention import recommit_plan
from shotstream.model.blocks import TokenPositions
from shotstream.model.cuda_graphs import GraphedForward
from shotstream.model.kv_cache import KVCache
from shotstream.model.rotary import time_rotation
from shotstream.model.transformer import Transformer
from shotstream.story.layout import ShotLayout

REVISABLE_CHUNKS = 4
"""How many of its latest chunks a shot can drop, however long it is."""

ChunkNoise = Callable[[int, int], Float[Tensor, "b f c h w"]]
"""The noise of (chunk, step) of the shot being made."""


@dataclass(frozen=True)
class ShotInputs:
    """Inputs of a shot.

    Attributes:
        context: latents of the context.
        context_text: embedded captions of the context, in the order of `layout.context_captions`; where these are
            none, the shot's own, to which the context attends then.
        own_text: the embedded caption of the shot.
        layout: of context and shot.
        negative: the embedding that the unguided branch attends to instead of every caption; None: there is none.
    """

    context: Float[Tensor, "b f c h w"]
    context_text: Float[Tensor, "b s l e"]
    own_text: Float[Tensor, "b 1 l e"]
    layout: ShotLayout
    negative: Float[Tensor, "b 1 l e"] | None = None

    @classmethod
    def of(
        cls,
        context: Float[Tensor, "b f c h w"],
        text: Float[Tensor, "b s l e"],
        layout: ShotLayout,
        negative: Float[Tensor, "b 1 l e"] | None = None,
    ) -> "ShotInputs":
        """Make inputs from captions in one sequence: those of `layout.context_captions`, then the shot's own."""
        own = len(layout.context_captions)
        return cls(context, text[:, : max(1, own)], text[:, own : own + 1], layout, negative)

    @property
    def text(self) -> Float[Tensor, "b s l e"]:
        """Return the captions in one sequence, which `layout.joined` indexes: the context's, then the shot's own."""
        return torch.cat([self.context_text, self.own_text], 1) if self.layout.context_captions else self.own_text


@dataclass(frozen=True)
class MadeChunk:
    """Clean latents of a chunk, and for each the last latent of the chunk before; None where there is none."""

    latents: Float[Tensor, "b f c h w"]
    previous: Float[Tensor, "b f c h w"] | None

    def following(self) -> Float[Tensor, "b f c h w"]:
        """Return the last latent of this chunk, for every latent of the chunk that follows."""
        return self.latents[:, -1:].expand_as(self.latents)


class ShotRollout:
    """Makes one shot: `next(rollout)` denoises a chunk; what it remembers is committed when the next one is asked for.

    The clean pass of a chunk therefore runs behind its delivery, and that of the last chunk never runs: nothing would
    read it. A shot may be left at any chunk.
    """

    def __init__(
        self,
        transformer: Transformer,
        cache: KVCache,
        inputs: ShotInputs,
        noise: ChunkNoise,
        sampler: Sampler,
        clock: Clock = no_profiler,
        stop: int | None = None,
        forward: GraphedForward | None = None,
        *,
        training: bool = False,
    ) -> None:
        """Fill the context part of `cache` with one clean forward, where it has one and is still empty.

        Args:
            transformer: makes the shot.
            cache: must belong to this shot, and be empty or hold its context (`CachedTransformer.remember_context`).
            Once
                it is full its oldest latents give way.
            inputs: what the shot is made from.
            noise: of (chunk, step).
            sampler: how a chunk is denoised.
            clock: told what the time is spent on.
            stop: for self-forcing training: every chunk ends with this step's clean estimate, and only that forward
                records gradient. The memory never does.
            forward: makes the transformer's forwards over `cache` in its place; None: it does so itself.
            training: gradient reaches the projections of captions, too.
        """
        self._cache, self._noise, self._sampler = cache, noise, sampler
        self._clock, self._stop = clock, stop
        self._layout = inputs.layout
        self._forward = CachedTransformer(
            transformer, cache, inputs.context, sampler, inputs.negative, forward, training=training
        )
        self._uncommitted: tuple[MadeChunk, TokenPositions] | None = None
        self._window: list[MadeChunk] = []
        self._evicted: deque[MadeChunk] = deque(maxlen=REVISABLE_CHUNKS)
        self._steered = False
        self._latents_made = 0
        with clock("prefill"):
            self._text = self._forward.read(inputs.own_text)
            if not cache.latents:
                captions = self._forward.read(inputs.context_text)  # apart, so that every process reads as often
                self._forward.remember_context(captions, inputs.layout)

    @property
    def chunks_left(self) -> int:
        """Chunks that the layout still has room for."""
        return (self._layout.target.latents - self._latents_made) // CHUNK_LATENTS

    def __iter__(self) -> Iterator[Float[Tensor, "b f c h w"]]:
        return self

    def __next__(self) -> Float[Tensor, "b f c h w"]:
        """The next clean chunk of latents."""
        if not self.chunks_left:
            raise StopIteration
        if self._steered or self._uncommitted is not None:
            with self._clock("commit"):
                self._catch_up()
        chunk = self._latents_made // CHUNK_LATENTS
        own = self._layout.target[self._latents_made : self._latents_made + CHUNK_LATENTS]
        placement = self._forward.place(own)

        previous = self._window[-1].following() if self._window else None

        def predict(x: Tensor, sigma: float) -> Tensor:
            return self._forward.velocity(x, sigma, self._text, placement, previous)

        with self._clock("denoise"):
            latents = self._sampler.denoise(predict, lambda step: self._noise(chunk, step), self._stop)
        made = MadeChunk(latents.detach(), previous)
        self._uncommitted = (made, placement)
        self._keep(made)
        self._latents_made += CHUNK_LATENTS
        return latents

    def steer(self, text: Float[Tensor, "b 1 l e"]) -> None:
        """Gives the shot another caption from the next chunk on.

        What is remembered of the shot is committed again under it before that chunk, so that old keys and values do
        not hold the picture back. The context stays as it is.
        """
        self._text = self._forward.read(text)
        self._steered = bool(self._window)

    def drop(self, chunks: int) -> None:
        """Forget the latest chunks, as if they had not been made; the next one is made in the place of the first.

        Raises:
            InputError: the shot has not so many, or they are more than `REVISABLE_CHUNKS`.
        """
        made = self._latents_made // CHUNK_LATENTS
        if not 0 <= chunks <= min(made, REVISABLE_CHUNKS):
            raise InputError(f"cannot drop {chunks} of {made} chunks; the latest {REVISABLE_CHUNKS} can be dropped")
        for _ in range(chunks):
            self._window.pop()
            if self._evicted:
                self._window.insert(self._sink_chunks, self._evicted.pop())
        self._latents_made -= chunks * CHUNK_LATENTS
        if chunks:
            self._steered, self._uncommitted = bool(self._window), None
            if not self._window:
                self._cache.reset(self._forward.in_front)

    @property
    def _sink_chunks(self) -> int:
        return (self._cache.pinned - self._forward.in_front) // CHUNK_LATENTS

    def _catch_up(self) -> None:
        """Brings the memory up to the next chunk: commits the latest one, or after a steering all of them again."""
        if self._steered:
            self._commit_window()
        elif self._uncommitted is not None:
            made, placement = self._uncommitted
            self._forward.remember(made.latents, self._text, placement, previous=made.previous)
        self._steered, self._uncommitted = False, None
        if self._layout.window_moves_before(self._latents_made):
            self._cache.rotate_window(
                time_rotation(-CHUNK_LATENTS, self._cache.shape.head_dim, self._window[-1].latents.device)
            )

    def _commit_window(self) -> None:
        """One forward of all remembered chunks where they are now, each seeing those before it."""
        self._cache.reset(self._forward.in_front)
        clean, sink = torch.cat([made.latents for made in self._window], 1), self._cache.pinned - self._forward.in_front
        target = self._layout.target
        positions = target.positions[0]
        end = int(positions[self._latents_made - 1] - positions[0]) + 1
        layout = target[:sink] + target[end - clean.shape[1] + sink : end]
        plan = recommit_plan(self._forward.in_front, clean.shape[1], CHUNK_LATENTS)
        before = [torch.zeros_like(made.latents) if made.previous is None else made.previous for made in self._window]
        self._forward.remember(clean, self._text, self._forward.place(layout), plan, torch.cat(before, 1))

    def _keep(self, made: MadeChunk) -> None:
        """Remembers the chunks that the cache remembers, oldest first."""
        self._window.append(made)
        if len(self._window) * CHUNK_LATENTS > self._cache.capacity - self._forward.in_front:
            self._evicted.append(self._window.pop(self._sink_chunks))
