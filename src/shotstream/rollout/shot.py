"""One shot, chunk by chunk, over the dual cache. The same code makes shots at inference and in self-forcing training.

A shot may be steered between two chunks, and may go on for longer than any shot in training: then the memory is a
rolling window, and where the layout's positions stand still what it holds moves back in time instead (`model.cache`).

Source: ShotStream section 3 (dual cache, clean commit), reference facts 3 and 6; LongLive (what is remembered is
committed again under a new caption, here block-causally as it was committed first; frame sink).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.clock import Clock, no_clock
from shotstream.core.spec import CHUNK_LATENTS
from shotstream.core.types import FrameLayout
from shotstream.model.attention import Group, recommit_plan
from shotstream.model.cache import KVCache
from shotstream.model.graphs import RecordedForward
from shotstream.model.injection import carry_context, latents_in_front
from shotstream.model.rotary import time_turn
from shotstream.model.schedule import TRAIN_TIMESTEPS
from shotstream.model.transformer import Placement, TextKeys, Transformer
from shotstream.rollout.denoise import Sampler
from shotstream.story.layout import ShotLayout

ChunkNoise = Callable[[int, int], Float[Tensor, "b f c h w"]]
"""The noise of (chunk, step) of the shot being made."""


@dataclass(frozen=True)
class ShotInputs:
    """What a shot is made from.

    `text` holds the captions in the order of `layout.context_captions`, the new shot's last. With guidance, `negative`
    is the embedding that the unguided branch sees in place of every caption.
    """

    context: Float[Tensor, "b f c h w"]
    text: Float[Tensor, "b s l e"]
    layout: ShotLayout
    negative: Float[Tensor, "b 1 l e"] | None = None


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
        clock: Clock = no_clock,
        stop: int | None = None,
        forward: RecordedForward | None = None,
    ) -> None:
        """Fills the context part of `cache` with one clean forward, where the network takes the context as latents.

        Args:
            transformer: makes the shot.
            cache: must be empty and belong to this shot. Once it is full its oldest latents give way.
            inputs: what the shot is made from.
            noise: of (chunk, step).
            sampler: how a chunk is denoised.
            clock: told what the time is spent on.
            stop: for self-forcing training: every chunk ends with this step's clean estimate, and only that forward
                records gradient. The memory never does.
            forward: makes the transformer's forwards over `cache` in its place; None: it does so itself.
        """
        self._run = forward or transformer
        self._transformer, self._cache, self._noise, self._sampler = transformer, cache, noise, sampler
        self._layout, self._clock, self._stop = inputs.layout.target, clock, stop
        self._context, self._injection = inputs.context, transformer.config.injection
        self._latent_size = (inputs.context.shape[-2], inputs.context.shape[-1])
        self._guided = sampler.guidance != 1
        self._embedded, self._negative = inputs.text, inputs.negative
        self._in_front = latents_in_front(self._injection, inputs.layout.context.latents)
        self._uncommitted: tuple[Tensor, Placement] | None = None
        self._window: list[Tensor] = []
        self._steered = False
        self._latents_made = 0
        with clock("prefill"):
            self._text = self._read_text()
            if self._in_front:
                self._remember(inputs.context, self._place(inputs.layout.context))

    @property
    def chunks_left(self) -> int:
        """Chunks that the layout still has room for."""
        return (self._layout.latents - self._latents_made) // CHUNK_LATENTS

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
        placement = self._place(self._layout[self._latents_made : self._latents_made + CHUNK_LATENTS])

        def predict(x: Tensor, sigma: float) -> Tensor:
            return self._velocity(x, sigma, placement)

        with self._clock("denoise"):
            latents = self._sampler.denoise(predict, lambda step: self._noise(chunk, step), self._stop)
        self._uncommitted = (latents, placement)
        self._keep(latents.detach())
        self._latents_made += CHUNK_LATENTS
        return latents

    def steer(self, text: Float[Tensor, "b 1 l e"]) -> None:
        """Gives the shot another caption from the next chunk on.

        What is remembered of the shot is committed again under it before that chunk, so that old keys and values do
        not hold the picture back. The context stays as it is.
        """
        self._embedded = torch.cat([self._embedded[:, :-1], text.to(self._embedded)], 1)
        self._text = self._read_text()
        self._steered = bool(self._window)

    def _catch_up(self) -> None:
        """Brings the memory up to the next chunk: commits the latest one, or after a steering all of them again."""
        if self._steered:
            self._commit_window()
        elif self._uncommitted is not None:
            self._remember(*self._uncommitted)
        self._steered, self._uncommitted = False, None
        positions = self._layout.positions[0]
        if positions[self._latents_made] == positions[self._latents_made - CHUNK_LATENTS]:
            device = self._context.device
            self._cache.turn_window(time_turn(-CHUNK_LATENTS, self._cache.shape.head_dim, device))

    def _commit_window(self) -> None:
        """One forward of all remembered chunks where they are now, each seeing those before it."""
        self._cache.reset(self._in_front)
        clean, sink = torch.cat(self._window, 1), self._cache.pinned - self._in_front
        positions = self._layout.positions[0]
        end = int(positions[self._latents_made - 1] - positions[0]) + 1
        layout = self._layout[:sink] + self._layout[end - clean.shape[1] + sink : end]
        plan = recommit_plan(self._in_front, clean.shape[1], CHUNK_LATENTS)
        self._remember(clean, self._place(layout), plan)

    def _keep(self, clean: Tensor) -> None:
        """Remembers the latents of what the cache remembers, oldest first."""
        self._window.append(clean)
        if len(self._window) * CHUNK_LATENTS > self._cache.capacity - self._in_front:
            del self._window[(self._cache.pinned - self._in_front) // CHUNK_LATENTS]

    def _velocity(self, x: Tensor, sigma: float, placement: Placement) -> Tensor:
        velocity = self._forward(x, sigma, placement)
        if not self._guided:
            return velocity
        guided, unguided = velocity.chunk(2)
        return unguided + self._sampler.guidance * (guided - unguided)

    @torch.no_grad()
    def _remember(self, clean: Tensor, placement: Placement, plan: tuple[Group, ...] = ()) -> None:
        self._forward(clean.detach(), 0.0, placement, plan, commit=True)

    def _forward(
        self, x: Tensor, sigma: float, placement: Placement, plan: tuple[Group, ...] = (), *, commit: bool = False
    ) -> Tensor:
        x = carry_context(self._injection, self._context, x)
        x = torch.cat([x, x]) if self._guided else x
        timesteps = x.new_full(x.shape[:2], sigma * TRAIN_TIMESTEPS, dtype=torch.float32)
        staged = self._cache.stage(x.shape[1])
        velocity = self._run(x, timesteps, self._text, placement, staged, plan)
        if commit:
            self._cache.commit(staged)
        return velocity.to(x.dtype)

    def _read_text(self) -> TextKeys | Tensor:
        """The captions' keys, read once for the shot; while gradient is recorded, every forward reads them itself."""
        text = self._embedded
        if self._guided:
            assert self._negative is not None, "guidance needs a negative embedding"
            text = torch.cat([text, self._negative.expand_as(text)])
        return text if torch.is_grad_enabled() else self._transformer.read_text(text)

    def _place(self, layout: FrameLayout) -> Placement:
        return self._transformer.place(layout.expand(self._cache.shape.batch), self._latent_size)
