"""Stage `init`: the causal student learns to predict a trajectory's end from any kept state (reference, section 7)."""

import torch
from torch import Tensor

from shotstream.data.batches import Batch
from shotstream.model.device import send
from shotstream.model.transformer import Transformer
from shotstream.train.config import InitTraining
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import NETWORK, Stage
from shotstream.train.losses import Conditions, teacher_forced_trajectory_loss, trajectory_loss
from shotstream.train.rng import make_generator
from shotstream.train.stages.trajectories import TrajectoryStore
from shotstream.train.state import TrainState
from shotstream.train.trained_network import TrainedNetwork


class InitStage(Stage):
    """Regression on trajectories; a state is drawn for every chunk.

    Chunks see the drawn states of those before them (published), or with `teacher_forced` their clean ends.
    """

    def __init__(
        self,
        network: Transformer,
        trajectories: TrajectoryStore,
        config: InitTraining,
        distributed: DistributedContext,
        *,
        teacher_forced: bool = False,
    ) -> None:
        self._network, self._trajectories, self._teacher_forced = network, trajectories, teacher_forced
        self._device, self._micro_batches = distributed.device, config.loop.micro_batches
        self._batch = distributed.prefetch(self._read)
        trained = TrainedNetwork(network, config.optimizer, config.loop.steps, bfloat16=distributed.bfloat16)
        self.state = TrainState({NETWORK: trained}, config.loop.ema_decay)

    def loss(self, network: str, step: int, micro_batch: int) -> Tensor:  # noqa: ARG002
        batch, states, sigmas = self._batch(step, micro_batch)
        draw = make_generator("init-states", step, micro_batch)
        index = torch.randint(len(sigmas), batch.target.shape[:2], generator=draw).to(self._device)
        if self._teacher_forced:
            return teacher_forced_trajectory_loss(self._network, batch, states, sigmas, index)
        given = Conditions.of(self._network, batch.context, batch.text, batch.layout)
        return trajectory_loss(self._network, states, sigmas, index, given)

    def _read(self, step: int, micro_batch: int) -> tuple[Batch, Tensor, Tensor]:
        batch, states, sigmas = self._trajectories.read(step * self._micro_batches + micro_batch)
        return batch.to(self._device), send(states, self._device).float(), sigmas.to(self._device)
