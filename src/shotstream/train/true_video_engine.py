"""An engine that knows the video which a policy is to make, so that the policy's own rollout says what is trained.

A policy decides which latents are denoised together, what they see, where, under which text and at which noise levels.
In training it runs as at inference, but the engine answers each question for a velocity with the true one, and keeps
what the network predicts there. So every latent that the policy goes on with is true (teacher forcing), and one loss
serves all policies.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from shotstream.engine.call import Call, as_sigmas
from shotstream.engine.engine import Encode, Engine, FrameNoise, TokenSpans
from shotstream.engine.sampler import Latents, Sampler
from shotstream.model.frame_cache import FrameCache
from shotstream.model.kv_cache import KVCache
from shotstream.model.schedule import velocity_from_clean
from shotstream.model.transformer import Transformer


@dataclass(frozen=True, eq=False)
class Prediction:
    """A prediction of the network in one forward: its squared error of the velocity, and the level of each latent."""

    frames: range
    sigmas: Float[Tensor, "f"]
    error: Float[Tensor, "1 f h w"]


class TrueVideoEngine(Engine):
    """Engine that answers with true velocities, and keeps the errors of the network's in `predictions`."""

    def __init__(
        self,
        network: Transformer,
        encode: Encode,
        samplers: Iterator[Sampler],
        noise: FrameNoise,
        video: Latents,
        kv_cache: KVCache | FrameCache | None,
        token_spans: TokenSpans,
    ) -> None:
        """Know the latents of a video; the rest is as in `Engine`.

        `samplers` are not guided. The next one takes the place of the one before it after every forward, so that chunks
        of one video have noise levels of their own.
        """
        size = (video.shape[-2], video.shape[-1])
        first = next(samplers)
        super().__init__(network, encode, first, noise, size, kv_cache, negative_prompts=False, token_spans=token_spans)
        self._video, self._samplers = video, samplers
        self.predictions: list[Prediction] = []

    def velocity(self, call: Call, x: Latents, sigma: float | Float[Tensor, "f"]) -> Latents:
        """Return the true velocity, and keep the error of the network's, but not where all latents are pure noise.

        A sampler that begins with pure noise thus gets to any level that is to be trained by true latents.
        """
        sigmas = as_sigmas(sigma, len(call.frames)).to(x.device)
        velocity = velocity_from_clean(x, self._video[:, call.frames.start : call.frames.stop], sigmas[None])
        if bool((sigmas < 1).any()):
            predicted = super().velocity(call, x, sigma)
            error = (predicted.float() - velocity).square().mean(2)
            self.predictions.append(Prediction(call.frames, sigmas.float(), error))
            self.sampler = next(self._samplers)
        return velocity
