"""Encode the context of the next shot, and fill the context part of a story's KV cache."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.profiling import Clock, no_profiler
from shotstream.core.spec import CONTEXT_LATENTS, VideoSize, latents_of_chunks
from shotstream.engine.cached_transformer import CachedTransformer, shot_cache_size
from shotstream.engine.context import SelectedContext, caption_vector, select_context_frames
from shotstream.engine.sampler import Sampler
from shotstream.model.cuda_graphs import GraphedForward
from shotstream.model.kv_cache import CacheSize, KVCache
from shotstream.story.history import History
from shotstream.story.layout import ShotLayout, shot_layout
from shotstream.story.relevance import make_selector
from shotstream.story.selectors import SELECTORS
from shotstream.weights.build import ModelComponents

ReadCaptions = Callable[[Sequence[str]], Float[Tensor, "1 s l e"]]


@dataclass(frozen=True)
class EncodedContext:
    """Encoded context of a shot: frames with captions, and their latents; zeros where there are no frames."""

    recalled: SelectedContext
    latents: Float[Tensor, "1 f k y x"]

    @property
    def captions(self) -> list[str]:
        """Return the captions of the context where each frame has its own, in the order of the layout."""
        return self.recalled.different_captions


class ContextCache:
    """Encodes the context of a story's next shot, and holds the KV cache that all its shots use in turn.

    The cache is made once, so memory does not grow with the number of shots or their length. `by_caption` says whether
    a shot's own caption is encoded by itself, too, to choose its context.
    """

    def __init__(
        self,
        parts: ModelComponents,
        history: History,
        size: VideoSize,
        sampler: Sampler,
        context: str,
        read: ReadCaptions,
        clock: Clock = no_profiler,
        *,
        cached: bool = True,
    ) -> None:
        """Begin with an empty cache; `context` names which past frames become context (`story.selectors`).

        Without `cached` there is no cache, as for shots that are made at once.
        """
        self._parts, self._history, self._size = parts, history, size
        self._sampler, self._read, self._clock = sampler, read, clock
        self._select = make_selector(context, caption_vector(lambda captions: read(captions)[0]))
        self.by_caption = context not in SELECTORS
        known_before = not self.by_caption and context != "none"  # a context of nothing attends to the new caption
        own_captions = parts.config.captions == "per_shot"
        self._foreseeable = known_before and own_captions and cached
        self._cached = cached
        self._cache: KVCache | None = None
        self.recorded: GraphedForward | None = None
        self._prepared: tuple[tuple[int, ...], int, EncodedContext] | None = None

    @property
    def can_prepare(self) -> bool:
        """Whether the next shot has a context that does not depend on its caption and is not prepared."""
        cast = len(self._history.cast)
        return self._foreseeable and bool(len(self._history) or cast) and self._prepared_for(cast) is None

    def prepare(self) -> None:
        """Encode the context of the next shot and fill the cache, which no shot may be using."""
        cast = len(self._history.cast)
        known = self._encode("", cast)
        layout = self.layout(known, 1)
        text = self._read([known.captions[number] for number in layout.context_captions])
        negative, cache = torch.zeros_like(text[:, :1]), self._empty_cache()
        with self._clock("prefill"):
            forward = CachedTransformer(
                self._parts.transformer, cache, known.latents, self._sampler, negative, self.recorded
            )
            forward.commit_context(forward.read(text), layout)
        self._prepared = tuple(self._history.branch), cast, known

    def remember(self, text: str, cast: int) -> tuple[EncodedContext, KVCache | None]:
        """Return the encoded context of a shot with this caption and cast, and the cache that it may use.

        The cache is empty, or holds what was prepared; there is none for a model that makes shots at once.
        """
        prepared, self._prepared = self._prepared_for(cast), None
        if prepared is not None:
            return prepared, self._cache
        return self._encode(text, cast), self._empty_cache() if self._cached else None

    def layout(self, known: EncodedContext, chunks: int) -> ShotLayout:
        """Make the layout of the next shot."""
        latents, captions = latents_of_chunks(chunks), self._parts.config.captions
        shots, described = known.recalled.shots, known.recalled.described
        return shot_layout(len(self._history), shots, CONTEXT_LATENTS, latents, captions, described)

    def close(self, *, unused: bool) -> None:
        """Free the cache; an unused one goes to the next story, with the CUDA graphs recorded over it."""
        if self._parts.graphs is not None and self.recorded is not None and unused:
            self._parts.graphs.give_back(self._cache_size, self.recorded)
        self._cache = self.recorded = self._prepared = None

    def _prepared_for(self, cast: int) -> EncodedContext | None:
        if self._prepared is None or self._prepared[:2] != (tuple(self._history.branch), cast):
            return None
        return self._prepared[2]

    def _encode(self, text: str, cast: int) -> EncodedContext:
        recalled = select_context_frames(self._history, self._select, text, cast)
        with self._clock("context"):
            return EncodedContext(recalled, self._latents(recalled))

    def _latents(self, recalled: SelectedContext) -> Float[Tensor, "1 f k y x"]:
        """Encode each context frame alone; return zeros where there are none."""
        device = self._parts.transformer.patch_embedding.weight.device
        if not recalled.shots:
            size = (self._size.latent_height, self._size.latent_width)
            return torch.zeros(1, CONTEXT_LATENTS, self._parts.codec.latent_channels, *size, device=device)
        return self._parts.codec.encode_frames(recalled.pixels.to(device)).float()

    def _empty_cache(self) -> KVCache:
        """Return the story's cache without anything in it."""
        self._prepared = None
        if self._cache is None and self._parts.graphs is not None:
            self.recorded = self._parts.graphs.borrow(self._cache_size)
            self._cache = self.recorded.cache
        elif self._cache is None:
            self._cache = self._parts.transformer.new_cache(*self._cache_size)
        self._cache.reset()
        return self._cache

    @property
    def _cache_size(self) -> CacheSize:
        size = (self._size.latent_height, self._size.latent_width)
        return shot_cache_size(self._parts.config.transformer, self._sampler, size)
