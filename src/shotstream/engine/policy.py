"""The interface of a policy: one published way of making multi-shot video, over the common engine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch

from shotstream.core.errors import InputError
from shotstream.core.spec import ShotShape
from shotstream.engine.engine import Engine
from shotstream.engine.sampler import Latents
from shotstream.engine.video_plan import Video
from shotstream.model.config import ModelConfig, SamplerConfig, SamplerKind
from shotstream.model.frame_cache import FrameCache
from shotstream.model.kv_cache import KVCache
from shotstream.model.transformer import Transformer
from shotstream.story.captions import join_captions
from shotstream.story.script import Script
from shotstream.story.script_text import located
from shotstream.story.shot_spec import ShotSpec

FOUR_STEPS = SamplerConfig(steps=(1000.0, 750.0, 500.0, 250.0), shift=5.0)
"""The published sampler of Self Forcing and of the systems that begin with its weights."""

PUBLISHED_CHUNK = 3
"""Latents of a chunk of Self Forcing and of the systems that begin with its weights; their windows are made for it."""


@dataclass(frozen=True)
class PolicySpec:
    """Properties of a policy: its source, its weights, and its abilities.

    Attributes:
        name: as `--policy` takes it.
        summary: one sentence.
        source: the paper.
        weights: published weights that were trained for it, in words.
        licence: of these weights and their code, in words.
        live: whether shots may be asked for one by one; otherwise the whole script must be known first, and a shot has
            one take.
        streams: whether frames come before the whole video is made.
        steers: whether a shot may get another caption between two chunks.
        shots: the fewest and the most shots; None: any number.
        extends: whether a shot may be longer than those in training.
        keys: how the KV cache holds keys: "rotated" by their position when they are committed, or by "frame", so that
            every forward chooses what it sees and where; None: there is no cache.
        capacity: latents in the cache.
        sink: of these, first ones that are never evicted.
        decode: whether the decoder begins anew with every "shot", or runs through the whole "video".
        joined_prompts: how many prompts' length the text has that all shots share; None: shots share none.
        context: whether a shot sees frames of past shots, chosen from their pixels.
        sampler: the published one; None: the model's own.
        renoises: whether its rollout is made for few-step samplers alone, because it adds the noise itself.
    """

    name: str
    summary: str
    source: str
    weights: str
    licence: str
    live: bool = False
    streams: bool = False
    steers: bool = False
    shots: tuple[int, int | None] = (1, None)
    extends: bool = True
    keys: Literal["rotated", "frame"] | None = None
    capacity: int = 0
    sink: int = 0
    decode: Literal["shot", "video"] = "video"
    joined_prompts: int | None = None
    context: bool = False
    sampler: SamplerConfig | None = None
    renoises: bool = False

    @property
    def one_prompt(self) -> bool:
        """Return whether the captions of all shots stand in one prompt."""
        return self.joined_prompts == 1

    def frames(self, script: Script, shape: ShotShape) -> list[int]:
        """Return the frames of each shot of a story, by how the policy decodes and by the shape of a model's shots."""
        return shape.frames_of_shots([shot.chunks for shot in script.shots], one_stream=self.decode == "video")

    def new_cache(
        self,
        network: Transformer,
        rows: int,
        latent_size: tuple[int, int],
        *,
        straight_through: bool = True,
        dtype: torch.dtype | None = None,
    ) -> KVCache | FrameCache | None:
        """Return an empty cache for a video, where the policy has one; the rest is as in `Transformer.new_cache`."""
        if self.keys is None:
            return None
        if self.keys == "frame":
            return network.new_frame_cache(rows, latent_size, self.capacity, dtype=dtype)
        return network.new_cache(
            rows, latent_size, self.capacity, self.sink, straight_through=straight_through, dtype=dtype
        )

    def check_script(self, script: Script, shape: ShotShape) -> None:
        """Check that the policy can make a story with a model whose shots have this shape.

        Raises:
            InputError: it has too few or too many shots or steers, or is too long.
        """
        self.check_count(len(script.shots))
        if script.cast:
            self.check_cast()
        for number, shot in enumerate(script.shots, start=1):
            with located(f"shot {number}"):
                shape.check_chunks(shot.chunks, extend=shot.extend)
        self.check_shots(script.shots, shape)

    def held_latents(self, chunks: int, script: Script | None, shape: ShotShape, *, whole: bool) -> "HeldLatents":
        """Return how many latents are in memory while a shot of so many chunks is made.

        Args:
            chunks: of the shot.
            script: of the story, where it is known.
            shape: of the model's shots.
            whole: whether the sampler makes a shot at once.
        """
        shots = [shot.chunks for shot in script.shots] if script is not None else [chunks]
        if self.context:
            context = shape.context_latents
            window = context + shape.latents_of_chunks(min(chunks, shape.max_chunks))
            return HeldLatents(0, window) if whole else HeldLatents(window, context)
        if self.keys is None:
            return HeldLatents(0, shape.latents_of_chunks(sum(shots)))
        return HeldLatents(self.capacity, shape.chunk_latents)

    def check_count(self, count: int) -> None:
        """Check that the policy can make so many shots.

        Raises:
            InputError: they are too few or too many.
        """
        fewest, most = self.shots
        if count < fewest or (most is not None and count > most):
            limits = f"{fewest} to {most}" if most is not None else f"at least {fewest}"
            raise InputError(f"policy {self.name} makes {limits} shots, got {count}; use another policy")

    def check_prompts(self, tokens: int, most: int) -> None:
        """Check that the text that all shots share has room for their prompts.

        Args:
            tokens: of all prompts.
            most: tokens that the text encoder reads of one prompt.

        Raises:
            InputError: they are longer.
        """
        if self.joined_prompts is not None and tokens > (room := self.joined_prompts * most):
            raise InputError(
                f"policy {self.name} describes all shots in one text of at most {room} tokens, got {tokens}; "
                "use fewer shots, shorter captions or another policy"
            )

    def check_cast(self) -> None:
        """Check that the policy can know pictures of a cast.

        Raises:
            InputError: it has no context that they could be in.
        """
        if not self.context:
            raise InputError(f"policy {self.name} has no context that a cast could be in; use policy shotstream")

    def check_shots(self, shots: Sequence[ShotSpec], shape: ShotShape) -> None:
        """Check that the policy can make shots, however many there are, with a model whose shots have this shape.

        Raises:
            InputError: one is too long, or has steers that it cannot have.
        """
        for shot in shots:
            self.check_length(shot.chunks, shape)
        if not self.steers and any(shot.steers for shot in shots):
            raise InputError(f"policy {self.name} cannot steer a shot while it is made; remove the steers")

    def check_length(self, chunks: int, shape: ShotShape) -> None:
        """Check the length of a shot, for a model whose shots have this shape.

        Raises:
            InputError: the policy cannot make a shot of so many chunks.
        """
        if not self.extends and chunks > shape.max_chunks:
            raise InputError(
                f"policy {self.name} makes shots of at most {shape.max_chunks} chunks, got {chunks}; split the shot"
            )

    def check_live(self) -> None:
        """Check that shots can be asked for one by one.

        Raises:
            InputError: the whole script must be known first.
        """
        if not self.live:
            raise InputError(
                f"policy {self.name} needs the whole script before the first frame; give one to `shotstream generate`, "
                "or use a live policy (see `shotstream policies`)"
            )

    def check_sampler(self, kind: SamplerKind) -> None:
        """Check that the policy can denoise in this way.

        Raises:
            InputError: it needs a few-step sampler.
        """
        if self.renoises and kind != "few_step":
            raise InputError(f"policy {self.name} needs the sampler few_step, got {kind}; use few_step")

    def check_model(self, config: ModelConfig) -> None:
        """Check that the policy can run a model.

        Raises:
            InputError: the network was made for another one, its chunks do not fit the policy's window, or there are
                two transformers, which the policy cannot take turns with.
        """
        if self.keys is not None and not self.context and config.shot.chunk_latents != PUBLISHED_CHUNK:
            raise InputError(
                f"policy {self.name} has a window for chunks of {PUBLISHED_CHUNK} latents, and {config.name} makes "
                f"chunks of {config.shot.chunk_latents}; use policy shotstream"
            )
        if config.expert_boundary is not None and (self.context or self.keys is not None):
            raise InputError(
                f"policy {self.name} runs one transformer, and {config.name} has two, of high and low noise; "
                "use policy holocine or another that makes all shots at once"
            )
        if self.context or config.transformer.injection == "frame":
            return
        raise InputError(
            f"policy {self.name} has no context, and {config.name} is a network that carries one in its channels; "
            "use policy shotstream"
        )


