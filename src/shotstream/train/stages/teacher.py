"""Stage `teacher`: the bidirectional next-shot teacher, with full attention over context and target (section 3.1)."""

import torch
from torch import Tensor

from shotstream.data.latents import LatentPool
from shotstream.model.schedule import training_sigmas, training_weights
from shotstream.model.transformer import Transformer
from shotstream.train.config import TeacherTraining
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import NETWORK, Stage
from shotstream.train.losses import Conditions, flow_matching_loss, subject_weights
from shotstream.train.rng import drop_text, make_generator, normal
from shotstream.train.state import TrainState
from shotstream.train.trained_network import TrainedNetwork


class TeacherStage(Stage):
    """Flow matching on the next shot at one noise level, with clean context."""

    def __init__(
        self, network: Transformer, shots: LatentPool, config: TeacherTraining, distributed: DistributedContext
    ) -> None:
        self._network, self._config, self._device = network, config, distributed.device
        self._batch = distributed.prefetch(lambda step, micro_batch: shots(step, micro_batch).to(distributed.device))
        self._sigmas = training_sigmas(config.shift)
        self._weights = training_weights(self._sigmas)
        trained = TrainedNetwork(network, config.optimizer, config.loop.steps, bfloat16=distributed.bfloat16)
        self.state = TrainState({NETWORK: trained}, config.loop.ema_decay)

    def loss(self, network: str, step: int, micro_batch: int) -> Tensor:  # noqa: ARG002
        config, batch = self._config, self._batch(step, micro_batch)
        text = drop_text(batch.text, config.no_text_share, "teacher-text", step, micro_batch)
        levels = make_generator("teacher-levels", step, micro_batch)
        index = torch.randint(len(self._sigmas), (len(batch.target),), generator=levels)
        sigma, weight = (values[index].to(self._device) for values in (self._sigmas, self._weights))
        return flow_matching_loss(
            self._network,
            batch.target,
            normal(batch.target, "teacher-noise", step, micro_batch),
            sigma,
            Conditions.of(self._network, batch.context, text, batch.layout),
            weight,
            config.context_timestep,
            subject_weights(batch.subjects, config.subject_weight),
        )


def choose_trained(network: Transformer, trained: str) -> None:
    """Choose the weights that are trained: "attention" (the paper's), the self-attention layers only, or "all".

    The layers through which the context enters (new channels, a learned indicator) are trained in either case.
    """
    injected = {"patch_embedding"} if network.config.injection == "channel" else set()
    for name, parameter in network.named_parameters():
        own = ".self_attn." in name or name.split(".")[0] in {"shot_embedding", *injected}
        parameter.requires_grad_(trained == "all" or own)
