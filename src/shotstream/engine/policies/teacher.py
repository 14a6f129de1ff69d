"""ShotStream's teacher: a shot at once from a context of past frames, every latent sees every other.

Source: ShotStream (arXiv 2603.25746).
"""

from collections.abc import Sequence

from shotstream.core.rng import Noise
from shotstream.engine.bidirectional_rollout import WholeShotRollout
from shotstream.engine.maker import Rollout, StorySetup
from shotstream.engine.policies.context_maker import ContextMaker
from shotstream.engine.policy import PolicySpec
from shotstream.engine.sampler import Sampler
from shotstream.story.cast import CastMember
from shotstream.story.shot_spec import ShotSpec

TEACHER = PolicySpec(
    name="teacher",
    summary="A shot at once, every latent sees every other; past shots are six frames of context.",
    source="arXiv 2603.25746",
    weights="a teacher trained here, or the published one",
    licence="as its weights",
    live=True,
    extends=False,
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
        return WholeShotRollout(network, inputs, noise_of, sampler, self._setup.clock)
