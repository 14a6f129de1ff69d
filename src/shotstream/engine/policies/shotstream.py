"""ShotStream: every shot chunk by chunk from a context of past frames, over a cache of its own.

The context of a shot is chosen from the pixels of the shots before it, so the history is all the state there is between
shots.

Source: ShotStream (arXiv 2603.25746).
"""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from shotstream.core.rng import Noise
from shotstream.engine.causal_rollout import ShotRollout
from shotstream.engine.maker import Rollout, StorySetup
from shotstream.engine.policies.context_maker import ContextMaker
from shotstream.engine.policy import PolicySpec
from shotstream.engine.sampler import Latents, Sampler
from shotstream.story.cast import CastMember
from shotstream.story.shot_spec import ShotSpec

SHOTSTREAM = PolicySpec(
    name="shotstream",
    summary="Chunk by chunk over a cache of the shot; past shots are six frames of context.",
    source="arXiv 2603.25746",
    weights="the embedded model, or KlingAIResearch/ShotStream",
    licence="embedded: as this package; published: no licence given",
    live=True,
    streams=True,
    steers=True,
    keys="rotated",
    decode="shot",
    context=True,
)


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
        """Give the shot another caption; its cached chunks are committed again under it."""
        self._rollout.steer(self._read(text))

    def cut(self) -> None:
        """Do nothing: a shot may be left at any chunk."""
