"""Forwards over the memory of one shot, in both branches where its sampler is guided."""

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.types import FrameLayout
from shotstream.model.attention import Group
from shotstream.model.cache import KVCache, Staged
from shotstream.model.graphs import RecordedForward
from shotstream.model.injection import carry_context, latents_in_front
from shotstream.model.schedule import TRAIN_TIMESTEPS
from shotstream.model.transformer import Placement, TextKeys, Transformer
from shotstream.story.layout import ShotLayout

Captions = TextKeys | Tensor
"""Captions as forwards read them: keys and values, or embeddings while gradient is recorded."""


class CachedForward:
    """A transformer over the cache of one shot: what it remembers, and the velocity of what comes next."""

    def __init__(
        self,
        transformer: Transformer,
        cache: KVCache,
        context: Float[Tensor, "b f c h w"],
        guidance: float = 1.0,
        negative: Float[Tensor, "b 1 l e"] | None = None,
        run: RecordedForward | None = None,
    ) -> None:
        """Forwards over `cache`, whose batch is twice that of `context` where they are guided.

        Args:
            transformer: makes the forwards.
            cache: of the shot alone.
            context: latents of what the shot remembers.
            guidance: unguided + guidance (guided - unguided); 1 is none.
            negative: what the unguided branch reads in place of every caption.
            run: makes the forwards in place of the transformer.
        """
        self._transformer, self._run, self._cache = transformer, run or transformer, cache
        self._context, self._guidance, self._negative = context, guidance, negative
        self._injection, self._recording = transformer.config.injection, torch.is_grad_enabled()
        self.in_front = latents_in_front(self._injection, context.shape[1])

    def read(self, captions: Float[Tensor, "b s l e"]) -> Captions:
        """Keys of captions, for a whole shot; where gradient is recorded, every forward reads embeddings itself."""
        if self._guidance != 1:
            assert self._negative is not None, "guidance needs a negative embedding"
            captions = torch.cat([captions, self._negative.expand_as(captions)])
        return captions if self._recording else self._transformer.read_text(captions)

    def place(self, layout: FrameLayout) -> Placement:
        """Where latents sit, for every sample and branch."""
        size = (self._context.shape[-2], self._context.shape[-1])
        return self._transformer.place(layout.expand(self._cache.shape.batch), size)

    def velocity(
        self, x: Float[Tensor, "b f c h w"], sigma: float, captions: Captions, placement: Placement
    ) -> Float[Tensor, "b f c h w"]:
        """The velocity of noisy latents, guided where that is wanted."""
        velocity, _ = self._forward(x, sigma, captions, placement)
        if self._guidance == 1:
            return velocity
        guided, unguided = velocity.chunk(2)
        return unguided + self._guidance * (guided - unguided)

    @torch.no_grad()
    def remember(
        self,
        clean: Float[Tensor, "b f c h w"],
        captions: Captions,
        placement: Placement,
        plan: tuple[Group, ...] = (),
    ) -> None:
        """Commits clean latents to the cache."""
        _, staged = self._forward(clean.detach(), 0.0, captions, placement, plan)
        self._cache.commit(staged)

    def remember_context(self, captions: Captions, layout: ShotLayout) -> None:
        """Fills the context part of an empty cache (the paper's global cache), where the context has one.

        `captions` are those that the context attends to; but for a story's first shot, nothing need be known of the
        shot that is to come.
        """
        if self.in_front:
            self.remember(self._context, captions, self.place(layout.context))

    def _forward(
        self, x: Tensor, sigma: float, captions: Captions, placement: Placement, plan: tuple[Group, ...] = ()
    ) -> tuple[Tensor, Staged]:
        x = carry_context(self._injection, self._context, x)
        x = torch.cat([x, x]) if self._guidance != 1 else x
        timesteps = x.new_full(x.shape[:2], sigma * TRAIN_TIMESTEPS, dtype=torch.float32)
        staged = self._cache.stage(x.shape[1])
        return self._run(x, timesteps, captions, placement, staged, plan).to(x.dtype), staged
