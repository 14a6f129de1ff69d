"""Stage `base`: a causal model by flow matching, on pictures first, then on shots with their context.

A picture costs a sixteenth of a shot, and teaches what words look like. Then pictures and shots are mixed, and every
chunk of a shot gets a noise level of its own. It attends to the context and the chunks before it, labelled as clean, as
at inference (teacher forcing). A model that has only seen a true past copies its own errors from chunk to chunk, so the
past is noised a little, or remade by the model itself (`train.rollout.resample_history`).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shotstream.data.batches import Batch
from shotstream.data.latents import LatentPool
from shotstream.engine.sampler import Sampler
from shotstream.model.config import SamplerConfig
from shotstream.model.schedule import MIN_SIGMA, add_noise, shift_sigma
from shotstream.model.transformer import Transformer, begins_at_zero
from shotstream.model.velocity import Conditions, predict_teacher_forced_velocity
from shotstream.train.alignment import alignment_loss
from shotstream.train.config import BaseTraining
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import NETWORK, Stage
from shotstream.train.losses import low_noise_weights, subject_weights
from shotstream.train.rng import drop_text, make_generator, normal
from shotstream.train.rollout import resample_history
from shotstream.train.state import TrainState
from shotstream.train.trained_network import TrainedNetwork


class BaseStage(Stage):
    """Teacher forcing: earlier chunks are ground truth with a little noise, or remade by the network."""

    def __init__(
        self,
        network: Transformer,
        pictures: LatentPool,
        shots: LatentPool,
        sampler: SamplerConfig,
        config: BaseTraining,
        distributed: DistributedContext,
    ) -> None:
        self._network, self._pictures, self._shots, self._config = network, pictures, shots, config
        self._sampler, self._distributed = Sampler.from_config(sampler), distributed
        self._device, self._batch = distributed.device, distributed.prefetch(self._read)
        trained = TrainedNetwork(network, config.optimizer, config.loop.steps, bfloat16=distributed.bfloat16)
        self.state = TrainState({NETWORK: trained}, config.loop.ema_decay)

    def loss(self, network: str, step: int, micro_batch: int) -> Tensor:  # noqa: ARG002
        batch, history = self._batch(step, micro_batch), None
        if batch.target.shape[1] > self._network.config.shot.chunk_latents and self._remakes_history(step):
            level = self._config.resampled_level
            history = resample_history(self._network, batch, self._sampler, level, self._distributed, step, micro_batch)
        loss = teacher_forced_loss(self._network, batch, history, self._config, step, micro_batch)
        if self._config.alignment and batch.features is not None:
            loss = loss + self._config.alignment * alignment_loss(self._network, batch.features, self._config)
        return loss

    def _read(self, step: int, micro_batch: int) -> Batch:
        return (self._pictures if self._on_pictures(step) else self._shots)(step, micro_batch).to(self._device)

    def _on_pictures(self, step: int) -> bool:
        """Return whether a step is on pictures; the same for all its micro-batches."""
        drawn = float(torch.rand((), generator=make_generator("base-kind", step)))
        return step < self._config.picture_steps or drawn < self._config.picture_share

    def _remakes_history(self, step: int) -> bool:
        """Return whether a step's earlier chunks are remade by the network; the same for all its micro-batches."""
        return float(torch.rand((), generator=make_generator("base-past", step))) < self._config.resampled_share


def teacher_forced_loss(
    network: Transformer,
    batch: Batch,
    history: Float[Tensor, "b f c h w"] | None,
    config: BaseTraining,
    step: int,
    micro_batch: int = 0,
) -> Float[Tensor, ""]:
    """Compute the mean squared error of the velocity over the noisy latents, weighted by noise level and subject.

    Args:
        network: in training.
        batch: one micro-batch, on the network's device.
        history: all chunks but the last, as the network remade them; None: the true ones with a little noise.
        config: noise levels and weights.
        step: seeds, with `micro_batch`, which captions are dropped, the noise and its levels.
        micro_batch: number of the micro-batch.
    """
    (count, latents), copies = batch.target.shape[:2], config.noise_copies
    each = min(network.config.shot.chunk_latents, latents)
    chunks = math.ceil(latents / each)
    draw = make_generator("base-levels", step, micro_batch)
    sigmas = shift_sigma(torch.rand(count, copies * chunks, generator=draw), config.shift).clamp(min=MIN_SIGMA)
    sigmas = sigmas.repeat_interleave(each, 1).to(batch.target.device)
    if history is None:
        past = batch.target[:, : latents - each]
        levels = config.history_noise * torch.rand(count, chunks - 1, generator=draw).repeat_interleave(each, 1)
        history = add_noise(past, normal(past, "base-history", step, micro_batch), levels.to(past.device))
    target = batch.target.repeat(1, copies, 1, 1, 1)
    noise = normal(target, "base-noise", step, micro_batch)
    text = drop_text(batch.text, config.no_text_share, "base-text", step, micro_batch)
    given = Conditions.of(network, batch.context, text, batch.layout, history, copies)
    velocity = predict_teacher_forced_velocity(network, add_noise(target, noise, sigmas), sigmas, given)
    error = (velocity.float() - (noise - target)).square().mean(2)
    places = subject_weights(batch.subjects, config.subject_weight)
    weight = low_noise_weights(sigmas, config.full_weight_sigma)
    return ((error if places is None else error * places.repeat(1, copies, 1, 1)).mean((2, 3)) * weight).mean()


def initialise(transformer: Transformer) -> None:
    """Initialise a transformer: Xavier for linear maps, zero biases and convolutions, a head that predicts zero."""
    for name, parameter in transformer.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif name.startswith(("time_embedding", "time_projection")):
            nn.init.normal_(parameter, std=0.02)
        elif begins_at_zero(name):
            nn.init.zeros_(parameter)
        elif parameter.ndim >= 2 and "modulation" not in name and "shot_embedding" not in name:
            nn.init.xavier_uniform_(parameter.flatten(1))
    nn.init.zeros_(transformer.head.head.weight)
