"""Run a transformer over a KV cache: velocities of noisy latents, commits of clean ones, with guidance or without."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.types import FrameLayout
from shotstream.engine.call import Call, Captions, Text, as_sigmas
from shotstream.engine.sampler import Latents, Sampler
from shotstream.model.blocks import TokenPositions
from shotstream.model.config import TransformerConfig
from shotstream.model.context_injection import carry_context, carry_previous, latents_in_front
from shotstream.model.device import send
from shotstream.model.frame_cache import FrameCache, StagedFrames
from shotstream.model.kv_cache import CacheSize, KVCache, Staged
from shotstream.model.rotary import make_text_rotary
from shotstream.model.transformer import Transformer
from shotstream.runtime.cuda_graphs import GraphedForward


def shot_cache_size(
    config: TransformerConfig,
    sampler: Sampler,
    latent_size: tuple[int, int],
    *,
    latents: int | None = None,
    sink: int | None = None,
    samples: int = 1,
) -> CacheSize:
    """Return the size of the KV cache of a shot.

    Args:
        config: of the transformer; one that carries the context in channels caches none of it.
        sampler: a guided one needs two rows for each sample.
        latent_size: height and width of a latent.
        latents: how many of the shot's own latents are cached at a time; None: as many as a shot has in training.
        sink: how many of the shot's first latents are never evicted; None: a chunk.
        samples: shots that are made together.
    """
    shape = config.shot
    front = latents_in_front(config.injection, shape.context_latents)
    capacity = front + (shape.max_latents if latents is None else latents)
    return CacheSize(
        sampler.branches * samples, latent_size, capacity, front + (shape.chunk_latents if sink is None else sink)
    )


class CachedTransformer:
    """A transformer, its KV cache and a sampler: velocities of noisy latents, commits of clean ones.

    With guidance the cache has two rows for each sample, the first of which attends to the captions.
    """

    def __init__(
        self,
        transformer: Transformer,
        sampler: Sampler,
        latent_size: tuple[int, int],
        kv_cache: KVCache | FrameCache | None = None,
        *,
        context: Latents | None = None,
        low_noise: tuple[Transformer, float] | None = None,
        run: GraphedForward | None = None,
        training: bool = False,
    ) -> None:
        """Run forwards over one cache.

        Args:
            transformer: makes the forwards.
            sampler: says which noise levels are guided.
            latent_size: height and width of latents.
            kv_cache: of these forwards alone; None: without a cache.
            context: latents of the context of a shot, which some networks carry in channels; None: there is none.
            low_noise: a second transformer, and the noise level below which it makes the forwards.
            run: makes the forwards in place of the transformer, for inference alone.
            training: every forward projects the captions itself, so that gradient reaches the projections.

        Raises:
            InputError: there are two transformers, and a cache, which holds the keys of one.
        """
        if low_noise is not None and kv_cache is not None:
            raise InputError(
                "expected a policy that makes all shots at once for a model of two transformers; choose one"
            )
        assert run is None or not training, "a recorded forward has no gradient"
        self._transformer, self._low_noise = transformer, low_noise
        self._config, self._run = transformer.config, run or transformer
        self._cache, self._context, self._size, self._training = kv_cache, context, latent_size, training
        self.sampler = sampler
        self._placed: tuple[Call | None, dict[tuple[int, bool], TokenPositions]] = (None, {})

    @property
    def layers(self) -> int:
        """Return how many layers the network has, for plans that hold for some of them."""
        return self._config.num_layers

    @property
    def chunk_latents(self) -> int:
        """Return how many latents a chunk of the network has."""
        return self._config.shot.chunk_latents

    @property
    def kv_cache(self) -> KVCache | FrameCache:
        """Return the cache, where there is one."""
        assert self._cache is not None, "what has no cache commits nothing"
        return self._cache

    @property
    def in_front(self) -> int:
        """Return how many context latents are in the cache, in front of the shot's own."""
        return 0 if self._context is None else latents_in_front(self._config.injection, self._context.shape[1])

    def project(self, captions: Float[Tensor, "b s l e"], negative: Float[Tensor, "b #s l e"] | None) -> Text:
        """Project embedded captions to keys and values, once for all later forwards; in training, leave them.

        `negative` is what the branch without guidance attends to; a guided sampler needs it.
        """
        assert negative is not None or self.sampler.branches == 1, "guidance needs a negative text"
        without = None if negative is None or self.sampler.branches == 1 else negative.expand_as(captions)
        return Text(self._captions(captions), None if without is None else self._captions(without))

    def velocity(self, call: Call, x: Latents, sigma: float | Float[Tensor, "f"]) -> Latents:
        """Return the velocity of noisy latents; `sigma` is one noise level or one a latent. The cache stays as it is.

        A guided sampler's result is unguided + guidance (guided - unguided), at the noise levels that it guides; at
        others only the guided branch runs.
        """
        sigmas = as_sigmas(sigma, len(call.frames))
        scales = [self.sampler.guidance_at(level) for level in sigmas.tolist()]
        if all(scale is None for scale in scales):
            return self._forward(call, x, sigmas, call.text.keys)
        guided, unguided = self._both(call, x, sigmas)
        scale = torch.tensor([1.0 if one is None else one for one in scales], dtype=x.dtype, device=x.device)
        return unguided + scale[:, None, None, None] * (guided - unguided)

    @torch.no_grad()
    def commit(self, call: Call, clean: Latents) -> None:
        """Write the keys and values of clean latents to the cache, by a forward at noise level 0."""
        staged = self._stage(call, write=True)
        text = call.text.keys if self.sampler.branches == 1 else call.text.both
        x = torch.cat([clean.detach()] * self.sampler.branches)
        self._predict(call, x, as_sigmas(0.0, clean.shape[1]), text, staged)
        staged.commit()

    def commit_context(self, captions: Text, layout: FrameLayout) -> None:
        """Fill the context part of an empty cache (the paper's global cache), where the network has it there.

        Only a story's first shot, whose context has no frames, needs to be known before this.
        """
        if self._context is not None and self.in_front:
            self.commit(Call(range(layout.latents), layout, captions), self._context)

    def _both(self, call: Call, x: Latents, sigmas: Tensor) -> tuple[Latents, Latents]:
        """Return the guided and the unguided velocity: one forward of two rows, or two where they read differently."""
        if not call.guided_reads_only:
            guided, unguided = self._forward(call, torch.cat([x, x]), sigmas, call.text.both).chunk(2)
            return guided, unguided
        assert self._cache is None, "branches go alone only without a cache"
        assert call.text.negative is not None, "guidance needs a negative prompt"
        unguided = self._forward(call, x, sigmas, call.text.negative, reads=False)
        return self._forward(call, x, sigmas, call.text.keys), unguided

    def _forward(self, call: Call, x: Tensor, sigmas: Tensor, text: Captions, *, reads: bool = True) -> Tensor:
        staged = None if self._cache is None else self._stage(call)
        return self._predict(call, x, sigmas, text, staged, reads=reads)

    def _stage(self, call: Call, *, write: bool = False) -> Staged | StagedFrames:
        return self.kv_cache.see(call.frames, call.layout.positions[0].tolist(), call.keys, write=write)

    def _predict(
        self,
        call: Call,
        x: Tensor,
        sigmas: Tensor,
        text: Captions,
        staged: Staged | StagedFrames | None,
        *,
        reads: bool = True,
    ) -> Tensor:
        context = x[:, :0] if self._context is None else self._context
        latents = carry_context(self._config, _rows(context, len(x)), x)
        if self._config.previous:
            previous = self._previous(call, x)
            latents = carry_previous(
                latents, None if previous is None else _rows(previous, len(x)), self._config.in_dim
            )
        levels = send(sigmas.float(), x.device).expand(len(x), -1)
        positions = self._place(call, len(x), reads)
        network, text = self._expert(float(sigmas.max()), text)
        return network(latents, levels, text, positions, staged, call.sees or ()).to(x.dtype)

    def _previous(self, call: Call, x: Latents) -> Latents | None:  # noqa: ARG002 (as `Engine`)
        """Return the last latent of the chunk before, for each latent of a call; None where nothing was before."""
        return call.previous

    def _expert(self, sigma: float, text: Captions) -> tuple[Callable[..., Tensor], Captions]:
        """Return what predicts at a noise level, and its part of the text."""
        if self._low_noise is None:
            return self._run, text
        low, boundary = self._low_noise
        return (low, text[self.layers :]) if sigma < boundary else (self._run, text[: self.layers])

    def _place(self, call: Call, batch: int, reads: bool) -> TokenPositions:
        """Return the token positions of a call, made once for all its forwards."""
        if self._placed[0] is not call:
            self._placed = (call, {})
        made = self._placed[1]
        if (batch, reads) not in made:
            positions = self._transformer.make_positions(call.layout.expand(batch), self._size, call.diagonal or (0,))
            rotary = None
            if call.text_positions is not None:
                tokens = positions.rotary.cos.shape[1] // len(call.text_positions)
                every = [position for position in call.text_positions for _ in range(tokens)]
                rotary = make_text_rotary(every, self._config.head_dim, positions.rotary.cos.device)
            made[batch, reads] = replace(positions, reads=call.reads if reads else None, text_rotary=rotary)
        return made[batch, reads]

    def _captions(self, embedded: Float[Tensor, "b s l e"]) -> Captions:
        if self._training:
            return embedded
        networks = [self._transformer, *([] if self._low_noise is None else [self._low_noise[0]])]
        return [pair for network in networks for pair in network.project_text(embedded)]


def _rows(latents: Float[Tensor, "samples f c h w"], batch: int) -> Float[Tensor, "rows f c h w"]:
    """Return latents of the samples for all rows of a batch, which has both branches or one."""
    return latents if len(latents) == batch else torch.cat([latents] * (batch // len(latents)))