@dataclass(frozen=True)
class HeldLatents:
    """Latents in memory while a shot is made: those that the KV cache has room for, and those of one forward."""

    cached: int
    at_once: int


class OneShotPrompts:
    """The prompts of systems that describe every shot by itself."""

    def prompts(self, global_caption: str, shots: Sequence[str]) -> list[str]:
        """Return one self-contained prompt a shot."""
        return [join_captions(global_caption, shot) for shot in shots]


@runtime_checkable
class Policy(Protocol):
    """A way of making multi-shot video: which latents are denoised when, and what each of them sees."""

    @property
    def spec(self) -> PolicySpec:
        """Return what the policy is and can do."""
        ...

    def prompts(self, global_caption: str, shots: Sequence[str]) -> list[str]:
        """Return the texts that the text encoder is given for a story of shots with these captions.

        For a live policy, one a shot, each of which depends on no later shot.
        """
        ...

    def rollout(self, video: Video, run: Engine) -> Iterator[Latents]:
        """Make a video: yield clean latents in order, any whole number of chunks of one shot at a time.

        What stands after a `yield` runs when the next latents are asked for. A live policy takes one shot of
        `video.shots` after another, and iterates over `VideoShot.chunks`, so that shots can be cut; a shot that was
        steered has another `VideoShot.text` at its next chunk.
        """
        ...
