"""The interface between a story and its policy: every policy makes shots through a `Maker`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.profiling import Clock
from shotstream.core.rng import Noise
from shotstream.core.spec import ShotShape, VideoSize
from shotstream.engine.decoder import FrameDecoder
from shotstream.engine.sampler import Latents, Sampler
from shotstream.runtime.cuda_graphs import CudaGraphPool
from shotstream.story.caption_fit import fit_caption
from shotstream.story.cast import CastMember
from shotstream.story.history import History
from shotstream.story.script import Script
from shotstream.story.shot_spec import ShotSpec
from shotstream.weights.build import ModelComponents

ReadCaptions = Callable[[Sequence[str]], Float[Tensor, "1 s l e"]]
"""Returns the embeddings of captions."""


@dataclass(frozen=True)
class StorySetup:
    """Everything that a maker is given of its story.

    Attributes:
        components: the model.
        history: the shots made so far, on the branch that the story stands on.
        size: of the video.
        sampler: how chunks are denoised.
        read: embeds captions.
        clock: told what the time is spent on.
        noise: of shots without a seed of their own.
        script: all shots, where they are known before the first is made.
        graphs: lends recorded forwards; None: nothing is recorded.
    """

    components: ModelComponents
    history: History
    size: VideoSize
    sampler: Sampler
    read: ReadCaptions
    clock: Clock
    noise: Noise
    script: Script | None = None
    graphs: CudaGraphPool | None = None

    @property
    def shape(self) -> ShotShape:
        """Return the latents of a chunk and of the context, and the longest shot."""
        return self.components.config.shot

    @property
    def context(self) -> str:
        """Return which past frames become context (`story.selectors`)."""
        return self.history.identity.context

    @property
    def negative_prompt(self) -> str:
        """Return what the branch without guidance reads; empty: what the policy or the model has for it."""
        return self.history.identity.negative_prompt

    def negative(self, text: Float[Tensor, "1 s l e"]) -> Float[Tensor, "1 1 l e"]:
        """Return what the branch without guidance reads in place of captions: the negative prompt, or else zeros."""
        return self.read([self.negative_prompt]) if self.negative_prompt else torch.zeros_like(text[:, :1])

    def compose(self, shot: int, text: str) -> str:
        """Return the caption of a shot (from 0), fitted to what the text encoder reads."""
        return fit_caption(self.components.text_encoder.lost, self.history.identity.global_caption, shot, text).caption


@runtime_checkable
class Rollout(Protocol):
    """A shot being made: each `next` returns the clean latents of a chunk, until the shot ends."""

    @property
    def revisable(self) -> bool:
        """Return whether `drop` can take chunks back."""
        ...

    @property
    def chunks_left(self) -> int:
        """Return how many chunks are to come."""
        ...

    def __next__(self) -> Latents:
        """Make the next chunk.

        Raises:
            StopIteration: the shot is at its end.
        """
        ...

    def steer(self, text: str) -> None:
        """Give the shot another caption from its next chunk on.

        Raises:
            InputError: the policy cannot.
        """
        ...

    def drop(self, chunks: int) -> None:
        """Forget the latest chunks, as if they had not been made.

        Raises:
            InputError: there are not so many, or the policy cannot.
        """
        ...

    def cut(self) -> None:
        """End the shot after the chunks made so far."""
        ...


@runtime_checkable
class Maker(Protocol):
    """Makes the shots of one story, one after another."""

    @property
    def can_prepare(self) -> bool:
        """Return whether `prepare` would do something now."""
        ...

    def prepare(self) -> None:
        """Do ahead what the next shot would wait for and does not depend on its caption."""
        ...

    def drafts(self, text: str, *, making: bool) -> list[str]:
        """Return the prompts that would be encoded for a caption that may come; `making`: while a shot is made."""
        ...

    def begin(self, spec: ShotSpec, cast: Sequence[CastMember], noise: Noise, sampler: Sampler) -> Rollout:
        """Begin the next shot, which knows these members of the cast; `spec` has its seed.

        Raises:
            InputError: the policy cannot make such a shot here.
        """
        ...

    def decoder(self) -> FrameDecoder:
        """Return the decoder of the shot that was begun last."""
        ...

    def close(self, *, unused: bool) -> None:
        """Free memory; `unused`: no shot is being made, so others may have the cache."""
        ...
