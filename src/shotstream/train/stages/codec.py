"""The embedded codec: its linear maps in closed form, then its refinement by gradient descent.

The linear part is final once fitted, so the transformer can learn over its latents while the refinement, which only
the decoder has, is still being trained.
"""

import math
import multiprocessing
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from shotstream.core.rng import derive_seed
from shotstream.data.latents import JOBS_PER_WORKER
from shotstream.data.samples import as_pixels
from shotstream.data.storyworld import TRAINING_SEEDS
from shotstream.model.block_codec import BLOCK_FRAMES, FIRST, LATER, BlockCodec, to_blocks
from shotstream.train.config import CodecTraining
from shotstream.train.loop import NETWORK, Stage
from shotstream.train.rng import make_generator, normal
from shotstream.train.state import TrainState
from shotstream.train.trained_network import TrainedNetwork
from shotstream.world.render import render_frames
from shotstream.world.stories import sample_story

CLIP_FRAMES = 9
WHITENING = 0.5
"""Latent deviation goes with the component's deviation to the power 1 - this: 0 keeps PCA's scale, 1 whitens."""
LATENT_NOISE = 0.1
"""Deviation of the noise on latents while the refinement learns, so that it forgives imperfect ones."""


class CodecStage(Stage):
    """The refinement of a codec whose linear maps are fitted and stay as they are."""

    def __init__(self, codec: BlockCodec, config: CodecTraining, device: torch.device) -> None:
        for linear in (codec.analysis, codec.synthesis):
            linear.requires_grad_(False)
        self._codec, self._device, self._micro_batches = codec.to(device), device, config.loop.micro_batches
        self._rendered = RenderedClips(config.batch, config.workers)
        trained = TrainedNetwork(codec, config.optimizer, config.loop.steps)
        self.state = TrainState({NETWORK: trained}, config.loop.ema_decay)

    def loss(self, network: str, step: int, micro_batch: int) -> Tensor:  # noqa: ARG002
        number = step * self._micro_batches + micro_batch
        return refinement_loss(self._codec, as_pixels(self._rendered(number), self._device), number)


class RenderedClips:
    """Batches of clips by number, the following ones rendered ahead on other processes where there are any."""

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
    """The clips of a batch."""
    return [sample_clip(seed) for seed in range(number * batch, (number + 1) * batch)]


def sample_clip(seed: int, frames: int = CLIP_FRAMES) -> np.ndarray:
    """A piece of a random training shot, uint8 [frames, h, w, 3]; it may begin anywhere in the shot."""
    rng = np.random.default_rng(derive_seed("clip", seed))
    story = sample_story(int(rng.integers(TRAINING_SEEDS)))
    shot = int(rng.integers(len(story.shots)))
    start = int(rng.integers(max(1, story.shots[shot].frames - frames)))
    return render_frames(story, shot, range(start, start + frames))


def clips(seeds: Iterable[int]) -> Float[Tensor, "b f c h w"]:
    """Clips of those seeds as one batch of pixels."""
    return as_pixels([sample_clip(seed) for seed in seeds])


@torch.no_grad()
def fit_linear(codec: BlockCodec, clip_count: int) -> None:
    """Sets the codec's linear maps to the (scaled) principal components of blocks, and its refinement to nothing.

    First frames get their own components, turned by the rotation that brings the code of a still picture nearest to
    the code of four equal frames (orthogonal Procrustes), so that both kinds of latent speak one language.
    """
    channels = codec.latent_channels
    seen = torch.cat([clips(range(start, start + 100)) for start in range(0, clip_count, 100)])
    mean_later, basis_later, deviation = _principal(to_blocks(seen[:, 1:], BLOCK_FRAMES[LATER]), channels)
    first = to_blocks(seen[:, :1], BLOCK_FRAMES[FIRST])
    mean_first, basis_first, _ = _principal(first, channels)
    repeated = basis_later.unflatten(0, (BLOCK_FRAMES[LATER], -1)).sum(0) / math.sqrt(BLOCK_FRAMES[LATER])
    covariance = _columns(first) - mean_first
    covariance = covariance.T @ covariance / len(covariance)
    u, _, v = torch.linalg.svd(basis_first.T @ covariance @ repeated)
    basis_first = basis_first @ (u @ v)
    scale = deviation**WHITENING
    scale = scale * (deviation / scale).square().mean().sqrt()
    gain = math.sqrt(BLOCK_FRAMES[LATER])
    _set_maps(codec, FIRST, mean_first, basis_first, scale / gain)
    _set_maps(codec, LATER, mean_later, basis_later, scale)
    for parameter in codec.refinement.out.parameters():
        nn.init.zeros_(parameter)


def refinement_loss(codec: BlockCodec, pixels: Float[Tensor, "b f c h w"], seed: int) -> Float[Tensor, ""]:
    """Mean squared error of decoded clips, with noise on the latents; only the refinement gets gradient."""
    with torch.no_grad():
        latents = codec.encode(pixels)
    strength = LATENT_NOISE * torch.rand(len(latents), 1, 1, 1, 1, generator=make_generator("codec-noise", seed))
    decoded = codec.decode(latents + strength.to(pixels.device) * normal(latents, "codec-noise", seed))
    return (decoded - pixels).square().mean()


@torch.no_grad()
def psnr(codec: BlockCodec, first_seed: int = TRAINING_SEEDS, stories: int = 64) -> float:
    """Peak signal-to-noise ratio in dB over the whole first shots of held-out stories."""
    errors = []
    for seed in range(first_seed, first_seed + stories):
        story = sample_story(seed)
        pixels = as_pixels([render_frames(story, 0, range(story.shots[0].frames))])
        decoded = codec.decode(codec.encode(pixels)).clamp(-1, 1)
        errors.append(float((decoded - pixels).square().mean()) / 4)
    return -10 * math.log10(sum(errors) / len(errors))


def _columns(blocks: Float[Tensor, "n v y x"]) -> Float[Tensor, "m v"]:
    return blocks.permute(0, 2, 3, 1).flatten(0, 2)


def _principal(blocks: Float[Tensor, "n v y x"], channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [v], the leading components [v, channels], and their deviations [channels]."""
    values = _columns(blocks)
    mean = values.mean(0)
    centred = values - mean
    eigenvalues, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    return mean, vectors.flip(1)[:, :channels], eigenvalues.flip(0)[:channels].sqrt()


def _set_maps(codec: BlockCodec, which: int, mean: Tensor, basis: Tensor, scale: Tensor) -> None:
    forward = (basis / scale).T
    for layer, weight, bias in (
        (codec.analysis[which], forward, -(forward @ mean)),
        (codec.synthesis[which], basis * scale, mean),
    ):
        layer.load_state_dict({"weight": weight[:, :, None, None], "bias": bias})
