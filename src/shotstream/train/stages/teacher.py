"""The bidirectional next-shot teacher: every latent of context and target sees every other (paper, section 3.1)."""

import torch
from torch import Tensor

from shotstream.data.latents import LatentPool
from shotstream.model.schedule import TRAIN_TIMESTEPS, training_sigmas, training_weights
from shotstream.model.transformer import Transformer
from shotstream.train.checkpoint import Trained, TrainState
from shotstream.train.config import TeacherTraining
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import NETWORK, Stage
from shotstream.train.losses import Conditions, flow_matching_loss
from shotstream.train.rng import drop_text, generator, normal


class TeacherStage(Stage):
    """Flow matching on the next shot, all of it at one noise level, with the context clean beside it."""

    def __init__(
        self, network: Transformer, shots: LatentPool, config: TeacherTraining, execution: DistributedContext
    ) -> None:
        self._network, self._config, self._device = network, config, execution.device
        self._batch = execution.ahead(lambda step, part: shots(step, part).to(execution.device))
        self._sigmas = training_sigmas(config.shift)
        self._weights = training_weights(self._sigmas)
        trained = Trained(network, config.optimizer, config.loop.steps, bfloat16=execution.bfloat16)
        self.state = TrainState({NETWORK: trained}, config.loop.ema_decay)

    def loss(self, network: str, step: int, part: int) -> Tensor:  # noqa: ARG002
        config, batch = self._config, self._batch(step, part)
        text = drop_text(batch.text, config.no_text_share, "teacher-text", step, part)
        levels = generator("teacher-levels", step, part)
        index = torch.randint(len(self._sigmas), (len(batch.target),), generator=levels)
        timestep, weight = (values[index].to(self._device) for values in (self._sigmas, self._weights))
        return flow_matching_loss(
            self._network,
            batch.target,
            normal(batch.target, "teacher-noise", step, part),
            timestep * TRAIN_TIMESTEPS,
            Conditions.of(self._network, batch.context, text, batch.layout),
            weight,
            config.context_timestep,
        )


def choose_trained(network: Transformer, trained: str) -> None:
    """Lets gradient into the self-attention layers only (`attention`, the paper's choice), or into all weights.

    What the context enters by is trained in either case: new channels, and a learned indicator.
    """
    injected = {"patch_embedding"} if network.config.injection == "channel" else set()
    for name, parameter in network.named_parameters():
        own = ".self_attn." in name or name.split(".")[0] in {"shot_embedding", *injected}
        parameter.requires_grad_(trained == "all" or own)
