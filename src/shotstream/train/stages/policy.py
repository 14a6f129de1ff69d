"""Stage `policy`: the base is fine-tuned for another policy, by flow matching on whole videos.

The rollout of the policy itself runs over true latents (`train.true_video_engine`), so positions, masks, captions and
caches are those of inference, and the loss is the same for every policy. Clean latents in a cache are seen, but no
gradient reaches the forward that wrote them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.rng import SeededNoise, derive_seed
from shotstream.data.batches import encode_captions
from shotstream.data.samples import ShotSource
from shotstream.data.videos import encode_video
from shotstream.engine.policies import find_policy
from shotstream.engine.sampler import Sampler
from shotstream.engine.video_plan import Video, VideoNoise, plan_shots
from shotstream.model.codec import Codec
from shotstream.model.config import SamplerConfig
from shotstream.model.schedule import MIN_SIGMA, shift_sigma
from shotstream.model.text_encoder import TextEncoder
from shotstream.model.transformer import Transformer
from shotstream.story.script import Script
from shotstream.train.config import PolicyTraining
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import NETWORK, Stage
from shotstream.train.losses import low_noise_weights, subject_weights
from shotstream.train.rng import make_generator, random_index
from shotstream.train.state import TrainState
from shotstream.train.trained_network import TrainedNetwork
from shotstream.train.true_video_engine import Prediction, TrueVideoEngine

MAX_SIGMA = 0.999
"""Highest noise level that is drawn. At 1 latents say nothing of the truth, so the sampler begins there."""
MAX_DRAWS = 100
"""How many stories are drawn for one whose captions the text encoder reads to their end."""


class TrueVideo(NamedTuple):
    """A video to learn: its captions and lengths, its latents, and how much of each place shows the subject."""

    script: Script
    latents: Float[Tensor, "1 f c h w"]
    subjects: Float[Tensor, "1 f h w"] | None


class PolicyStage(Stage):
    """Flow matching on videos, at the noise levels, positions and plans of the policy's own calls."""

    def __init__(
        self,
        network: Transformer,
        source: ShotSource,
        codec: Codec,
        encoder: TextEncoder,
        few_step: SamplerConfig,
        config: PolicyTraining,
        distributed: DistributedContext,
        first: int = 0,
    ) -> None:
        """Train on videos from number `first` on; `few_step` is for policies that add the noise themselves."""
        self._network, self._policy, self._few_step = network, find_policy(config.policy), few_step
        self._source, self._codec, self._encoder = source, codec, encoder
        self._config, self._distributed, self._first = config, distributed, first
        self._read = distributed.prefetch(self._draw)
        trained = TrainedNetwork(network, config.optimizer, config.loop.steps, bfloat16=distributed.bfloat16)
        self.state = TrainState({NETWORK: trained}, config.loop.ema_decay)

    def loss(self, network: str, step: int, micro_batch: int) -> Tensor:  # noqa: ARG002
        videos = self._read(step, micro_batch)
        losses = [self._video_loss(video, step, micro_batch, number) for number, video in enumerate(videos)]
        return torch.stack(losses).mean()

    def _video_loss(self, video: TrueVideo, *where: int) -> Float[Tensor, ""]:
        """Return the mean error of the velocities that the policy asks for, weighted by noise level and subject."""
        places = subject_weights(video.subjects, self._config.subject_weight)
        errors = [
            (one.error if places is None else one.error * places[:, one.frames.start : one.frames.stop]).mean((0, 2, 3))
            * low_noise_weights(one.sigmas, self._config.full_weight_sigma)
            for one in self._predict(video, *where)
        ]
        return torch.cat(errors).mean()

    def _predict(self, video: TrueVideo, *where: int) -> list[Prediction]:
        """Roll the policy out over a video, and return what the network predicts; `where` seeds all that is drawn."""
        spec, latents = self._policy.spec, video.latents
        size, dtype = (latents.shape[-2], latents.shape[-1]), torch.bfloat16 if self._distributed.bfloat16 else None
        dropped = float(torch.rand((), generator=make_generator("policy-text", *where))) < self._config.no_text_share

        def encode(prompts: Sequence[str]) -> Tensor:
            text = encode_captions([prompts], self._encoder)[0]
            return torch.zeros_like(text) if dropped else text

        noise = VideoNoise(latents.shape[2:], latents.device)
        cache = spec.new_cache(self._network, 1, size, straight_through=False, dtype=dtype)
        samplers, spans = self._samplers(*where), self._encoder.token_spans
        run = TrueVideoEngine(self._network, encode, samplers, noise, latents, cache, spans)
        shots = plan_shots(video.script.shots, SeededNoise(derive_seed("policy-noise", *where)), self._source.shape)
        for _ in self._policy.rollout(Video(video.script.global_caption, noise.watch(shots)), run):
            pass
        return run.predictions

    def _samplers(self, *where: int) -> Iterator[Sampler]:
        """Yield the samplers of a video's forwards: from pure noise to a level that is drawn for each."""
        if self._policy.spec.renoises:
            yield from repeat(Sampler.from_config(replace(self._few_step, guidance=1.0)))
        draw = make_generator("policy-levels", *where)
        while True:
            sigma = shift_sigma(torch.rand((), generator=draw), self._config.shift).clamp(MIN_SIGMA, MAX_SIGMA)
            yield Sampler("few_step", (1.0, float(sigma)))

    def _reads(self, script: Script) -> bool:
        """Return whether the text encoder reads the prompts of a script to their end."""
        prompts = self._policy.prompts(script.global_caption, [shot.text for shot in script.shots])
        tokens, most = list(map(self._encoder.count_tokens, prompts)), self._encoder.config.text_len
        joined = self._policy.spec.joined_prompts
        return max(tokens) <= most and (joined is None or sum(tokens) <= joined * most)

    def _draw(self, step: int, micro_batch: int) -> list[TrueVideo]:
        return [self._draw_video(step, micro_batch, number) for number in range(self._config.videos)]

    def _draw_video(self, step: int, micro_batch: int, number: int) -> TrueVideo:
        """Draw a video; those of all micro-batches of a step have the same lengths."""
        config, spec = self._config, self._policy.spec
        shots = config.shots[random_index(len(config.shots), "policy-shots", step, number)]
        chunks = [
            config.chunks[random_index(len(config.chunks), "policy-chunks", step, number, shot)]
            for shot in range(shots)
        ]
        for draw in range(MAX_DRAWS):
            seed = derive_seed("policy-video", self._first + step, micro_batch, number, draw)
            sample = self._source.draw_video(np.random.default_rng(seed), chunks)
            if self._reads(sample.script):
                device, one_stream = self._distributed.device, spec.decode == "video"
                return TrueVideo(sample.script, *encode_video(sample, self._codec, device, one_stream=one_stream))
        tokens = self._encoder.config.text_len
        raise InputError(
            f"policy {spec.name} describes {shots} shots in prompts that are longer than the {tokens} tokens that this "
            "text encoder reads; set policy.shots to fewer"
        )
