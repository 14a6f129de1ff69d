"""Makes the shots of a story by a policy that makes one continuous video."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from shotstream.core.errors import InputError
from shotstream.core.rng import Noise, SeededNoise
from shotstream.engine.decoder import FrameDecoder
from shotstream.engine.engine import Engine
from shotstream.engine.maker import Rollout, StorySetup
from shotstream.engine.policy import Policy
from shotstream.engine.sampler import Latents, Sampler
from shotstream.engine.video_plan import Video, VideoNoise, VideoShot, plan_shots
from shotstream.model.frame_cache import FrameCache
from shotstream.model.kv_cache import KVCache
from shotstream.story.caption_fit import fit_prompt
from shotstream.story.cast import CastMember
from shotstream.story.shot_spec import ShotSpec


class VideoMaker:
    """Shots of one policy's video, as they are asked for.

    What the policy keeps of earlier shots is in its cache, not in the history. So where a story goes on that was
    closed, or goes back to before a shot, its shots are made again up to that point from the same noise, and not
    written: the next one then has the same frames as if the story had never been left.
    """

    def __init__(self, policy: Policy, setup: StorySetup) -> None:
        """Make shots of a story.

        Raises:
            InputError: the policy needs the whole script, and it is not known or not one that the policy can make.
        """
        spec = policy.spec
        if setup.script is not None:
            spec.check_script(setup.script, setup.shape)
        else:
            spec.check_live()
        self._policy, self._setup = policy, setup
        self._cache: KVCache | FrameCache | None = None
        self._begun: list[tuple[ShotSpec, VideoShot]] = []
        self._asked: deque[VideoShot] = deque()
        self._waiting: deque[Latents] = deque()
        self._made: Iterator[Latents] = iter(())
        self._run: Engine | None = None
        self._decoder = FrameDecoder(setup.components.codec, setup.clock)
        self._broken = False

    @property
    def can_prepare(self) -> bool:
        """Return False: nothing of the next shot is known before its caption."""
        return False

    def prepare(self) -> None:
        """Do nothing (`can_prepare`)."""

    def drafts(self, text: str, *, making: bool) -> list[str]:  # noqa: ARG002 (as `Maker`)
        """Return the prompt of a caption that may come."""
        return self._fitted(self._policy.prompts(self._caption, [text])) if self._policy.spec.live else []

    def begin(
        self,
        spec: ShotSpec,
        cast: Sequence[CastMember],  # noqa: ARG002 (as `Maker`; these policies have no cast)
        noise: Noise,
        sampler: Sampler,
    ) -> Rollout:
        """Begin the next shot behind those of the history."""
        index = len(self._setup.history)
        if self._policy.spec.live:
            self._policy.spec.check_count(index + 1)
        else:
            spec = self._planned(spec, index)
        made = [take.spec for take in self._setup.history.records]
        if self._run is None or self._broken or made != [shot.made(asked) for asked, shot in self._begun]:
            self._restart(sampler)
            for earlier in made:
                rollout = self._ask(earlier, self._noise_of(earlier))
                for latents in rollout:
                    self._decoder.push(latents)
                rollout.cut()
        assert self._run is not None, "begun"
        self._run.sampler = sampler
        if self._policy.spec.decode == "shot":
            self._decoder = FrameDecoder(self._setup.components.codec, self._setup.clock)
        return self._ask(spec, noise)

    def decoder(self) -> FrameDecoder:
        """Return the decoder of the shot that was begun last: a new one, or that of the whole video."""
        return self._decoder

    def close(self, *, unused: bool) -> None:  # noqa: ARG002 (as `Maker`)
        """Free the cache."""
        self._cache, self._run, self._made = None, None, iter(())

    @torch.inference_mode()
    def next_chunk(self) -> Latents:
        """Return the next latents of the video, which are those of the shot that was asked for last.

        Raises:
            InputError: the policy was interrupted within this shot.
        """
        if self._broken:
            raise InputError("the shot was interrupted while a chunk was made; cut it and begin it again")
        if not self._waiting:
            self._broken = True
            self._waiting.extend(next(self._made).split(self._setup.shape.chunk_latents, 1))
            self._broken = False
        return self._waiting.popleft()

    def leave(self, shot: VideoShot, taken: int) -> None:
        """End a shot after the chunks that were taken; what the script has more of it is passed over."""
        shot.latents = taken * shot.chunk_latents
        script = self._setup.script
        if not self._policy.spec.live and script is not None and not self._broken:
            for _ in range(script.shots[shot.index].chunks - taken):
                self.next_chunk()

    def _ask(self, spec: ShotSpec, noise: Noise) -> "VideoShotRollout":
        """Hand the policy another shot; the whole script is there already where it had to be."""
        first = self._begun[-1][1].frames.stop if self._begun else 0
        shot = next(plan_shots([spec], noise, self._setup.shape, first))
        shot.index = len(self._begun)
        self._begun.append((spec, shot))
        if self._policy.spec.live:
            self._asked.append(shot)
        return VideoShotRollout(self, shot, live=self._policy.spec.live and self._policy.spec.steers)

    def _restart(self, sampler: Sampler) -> None:
        """Begin the video anew, with an empty cache."""
        setup, components = self._setup, self._setup.components
        size = (setup.size.latent_height, setup.size.latent_width)
        device = components.transformer.patch_embedding.weight.device
        self._cache = self._cache or self._policy.spec.new_cache(components.transformer, setup.sampler.branches, size)
        if self._cache is not None:
            self._cache.keep(range(0))
        for queue in (self._begun, self._asked, self._waiting):
            queue.clear()
        self._broken = False
        noise = VideoNoise((components.codec.latent_channels, *size), device)
        run = Engine(
            components.transformer,
            lambda prompts: setup.read(self._fitted(prompts))[0],
            sampler,
            noise,
            size,
            self._cache,
            negative_prompts=components.config.wan_vae is not None,
            negative_prompt=setup.negative_prompt,
            token_spans=components.text_encoder.token_spans,
            low_noise=components.second,
            clock=setup.clock,
        )
        self._decoder = FrameDecoder(components.codec, setup.clock)
        video = Video(self._caption_of_video(), noise.watch(self._shots()))
        self._run, self._made = run, self._policy.rollout(video, run)

    def _shots(self) -> Iterable[VideoShot]:
        script = self._setup.script
        if self._policy.spec.live or script is None:
            return iter(self._asked.popleft, None)
        return plan_shots(script.shots, self._setup.noise, self._setup.shape)

    def _noise_of(self, spec: ShotSpec) -> Noise:
        own = self._setup.history.identity.seed
        return self._setup.noise if spec.seed in (None, own) else SeededNoise(spec.seed)

    def _planned(self, spec: ShotSpec, index: int) -> ShotSpec:
        """Return a shot with the steers of the script.

        Raises:
            InputError: the script has another shot there, or the shot is to have another seed than there.
        """
        name, shots = self._policy.spec.name, () if self._setup.script is None else self._setup.script.shots
        if index >= len(shots) or (spec.text, spec.chunks) != (shots[index].text, shots[index].chunks):
            raise InputError(
                f"policy {name} makes the shots of its script as they are, and shot {index + 1} is another; "
                "begin the story anew with another script"
            )
        own = self._setup.history.identity.seed if shots[index].seed is None else shots[index].seed
        if spec.seed not in (None, own):
            raise InputError(
                f"policy {name} makes all shots together, so that shot {index + 1} has one take, of seed {own}; "
                "begin the story anew with another seed"
            )
        return replace(spec, steers=shots[index].steers)

    def _fitted(self, prompts: Sequence[str]) -> list[str]:
        """Return prompts in which the global caption gives way where the text encoder does not read all of them."""
        lost = self._setup.components.text_encoder.lost
        return [fit_prompt(lost, self._caption, prompt).caption for prompt in prompts]

    def _caption_of_video(self) -> str:
        """Return the global caption, or as much of it as one prompt for all shots has room for."""
        script = self._setup.script
        if script is None or not self._policy.spec.one_prompt:
            return self._caption
        (prompt,) = self._policy.prompts(self._caption, [shot.text for shot in script.shots])
        fitted = fit_prompt(self._setup.components.text_encoder.lost, self._caption, prompt)
        return self._caption.strip().removesuffix(fitted.lost_global)

    @property
    def _caption(self) -> str:
        return self._setup.history.identity.global_caption


class VideoShotRollout:
    """A shot within a policy's video: each `next` returns the clean latents of a chunk."""

    revisable = False

    def __init__(self, maker: VideoMaker, shot: VideoShot, *, live: bool) -> None:
        """Take the chunks of a shot that the policy was asked for; `live`: it can be steered."""
        self._maker, self._shot, self._live, self._taken = maker, shot, live, 0

    @property
    def chunks_left(self) -> int:
        """Return how many chunks are to come."""
        return self._shot.latents // self._shot.chunk_latents - self._taken

    def __iter__(self) -> Iterator[Latents]:
        return self

    def __next__(self) -> Latents:
        if not self.chunks_left:
            raise StopIteration
        latents = self._maker.next_chunk()
        self._taken += 1
        return latents

    def steer(self, text: str) -> None:
        """Give the shot another caption from its next chunk on.

        Raises:
            InputError: the policy cannot, and the script has no such steer there.
        """
        if not self._live and self._shot.steers.get(self._taken) != text:
            raise InputError("this policy cannot steer a shot while it is made; choose another policy to steer")
        self._shot.steers[self._taken] = text

    def drop(self, chunks: int) -> None:  # noqa: ARG002 (as `Rollout`)
        """Refuse: a policy is a generator, which cannot go back, and its cache holds what those chunks left there.

        Only a new video from the first shot on could come to other chunks in their place, and that takes as long as the
        video took. So chunks that are made stay, and a steer holds from the next one on (`revisable`).

        Raises:
            InputError: always.
        """
        raise InputError("this policy cannot take chunks back; cut the shot and make another take of it")

    def cut(self) -> None:
        """End the shot after the chunks made so far."""
        self._maker.leave(self._shot, self._taken)
