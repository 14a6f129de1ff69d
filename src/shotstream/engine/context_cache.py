"""Encode the context of the next shot, and fill the context part of a story's KV cache."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.engine.cached_transformer import CachedTransformer, shot_cache_size
from shotstream.engine.causal_rollout import ShotInputs
from shotstream.engine.context import SelectedContext, caption_vector, select_context_frames
from shotstream.engine.maker import StorySetup
from shotstream.model.kv_cache import CacheSize, KVCache
from shotstream.runtime.cuda_graphs import GraphedForward
from shotstream.story.cast import CastMember
from shotstream.story.layout import ShotLayout, shot_layout
from shotstream.story.relevance import make_selector
from shotstream.story.selectors import SELECTORS
from shotstream.story.shot_spec import ShotSpec


@dataclass(frozen=True)
class EncodedContext:
    """Context of a shot: selected frames with captions, and their latents; zeros where there are no frames."""

    selected: SelectedContext
    latents: Float[Tensor, "1 f k y x"]


class ContextCache:
    """Encodes the context of a story's next shot, and holds the KV cache that all its shots use in turn.

    The cache is made once, so memory does not grow with the number of shots or their length. `by_caption` says whether
    a shot's own caption is encoded by itself, too, to choose its context.
    """

    def __init__(self, setup: StorySetup, *, cached: bool = True) -> None:
        """Begin without a cache; without `cached` there never is one, as for shots that are made at once."""
        self._setup, self._cached = setup, cached
        self._select = make_selector(setup.context, caption_vector(lambda captions: setup.read(captions)[0]))
        self.by_caption = setup.context not in SELECTORS
        known_before = not self.by_caption and setup.context != "none"  # without frames it attends to the new caption
        self._foreseeable = known_before and setup.components.config.captions == "per_shot" and cached
        self._cache: KVCache | None = None
        self.recorded: GraphedForward | None = None
        self._prepared: tuple[tuple[int, ...], tuple[CastMember, ...], EncodedContext] | None = None

    @property
    def can_prepare(self) -> bool:
        """Return whether the next shot has a context that does not depend on its caption and is not prepared."""
        cast = self._setup.history.cast
        return self._foreseeable and bool(len(self._setup.history) or cast) and self._prepared_for(cast) is None

    def prepare(self) -> None:
        """Encode the context of the next shot and fill the cache, which no shot may be using."""
        setup, cast = self._setup, self._setup.history.cast
        known = self._encode("", cast)
        text = setup.read(known.selected.different_captions)
        network, cache = setup.components.transformer, self._empty_cache()
        with setup.clock("prefill"):
            engine = CachedTransformer(
                network, setup.sampler, self._latent_size, cache, context=known.latents, run=self.recorded
            )
            captions = engine.project(text, setup.negative(text))
            engine.commit_context(captions, self._layout(known, 1).context)
        self._prepared = tuple(setup.history.branch), cast, known

    def begin(self, spec: ShotSpec, cast: Sequence[CastMember]) -> tuple[ShotInputs, KVCache | None]:
        """Return the inputs of the next shot, and the cache that it may use: empty, or filled by `prepare`."""
        history = self._setup.history
        known, self._prepared = self._prepared_for(cast), None
        if known is None:
            known = self._encode(spec.text, cast)
            if self._cached:
                self._empty_cache()
        layout = self._layout(known, spec.chunks)
        captions = known.selected.different_captions if layout.context_captions else []
        text = self._setup.read([*captions, self._setup.compose(len(history), spec.text)])
        return ShotInputs.of(known.latents, text, layout, self._setup.negative(text)), self._cache

    def close(self, *, unused: bool) -> None:
        """Free the cache; an unused one goes to the next story, with the CUDA graphs recorded over it."""
        graphs = self._setup.graphs
        if graphs is not None and self.recorded is not None and unused:
            graphs.give_back(self._cache_size, self.recorded)
        self._cache = self.recorded = self._prepared = None

    def _prepared_for(self, cast: Sequence[CastMember]) -> EncodedContext | None:
        if self._prepared is None or self._prepared[:2] != (tuple(self._setup.history.branch), tuple(cast)):
            return None
        return self._prepared[2]

    def _encode(self, text: str, cast: Sequence[CastMember]) -> EncodedContext:
        lost = self._setup.components.text_encoder.lost
        selected = select_context_frames(
            self._setup.history, self._select, text, cast, lost, self._setup.shape.context_latents
        )
        with self._setup.clock("context"):
            return EncodedContext(selected, self._latents(selected))

    def _latents(self, selected: SelectedContext) -> Float[Tensor, "1 f k y x"]:
        """Encode each context frame alone; return zeros where there are none."""
        codec, device = self._setup.components.codec, self._setup.components.transformer.patch_embedding.weight.device
        if not selected.shots:
            return torch.zeros(
                1, self._setup.shape.context_latents, codec.latent_channels, *self._latent_size, device=device
            )
        return codec.encode_frames(selected.pixels.to(device)).float()

    def _layout(self, known: EncodedContext, chunks: int) -> ShotLayout:
        """Make the layout of the next shot."""
        shots, described = known.selected.shots, known.selected.described
        shape, captions = self._setup.shape, self._setup.components.config.captions
        latents = shape.latents_of_chunks(chunks)
        return shot_layout(len(self._setup.history), shots, shape, latents, captions, described)

    def _empty_cache(self) -> KVCache:
        """Return the story's cache without anything in it."""
        self._prepared, graphs = None, self._setup.graphs
        if self._cache is None and graphs is not None:
            self.recorded = graphs.borrow(self._cache_size)
            self._cache = self.recorded.cache
        elif self._cache is None:
            self._cache = self._setup.components.transformer.new_cache(*self._cache_size)
        self._cache.reset()
        return self._cache

    @property
    def _cache_size(self) -> CacheSize:
        return shot_cache_size(self._setup.components.config.transformer, self._setup.sampler, self._latent_size)

    @property
    def _latent_size(self) -> tuple[int, int]:
        return self._setup.size.latent_height, self._setup.size.latent_width
