"""ShotStream, and its teacher: every shot from a context of past frames, over a cache of its own or at once.

The context of a shot is chosen from the pixels of the shots before it, so the history is all the state there is between
shots. ShotStream makes chunk after chunk over the dual cache; the teacher makes the shot at once.

Source: ShotStream (arXiv 2603.25746).
"""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.rng import Noise
from shotstream.core.spec import CHUNK_LATENTS, MAX_CHUNKS
from shotstream.engine.bidirectional_rollout import WholeShotRollout
from shotstream.engine.causal_rollout import ChunkNoise, ShotRollout
from shotstream.engine.context_cache import ContextCache
from shotstream.engine.decoder import FrameDecoder
from shotstream.engine.maker import Rollout, StorySetup
from shotstream.engine.policy import PolicySpec
from shotstream.engine.sampler import Latents, Sampler
from shotstream.model.device import send
from shotstream.story.cast import CastMember
from shotstream.story.shot_spec import ShotSpec

WHOLE = "expected a model that makes a shot chunk by chunk, got one that makes it whole; direct it with a student"
SHOTSTREAM = PolicySpec(
    name="shotstream",
    summary="Chunk by chunk over a cache of the shot; past shots are six frames of context.",
    source="arXiv 2603.25746",
    weights="the embedded model, or KlingAIResearch/ShotStream",
    licence="embedded: as this package; published: no licence given",
    live=True,
    streams=True,
    steers=True,
    resumable=True,
    keys="rotated",
    capacity=27,
    sink=9,
    decode="shot",
    context=True,
)
TEACHER = PolicySpec(
    name="teacher",
    summary="A shot at once, every latent sees every other; past shots are six frames of context.",
    source="arXiv 2603.25746",
    weights="a teacher trained here, or the published one",
    licence="as its weights",
    live=True,
    resumable=True,
    longest_shot=MAX_CHUNKS,
    decode="shot",
    context=True,
)


class ContextMaker:
    """Base of both makers: the context of a shot, its captions and its noise."""

    def __init__(self, setup: StorySetup, *, whole: bool) -> None:
        """Make shots of a story; `whole`: each at once, so that there is no cache."""
        self._setup = setup
        self._context = ContextCache(setup, cached=not whole)

    @property
    def can_prepare(self) -> bool:
        """Whether the next context is known and not yet encoded."""
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
        index, shape = len(self._setup.history), (1, CHUNK_LATENTS, *context.shape[2:])
        return lambda chunk, step: send(noise(index, chunk, step, shape), context.device)


class ShotStreamMaker(ContextMaker):
    """Shots chunk by chunk over the dual cache."""

    def __init__(self, setup: StorySetup) -> None:
        super().__init__(setup, whole=False)

    def begin(self, spec: ShotSpec, cast: Sequence[CastMember], noise: Noise, sampler: Sampler) -> Rollout:
        """Begin the next shot; its context is encoded and in the cache afterwards."""
        (inputs, kv_cache), index = self._context.begin(spec, cast), len(self._setup.history)
        assert kv_cache is not None, "made with a cache"
        rollout = ShotRollout(
            self._setup.components.transformer,
            kv_cache,
            inputs,
            self._noise(noise, inputs.context),
            sampler,
            self._setup.clock,
            forward=self._context.recorded,
        )
        return CausalShot(rollout, lambda text: self._setup.read([self._setup.compose(index, text)]))


class TeacherMaker(ContextMaker):
    """Shots at once."""

    def __init__(self, setup: StorySetup) -> None:
        super().__init__(setup, whole=True)

    def begin(self, spec: ShotSpec, cast: Sequence[CastMember], noise: Noise, sampler: Sampler) -> Rollout:
        """Begin the next shot, which is made when its first chunk is asked for."""
        inputs, _ = self._context.begin(spec, cast)
        network, noise_of = self._setup.components.transformer, self._noise(noise, inputs.context)
        return WholeShot(WholeShotRollout(network, inputs, noise_of, sampler, self._setup.clock), spec.chunks)


class CausalShot:
    """A shot chunk by chunk, steered by captions."""

    revisable = True

    def __init__(self, rollout: ShotRollout, read: Callable[[str], Float[Tensor, "1 1 l e"]]) -> None:
        """Make a shot by `rollout`; `read` embeds another caption for it."""
        self._rollout, self._read = rollout, read
        self.drop = rollout.drop

    @property
    def chunks_left(self) -> int:
        """Return how many chunks are to come."""
        return self._rollout.chunks_left

    def __next__(self) -> Latents:
        return next(self._rollout)

    def steer(self, text: str) -> None:
        """Give the shot another caption; what it remembers of itself is committed again under it."""
        self._rollout.steer(self._read(text))

    def cut(self) -> None:
        """Do nothing: a shot may be left at any chunk."""


class WholeShot:
    """A shot that is made at once, and handed out in chunks."""

    revisable = False

    def __init__(self, rollout: WholeShotRollout, chunks: int) -> None:
        """Hand out that many chunks."""
        self._rollout, self.chunks_left = rollout, chunks

    def __next__(self) -> Latents:
        latents = next(self._rollout)
        self.chunks_left -= 1
        return latents

    def steer(self, text: str) -> None:  # noqa: ARG002
        """Refuse: all chunks are made together.

        Raises:
            InputError: always.
        """
        raise InputError(WHOLE)

    def drop(self, chunks: int) -> None:  # noqa: ARG002
        """Refuse, as `steer`.

        Raises:
            InputError: always.
        """
        raise InputError(WHOLE)

    def cut(self) -> None:
        """Do nothing: chunks that nobody asks for are not handed out."""
