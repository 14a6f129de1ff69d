"""Stage `codec`: fit the linear maps of the embedded codec in closed form, then train its decoder's refinement.

The linear maps alone decide the latents, so a transformer can be trained on them before the refinement is done.
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
"""Exponent of the scaling: latents have each component's standard deviation to the power 1 - WHITENING."""
LATENT_NOISE = 0.1
"""Largest standard deviation of the noise on latents in training, so that the decoder tolerates imperfect ones."""


class CodecStage(Stage):
    """Train the refinement of a codec whose linear maps are fitted and fixed."""

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


def sample_clip(seed: int, frames: int = CLIP_FRAMES) -> np.ndarray:
    """Render a piece of a random training shot, from any of its frames on, uint8 [frames, h, w, 3]."""
    rng = np.random.default_rng(derive_seed("clip", seed))
    story = sample_story(int(rng.integers(TRAINING_SEEDS)))
    shot = int(rng.integers(len(story.shots)))
    start = int(rng.integers(max(1, story.shots[shot].frames - frames)))
    return render_frames(story, shot, range(start, start + frames))


def clips(seeds: Iterable[int]) -> Float[Tensor, "b f c h w"]:
    """Render clips by seed as one batch of pixels in [-1, 1]."""
    return as_pixels([sample_clip(seed) for seed in seeds])


@torch.no_grad()
def fit_linear(codec: BlockCodec, clip_count: int) -> None:
    """Set the codec's linear maps to the scaled principal components of `clip_count` clips, and its refinement to zero.

    First frames have components of their own, rotated so that the latent of a still picture is nearest to that of four
    equal frames (orthogonal Procrustes).
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
    """Compute the mean squared error of clips decoded from noisy latents; only the refinement gets gradient."""
    with torch.no_grad():
        latents = codec.encode(pixels)
    strength = LATENT_NOISE * torch.rand(len(latents), 1, 1, 1, 1, generator=make_generator("codec-noise", seed))
    decoded = codec.decode(latents + strength.to(pixels.device) * normal(latents, "codec-noise", seed))
    return (decoded - pixels).square().mean()


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
