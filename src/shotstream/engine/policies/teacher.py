"""ShotStream's teacher: a shot at once from a context of past frames, every latent sees every other.

Source: ShotStream (arXiv 2603.25746).
"""

from collections.abc import Sequence

from shotstream.core.errors import InputError
from shotstream.core.rng import Noise
from shotstream.core.spec import MAX_CHUNKS
from shotstream.engine.bidirectional_rollout import WholeShotRollout
from shotstream.engine.maker import Rollout, StorySetup
from shotstream.engine.policies.context_maker import ContextMaker
from shotstream.engine.policy import PolicySpec
from shotstream.engine.sampler import Latents, Sampler
from shotstream.story.cast import CastMember
from shotstream.story.shot_spec import ShotSpec

WHOLE = "expected a model that makes a shot chunk by chunk, got one that makes it whole; direct it with a student"
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


class TeacherMaker(ContextMaker):
    """Shots at once."""

    def __init__(self, setup: StorySetup) -> None:
        super().__init__(setup, whole=True)

    def begin(self, spec: ShotSpec, cast: Sequence[CastMember], noise: Noise, sampler: Sampler) -> Rollout:
        """Begin the next shot, which is made when its first chunk is asked for."""
        inputs, _ = self._context.begin(spec, cast)
        network, noise_of = self._setup.components.transformer, self._noise(noise, inputs.context)
        return WholeShot(WholeShotRollout(network, inputs, noise_of, sampler, self._setup.clock), spec.chunks)


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
