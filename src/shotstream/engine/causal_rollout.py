"""Make one shot chunk by chunk over the dual cache, at inference and in self-forcing training.

A shot may be steered between two chunks, may drop its latest chunks, and may be longer than any in training: then the
cache is a rolling window, and where positions no longer rise the cached keys move back in time (`model.kv_cache`).

Source: ShotStream section 3 (dual cache, clean commit), reference facts 3 and 6; LongLive (cached latents are committed
again under a new caption, here block-causally as they were committed first; frame sink).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.profiling import Clock, no_profiler
from shotstream.core.types import FrameLayout
from shotstream.engine.cached_transformer import CachedTransformer
from shotstream.engine.call import Call
from shotstream.engine.sampler import Sampler
from shotstream.model.attention import recommit_plan
from shotstream.model.kv_cache import KVCache
from shotstream.model.rotary import time_rotation
from shotstream.model.transformer import Transformer
from shotstream.runtime.cuda_graphs import GraphedForward
from shotstream.story.layout import ShotLayout

REVISABLE_CHUNKS = 4
"""How many of its latest chunks a shot can drop, however long it is."""

ChunkNoise = Callable[[int, int], Float[Tensor, "b f c h w"]]
"""Returns the noise of (chunk, step) of the shot being made."""


def mirrored(noise: ChunkNoise) -> ChunkNoise:
    """Return the first chunk's noise for every chunk, reversed in time for every second chunk."""
    return lambda chunk, step: noise(0, step).flip(1) if chunk % 2 else noise(0, step)


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
    """Makes one shot: `next(rollout)` denoises a chunk; its commit runs when the chunk after it is asked for.

    The clean forward of a chunk therefore runs after its delivery, and that of the last chunk never runs, because no
    later chunk would attend to it. A shot may be left at any chunk.
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
            cache: of this shot alone; empty, or filled by `CachedTransformer.commit_context`. Once it is full, its
                oldest latents are evicted.
            inputs: what the shot is made from.
            noise: of (chunk, step); with mirrored noise (`SamplerConfig.chunk_noise`) only that of chunk 0 is read.
            sampler: how a chunk is denoised; chunks after the first begin as `Sampler.later_start` says.
            clock: told what the time is spent on.
            stop: for self-forcing training: every chunk ends with this step's clean estimate, and only that forward
                records gradient. Commits never do. A chunk that begins at a later step ends with its first.
            forward: makes the transformer's forwards over `cache` in its place; None: it does so itself.
            training: gradient reaches the projections of captions, too.
        """
        self._cache, self._sampler = cache, sampler
        self._noise = mirrored(noise) if sampler.chunk_noise == "mirrored" else noise
        self._clock, self._stop = clock, stop
        self._layout, self._shape = inputs.layout, transformer.config.shot
        self._negative, size = inputs.negative, (inputs.context.shape[-2], inputs.context.shape[-1])
        self._engine = CachedTransformer(
            transformer, sampler, size, cache, context=inputs.context, run=forward, training=training
        )
        self._uncommitted: Call | None = None
        self._chunks: dict[int, MadeChunk] = {}
        self._steered = False
        self._made = 0
        with clock("prefill"):
            self._text = self._engine.project(inputs.own_text, inputs.negative)
            if not cache.latents:
                captions = self._engine.project(inputs.context_text, inputs.negative)  # all processes project it
                self._engine.commit_context(captions, inputs.layout.context)

    @property
    def chunks_left(self) -> int:
        """Return the number of chunks that the layout still has room for."""
        return self._layout.target.latents // self._shape.chunk_latents - self._made

    def __iter__(self) -> Iterator[Float[Tensor, "b f c h w"]]:
        return self

    def __next__(self) -> Float[Tensor, "b f c h w"]:
        """Return the next clean chunk of latents."""
        if not self.chunks_left:
            raise StopIteration
        if self._steered or self._uncommitted is not None:
            with self._clock("commit"):
                self._commit_made()
        chunk, each = self._made, self._shape.chunk_latents
        own = slice(chunk * each, (chunk + 1) * each)
        previous = self._chunks[chunk - 1].following() if chunk else None
        call = self._call(self._layout.target[own], previous=previous)

        def predict(x: Tensor, sigma: float) -> Tensor:
            return self._engine.velocity(call, x, sigma)

        with self._clock("denoise"):
            latents = self._sampler.denoise(predict, lambda step: self._noise(chunk, step), self._stop, previous)
        self._chunks[chunk] = MadeChunk(latents.detach(), previous)
        self._uncommitted = call
        self._made += 1
        needed = self._needed_chunks()
        self._chunks = {number: made for number, made in self._chunks.items() if number in needed}
        return latents

    def steer(self, text: Float[Tensor, "b 1 l e"]) -> None:
        """Give the shot another caption from the next chunk on.

        Cached chunks of the shot are committed again under it before that chunk, so that old keys and values do not
        hold the picture back. The context stays as it is.
        """
        self._text = self._engine.project(text, self._negative)
        self._steered = self._made > 0

    def drop(self, chunks: int) -> None:
        """Forget the latest chunks, as if they had not been made; the next one is made in the place of the first.

        Raises:
            InputError: the shot has not so many, or they are more than `REVISABLE_CHUNKS`, those counted that were
                dropped before and not made again.
        """
        left = self._made - chunks
        known = left >= 0 and self._chunks.keys() >= set(self._cached_chunks(left))
        if not 0 <= chunks <= REVISABLE_CHUNKS or not known:
            raise InputError(
                f"cannot drop {chunks} of {self._made} chunks; the latest {REVISABLE_CHUNKS} can be dropped"
            )
        if not chunks:
            return
        self._made = left
        self._steered, self._uncommitted = self._made > 0, None
        if not self._made:
            self._cache.reset(self._engine.in_front)

    def _commit_made(self) -> None:
        """Commit the latest chunk, or all cached ones again after a steering; move cached keys back where needed."""
        if self._steered:
            self._commit_window()
        elif self._uncommitted is not None:
            self._engine.commit(self._uncommitted, self._chunks[self._made - 1].latents)
        self._steered, self._uncommitted = False, None
        if self._made >= self._shape.max_chunks:  # positions no longer rise
            device = self._chunks[self._made - 1].latents.device
            back = time_rotation(-self._shape.chunk_latents, self._cache.shape.head_dim, device)
            self._cache.rotate_window(back)

    def _commit_window(self) -> None:
        """Commit all cached chunks by one forward, at the positions that they have now, each seeing those before it."""
        self._cache.reset(self._engine.in_front)
        chunks = [self._chunks[chunk] for chunk in self._cached_chunks(self._made)]
        clean = torch.cat([made.latents for made in chunks], 1)
        previous = torch.cat(
            [torch.zeros_like(one.latents) if one.previous is None else one.previous for one in chunks], 1
        )
        target, sink = self._layout.target, self._cache.pinned - self._engine.in_front
        positions = target.positions[0]
        end = int(positions[self._shape.latents_of_chunks(self._made) - 1] - positions[0]) + 1
        layout = target[:sink] + target[end - clean.shape[1] + sink : end]
        plan = recommit_plan(self._engine.in_front, clean.shape[1], self._shape.chunk_latents)
        self._engine.commit(self._call(layout, previous=previous, sees=lambda _: plan), clean)

    def _call(self, layout: FrameLayout, **more: Any) -> Call:
        return Call(range(layout.latents), layout, self._text, **more)

    def _cached_chunks(self, made: int) -> list[int]:
        """Return which of the first `made` chunks the cache keeps, oldest first."""
        front, each = self._engine.in_front, self._shape.chunk_latents
        kept = self._cache.kept(front + made * each)[front::each]
        return [(latent - front) // each for latent in kept]

    def _needed_chunks(self) -> set[int]:
        """Return the chunks whose latents are needed: those cached now, and when the latest ones are dropped."""
        possible = range(max(0, self._made - REVISABLE_CHUNKS), self._made + 1)
        return {chunk for made in possible for chunk in self._cached_chunks(made)}
