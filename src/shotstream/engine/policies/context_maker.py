"""The base of makers whose shots see a context of past frames: the context, its captions and its noise."""

from torch import Tensor

from shotstream.core.rng import Noise
from shotstream.engine.causal_rollout import ChunkNoise
from shotstream.engine.context_cache import ContextCache
from shotstream.engine.decoder import FrameDecoder
from shotstream.engine.maker import StorySetup
from shotstream.model.device import send


class ContextMaker:
    """Base of ShotStream's and its teacher's maker."""

    def __init__(self, setup: StorySetup, *, whole: bool) -> None:
        """Make shots of a story; `whole`: each at once, so that there is no cache."""
        self._setup = setup
        self._context = ContextCache(setup, cached=not whole)

    @property
    def can_prepare(self) -> bool:
        """Return whether the next context is known and not yet encoded."""
        return self._context.can_prepare

    def prepare(self) -> None:
        """Encode the next context and fill the cache."""
        self._context.prepare()

    def drafts(self, text: str, *, making: bool) -> list[str]:
        """Return the caption as the next shot has it, as the one being made has it, and as a selector reads it."""
        made = len(self._setup.history)
        captions = [self._setup.compose(index, text) for index in ((made, made + 1) if making else (made,))]
        return [*captions, text] if self._context.by_caption else captions

    def decoder(self) -> FrameDecoder:
        """Return a new decoder: every shot begins anew."""
        return FrameDecoder(self._setup.components.codec, self._setup.clock)

    def close(self, *, unused: bool) -> None:
        """Free the cache."""
        self._context.close(unused=unused)

    def _noise(self, noise: Noise, context: Tensor) -> ChunkNoise:
        index, shape = len(self._setup.history), (1, self._setup.shape.chunk_latents, *context.shape[2:])
        return lambda chunk, step: send(noise(index, chunk, step, shape), context.device)
