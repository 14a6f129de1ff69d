"""Run a transformer over the KV cache of one shot, in both branches where the sampler is guided."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.spec import CHUNK_LATENTS, CONTEXT_LATENTS, MAX_SHOT_LATENTS
from shotstream.core.types import FrameLayout
from shotstream.engine.sampler import Sampler
from shotstream.model.attention import Group
from shotstream.model.blocks import TextKeys, TokenPositions
from shotstream.model.config import TransformerConfig
from shotstream.model.context_injection import carry_context, carry_previous, latents_in_front
from shotstream.model.cuda_graphs import GraphedForward
from shotstream.model.kv_cache import CacheSize, KVCache, Staged
from shotstream.model.rotary import Rotary
from shotstream.model.transformer import Transformer
from shotstream.story.layout import ShotLayout

Captions = TextKeys | Tensor
"""Captions as forwards take them: keys and values of every layer, or embeddings in training."""


def shot_cache_size(
    config: TransformerConfig,
    sampler: Sampler,
    latent_size: tuple[int, int],
    *,
    latents: int = MAX_SHOT_LATENTS,
    sink: int = CHUNK_LATENTS,
    context_latents: int = CONTEXT_LATENTS,
    samples: int = 1,
) -> CacheSize:
    """Return the size of the KV cache of a shot.

    Args:
        config: of the transformer; one that carries the context in channels caches none of it.
        sampler: a guided one needs two rows for each sample.
        latent_size: height and width of a latent.
        latents: how many of the shot's own latents are cached at a time: as many as a shot has in training.
        sink: how many of the shot's first latents are never evicted.
        context_latents: latents of the context.
        samples: shots that are made together.
    """
    front = latents_in_front(config.injection, context_latents)
    return CacheSize(sampler.branches * samples, latent_size, front + latents, front + sink)


class CachedTransformer:
    """A transformer and the KV cache of one shot: velocities of noisy latents, commits of clean ones."""

    def __init__(
        self,
        transformer: Transformer,
        cache: KVCache,
        context: Float[Tensor, "b f c h w"],
        sampler: Sampler,
        negative: Float[Tensor, "b 1 l e"] | None = None,
        run: GraphedForward | None = None,
        *,
        training: bool = False,
    ) -> None:
        """Run forwards over `cache`, which has `sampler.branches` rows for each of `context`.

        Args:
            transformer: makes the forwards.
            cache: of the shot alone.
            context: latents of the context.
            sampler: says which noise levels are guided.
            negative: what the unguided branch attends to instead of every caption; needed by a guided sampler.
            run: makes the forwards in place of the transformer, for inference alone.
            training: every forward projects the captions itself, so that gradient reaches the projections.
        """
        assert run is None or not training, "a recorded forward has no gradient"
        self._transformer, self._run, self._cache = transformer, run or transformer, cache
        self._context, self._sampler, self._negative = context, sampler, negative
        self._injection, self._training = transformer.config.injection, training
        self.in_front = latents_in_front(self._injection, context.shape[1])

    def project(self, captions: Float[Tensor, "b s l e"]) -> Captions:
        """Project captions to keys and values once, for all later forwards; in training, return them as they are."""
        if self._sampler.branches == 2:
            assert self._negative is not None, "guidance needs a negative embedding"
            captions = torch.cat([captions, self._negative.expand_as(captions)])
        return captions if self._training else self._transformer.project_text(captions)

    def make_positions(self, layout: FrameLayout) -> TokenPositions:
        """Make the positions of latents, for every sample and guidance branch."""
        size = (self._context.shape[-2], self._context.shape[-1])
        return self._transformer.make_positions(layout.expand(self._cache.shape.batch), size)

    def velocity(
        self,
        x: Float[Tensor, "b f c h w"],
        sigma: float,
        captions: Captions,
        placement: TokenPositions,
        previous: Float[Tensor, "b f c h w"] | None = None,
    ) -> Float[Tensor, "b f c h w"]:
        """Return the velocity of noisy latents; at a guided level, unguided + guidance (guided - unguided).

        At the other levels of a guided sampler only the guided branch runs. `previous` is the latent before the chunk
        of each, None where nothing was before; networks that do not carry it (`TransformerConfig.previous`) pass over
        it.
        """
        guidance = self._sampler.guidance_at(sigma)
        if guidance is None:
            if self._sampler.branches == 2:
                captions, placement = self._guided_branch(captions, placement)
            return self._forward(x, sigma, captions, placement, branches=1, previous=previous)[0]
        both, _ = self._forward(x, sigma, captions, placement, branches=2, previous=previous)
        guided, unguided = both.chunk(2)
        return unguided + guidance * (guided - unguided)

    @torch.no_grad()
    def commit(
        self,
        clean: Float[Tensor, "b f c h w"],
        captions: Captions,
        placement: TokenPositions,
        plan: tuple[Group, ...] = (),
        previous: Float[Tensor, "b f c h w"] | None = None,
    ) -> None:
        """Commit clean latents to the cache; `previous` as in `velocity`."""
        branches = self._sampler.branches
        _, staged = self._forward(clean.detach(), 0.0, captions, placement, plan, branches=branches, previous=previous)
        self._cache.commit(staged)

    def commit_context(self, captions: Captions, layout: ShotLayout) -> None:
        """Fill the context part of an empty cache (the paper's global cache), where the context has one.

        Only a story's first shot, whose context has no frames, needs to be known before this.
        """
        if self.in_front:
            self.commit(self._context, captions, self.make_positions(layout.context))

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
        """Return the half of both that belongs to the branch which attends to the captions."""
        own = slice(len(self._context))
        rotary = Rotary(placement.rotary.cos[own], placement.rotary.sin[own])
        shots = None if placement.shots is None else placement.shots[own]
        read = captions[own] if isinstance(captions, Tensor) else [(k[own], v[own]) for k, v in captions]
        return read, replace(placement, rotary=rotary, captions=placement.captions[own], shots=shots)
