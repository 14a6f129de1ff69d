"""Forwards over the memory of one shot, in both branches where its sampler is guided."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.types import FrameLayout
from shotstream.model.attention import Group
from shotstream.model.blocks import TextKeys, TokenPositions
from shotstream.model.context_injection import carry_context, carry_previous, latents_in_front
from shotstream.model.cuda_graphs import GraphedForward
from shotstream.model.kv_cache import KVCache, Staged
from shotstream.model.rotary import Rotary
from shotstream.model.transformer import Transformer
from shotstream.story.layout import ShotLayout

Captions = TextKeys | Tensor
"""Captions as forwards read them: keys and values, or embeddings while gradient is recorded."""


class CachedTransformer:
    """A transformer over the cache of one shot: what it remembers, and the velocity of what comes next."""

    def __init__(
        self,
        transformer: Transformer,
        cache: KVCache,
        context: Float[Tensor, "b f c h w"],
        guidance: float = 1.0,
        negative: Float[Tensor, "b 1 l e"] | None = None,
        run: GraphedForward | None = None,
    ) -> None:
        """Forwards over `cache`, whose batch is twice that of `context` where they are guided.

        Args:
            transformer: makes the forwards.
            cache: of the shot alone.
            context: latents of what the shot remembers.
            guidance: of steps that are guided; 1 where none is, and then there is one branch.
            negative: what the unguided branch reads in place of every caption.
            run: makes the forwards in place of the transformer.
        """
        self._transformer, self._run, self._cache = transformer, run or transformer, cache
        self._context, self._branches, self._negative = context, 1 if guidance == 1 else 2, negative
        self._injection, self._recording = transformer.config.injection, torch.is_grad_enabled()
        self.in_front = latents_in_front(self._injection, context.shape[1])

    def read(self, captions: Float[Tensor, "b s l e"]) -> Captions:
        """Keys of captions, for a whole shot; where gradient is recorded, every forward reads embeddings itself."""
        if self._branches == 2:
            assert self._negative is not None, "guidance needs a negative embedding"
            captions = torch.cat([captions, self._negative.expand_as(captions)])
        return captions if self._recording else self._transformer.read_text(captions)

    def place(self, layout: FrameLayout) -> TokenPositions:
        """Make the positions of latents, for every sample and guidance branch."""
        size = (self._context.shape[-2], self._context.shape[-1])
        return self._transformer.place(layout.expand(self._cache.shape.batch), size)

    def velocity(
        self,
        x: Float[Tensor, "b f c h w"],
        sigma: float,
        captions: Captions,
        placement: TokenPositions,
        guidance: float = 1.0,
        previous: Float[Tensor, "b f c h w"] | None = None,
    ) -> Float[Tensor, "b f c h w"]:
        """The velocity of noisy latents: unguided + guidance (guided - unguided); 1 asks the guided branch alone.

        `previous` is the latent before the chunk of each, None where nothing was before; networks that do not carry it
        (`TransformerConfig.previous`) pass over it.
        """
        if guidance == 1 and self._branches == 2:
            captions, placement = self._guided_branch(captions, placement)
        branches = 1 if guidance == 1 else 2
        velocity, _ = self._forward(x, sigma, captions, placement, branches=branches, previous=previous)
        if guidance == 1:
            return velocity
        guided, unguided = velocity.chunk(2)
        return unguided + guidance * (guided - unguided)

    @torch.no_grad()
    def remember(
        self,
        clean: Float[Tensor, "b f c h w"],
        captions: Captions,
        placement: TokenPositions,
        plan: tuple[Group, ...] = (),
        previous: Float[Tensor, "b f c h w"] | None = None,
    ) -> None:
        """Commits clean latents to the cache; `previous` as in `velocity`."""
        _, staged = self._forward(
            clean.detach(), 0.0, captions, placement, plan, branches=self._branches, previous=previous
        )
        self._cache.commit(staged)

    def remember_context(self, captions: Captions, layout: ShotLayout) -> None:
        """Fills the context part of an empty cache (the paper's global cache), where the context has one.

        `captions` are those that the context attends to; but for a story's first shot, nothing need be known of the
        shot that is to come.
        """
        if self.in_front:
            self.remember(self._context, captions, self.place(layout.context))

    def _forward(
        self,
        x: Tensor,
        sigma: float,
        captions: Captions,
        placement: TokenPositions,
        plan: tuple[Group, ...] = (),
        *,
        branches: int,
        previous: Tensor | None,
    ) -> tuple[Tensor, Staged]:
        config, x = self._transformer.config, carry_context(self._injection, self._context, x)
        if config.previous:
            x = carry_previous(x, previous, config.in_dim)
        x = torch.cat([x] * branches)
        sigmas = x.new_full(x.shape[:2], sigma, dtype=torch.float32)
        staged = self._cache.stage(x.shape[1])
        return self._run(x, sigmas, captions, placement, staged, plan).to(x.dtype), staged

    def _guided_branch(self, captions: Captions, placement: TokenPositions) -> tuple[Captions, TokenPositions]:
        """The half of both that belongs to the branch which reads the captions."""
        own = slice(len(self._context))
        rotary = Rotary(placement.rotary.cos[own], placement.rotary.sin[own])
        shots = None if placement.shots is None else placement.shots[own]
        read = captions[own] if isinstance(captions, Tensor) else [(k[own], v[own]) for k, v in captions]
        return read, replace(placement, rotary=rotary, captions=placement.captions[own], shots=shots)
