"""Stage `codec`: fit the linear maps of the learned codec in closed form, then train all of it.

The decoder learns from latents with noise on them, so that it draws something sharp from what a transformer makes.
Noise means something only beside the latents' own size, so the loss holds their root mean square near 1.
"""

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.rng import derive_seed
from shotstream.core.spec import SPATIAL_STRIDE, TEMPORAL_STRIDE
from shotstream.data.latents import JOBS_PER_WORKER
from shotstream.data.samples import as_pixels
from shotstream.data.storyworld import TRAINING_SEEDS
from shotstream.model.config import ModelConfig
from shotstream.model.conv_codec import ConvCodec
from shotstream.train.config import CodecTraining
from shotstream.train.loop import NETWORK, Stage
from shotstream.train.rng import make_generator, normal
from shotstream.train.state import TrainState
from shotstream.train.trained_network import TrainedNetwork
from shotstream.world.render import render_frames
from shotstream.world.stories import sample_story

CLIP_FRAMES = 9
WHITENING = 0.5
"""Exponent of the scaling: latents have each component's standard deviation to the power 1 - WHITENING."""
SQUARED_WEIGHT, ABSOLUTE_WEIGHT, EDGE_WEIGHT, SCALE_WEIGHT = 10.0, 0.5, 0.5, 0.1


def create_codec(config: ModelConfig) -> ConvCodec:
    """Create the learned codec of a configuration, with fresh weights.

    Raises:
        InputError: the model has another codec.
    """
    if config.conv_codec is None:
        raise InputError("expected a model with a conv_codec, which is the one trained here; set pretrained=")
    return ConvCodec(config.conv_codec)


class CodecStage(Stage):
    """Train encoder and decoder together on rendered clips."""

    def __init__(
        self, codec: ConvCodec, config: CodecTraining, device: torch.device, *, bfloat16: bool = False
    ) -> None:
        self._codec, self._device, self._config = codec.to(device), device, config
        self._rendered = RenderedClips(config.batch, config.workers)
        trained = TrainedNetwork(codec, config.optimizer, config.loop.steps, bfloat16=bfloat16)
        self.state = TrainState({NETWORK: trained}, config.loop.ema_decay)

    def loss(self, network: str, step: int, micro_batch: int) -> Tensor:  # noqa: ARG002
        number = step * self._config.loop.micro_batches + micro_batch
        return codec_loss(self._codec, as_pixels(self._rendered(number), self._device), self._config.noise, number)


class RenderedClips:
    """Batches of rendered clips by number; worker processes, if any, render the following ones ahead."""

    def __init__(self, batch: int, workers: int) -> None:
        self._batch, self._ahead = batch, JOBS_PER_WORKER * workers
        self._processes = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) if workers else None
        self._coming: dict[int, Future[list[np.ndarray]]] = {}

    def __call__(self, number: int) -> list[np.ndarray]:
        if self._processes is None:
            return sample_clips(number, self._batch)
        for place in range(number, number + self._ahead):
            if place not in self._coming:
                self._coming[place] = self._processes.submit(sample_clips, place, self._batch)
        return self._coming.pop(number).result()


def sample_clips(number: int, batch: int) -> list[np.ndarray]:
    """Render the clips of a batch."""
    return [sample_clip(seed) for seed in range(number * batch, (number + 1) * batch)]


def sample_clip(seed: int) -> np.ndarray:
    """Render a piece of a random training shot, from any of its frames on, uint8 [CLIP_FRAMES, h, w, 3]."""
    rng = np.random.default_rng(derive_seed("clip", seed))
    story = sample_story(int(rng.integers(TRAINING_SEEDS)))
    shot = int(rng.integers(len(story.shots)))
    start = int(rng.integers(max(1, story.shots[shot].frames - CLIP_FRAMES)))
    return render_frames(story, shot, range(start, start + CLIP_FRAMES))


def clips(seeds: Iterable[int]) -> Float[Tensor, "b f c h w"]:
    """Render clips by seed as one batch of pixels in [-1, 1]."""
    return as_pixels([sample_clip(seed) for seed in seeds])


@torch.no_grad()
def fit_linear(codec: ConvCodec, clip_count: int) -> None:
    """Set the codec's linear maps to the scaled principal components of blocks of 4x8x8 pixels."""
    batches = [clips(range(start, min(start + 100, clip_count)))[:, 1:] for start in range(0, clip_count, 100)]
    moving = torch.cat([batch.unflatten(1, (-1, TEMPORAL_STRIDE)).flatten(0, 1).flatten(1, 2) for batch in batches])
    values = F.pixel_unshuffle(moving, SPATIAL_STRIDE).permute(0, 2, 3, 1).flatten(0, 2)
    mean = values.mean(0)
    centred = values - mean
    eigenvalues, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    basis = vectors.flip(1)[:, : codec.latent_channels]
    deviation = eigenvalues.flip(0)[: codec.latent_channels].clamp(min=1e-6).sqrt()
    scale = deviation**WHITENING * (deviation ** (1 - WHITENING)).square().mean().sqrt()
    forward, linear = (basis / scale).T, codec.decoder.linear
    codec.encoder.linear.load_state_dict({"weight": forward[:, :, None, None], "bias": -(forward @ mean)})
    linear.load_state_dict({"weight": (basis * scale)[:, :, None, None], "bias": mean})


def codec_loss(codec: ConvCodec, pixels: Float[Tensor, "b f c h w"], noise: float, seed: int) -> Float[Tensor, ""]:
    """Return the error of decoded clips: of pixels, and of the steps between neighbouring pixels.

    Every clip's latents get noise of a deviation between 0 and `noise`, which `seed` decides. A last term holds the
    logarithm of the latents' mean square near 0.
    """
    latents = codec.encode(pixels).float()
    strength = noise * torch.rand(len(latents), 1, 1, 1, 1, generator=make_generator("codec-noise", seed))
    noisy = latents + strength.to(pixels.device) * normal(latents, "codec-noise", seed)
    error = codec.decode(noisy).float() - pixels
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    drawn = SQUARED_WEIGHT * error.square().mean() + ABSOLUTE_WEIGHT * error.abs().mean() + EDGE_WEIGHT * edges
    return drawn + SCALE_WEIGHT * latents.square().mean().log().square()
