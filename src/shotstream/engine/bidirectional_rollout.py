"""Make one shot at once, every latent seeing every other, as a teacher does."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.profiling import Clock, no_profiler
from shotstream.engine.causal_rollout import ShotInputs
from shotstream.engine.sampler import Predict, Sampler
from shotstream.model.transformer import Transformer
from shotstream.model.velocity import Conditions, predict_velocity


def bidirectional_velocity(transformer: Transformer, inputs: ShotInputs, sampler: Sampler) -> Predict:
    """Return what predicts the velocity of a whole shot's latents, guided as `sampler` says.

    Without `inputs.negative` the branch without guidance sees zeros.
    """
    context_timestep = sampler.context_timestep
    layout, text = inputs.layout.joined, inputs.text
    negative = torch.zeros_like(text) if inputs.negative is None else inputs.negative.expand_as(text)
    given, without = (
        Conditions.of(transformer, inputs.context, read, layout.expand(len(read))) for read in (text, negative)
    )

    def predict(x: Float[Tensor, "b f c h w"], sigma: float) -> Float[Tensor, "b f c h w"]:
        level = x.new_full((len(x),), sigma)
        velocity = predict_velocity(transformer, x, level, given, context_timestep).to(x.dtype)
        if (guidance := sampler.guidance_at(sigma)) is None:
            return velocity
        unguided = predict_velocity(transformer, x, level, without, context_timestep).to(x.dtype)
        return unguided + guidance * (velocity - unguided)

    return predict


WHOLE = "expected a model that makes a shot chunk by chunk, got one that makes it whole; direct it with a student"


class WholeShotRollout:
    """Makes one shot whole at the first `next`, and hands it out in chunks like `ShotRollout`."""

    revisable = False

    def __init__(
        self,
        transformer: Transformer,
        inputs: ShotInputs,
        noise: Callable[[int, int], Float[Tensor, "b f c h w"]],
        sampler: Sampler,
        clock: Clock = no_profiler,
    ) -> None:
        """Begin a shot of as many chunks as `inputs.layout` has places for; the rest is as in `ShotRollout`."""
        self._predict = bidirectional_velocity(transformer, inputs, sampler)
        self._each = transformer.config.shot.chunk_latents
        self._chunks = self.chunks_left = inputs.layout.target.latents // self._each
        self._noise, self._sampler = noise, sampler
        self._clock = clock
        self._made: Iterator[Tensor] | None = None

    def __iter__(self) -> Iterator[Float[Tensor, "b f c h w"]]:
        return self

    def __next__(self) -> Float[Tensor, "b f c h w"]:
        """Return the next clean chunk of latents."""
        if self._made is None:
            with self._clock("denoise"):
                self._made = iter(self._denoise().split(self._each, 1))
        latents = next(self._made)
        self.chunks_left -= 1
        return latents

    def steer(self, text: str) -> None:  # noqa: ARG002 (as `Rollout`)
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

    def _denoise(self) -> Float[Tensor, "b f c h w"]:
        def noise(step: int) -> Tensor:
            return torch.cat([self._noise(chunk, step) for chunk in range(self._chunks)], 1)

        return self._sampler.denoise(self._predict, noise)
