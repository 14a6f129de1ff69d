"""Stage `init` without trajectories: the student predicts in one forward what the guided base predicts in two.

The base's few-step sampler is guided at its highest noise levels only, and needs a second forward there. The student
learns the sum (Meng et al. 2023, On Distillation of Guided Diffusion Models), at its own noise levels.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.data.latents import LatentPool
from shotstream.engine.sampler import Sampler
from shotstream.model.config import SamplerConfig
from shotstream.model.schedule import add_noise, clean_from_velocity
from shotstream.model.transformer import Transformer
from shotstream.model.velocity import Conditions, predict_teacher_forced_velocity
from shotstream.train.config import BaseTraining, InitTraining
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import NETWORK, Stage
from shotstream.train.losses import subject_weights
from shotstream.train.rng import make_generator, normal
from shotstream.train.state import TrainState
from shotstream.train.trained_network import TrainedNetwork


class GuidedInitStage(Stage):
    """Regression on the guided clean estimates of the base, after clean chunks with a little noise."""

    def __init__(
        self,
        network: Transformer,
        base: Transformer,
        shots: LatentPool,
        guided: SamplerConfig,
        student: SamplerConfig,
        config: InitTraining,
        base_config: BaseTraining,
        distributed: DistributedContext,
    ) -> None:
        """Train `network` on the predictions of `base`.

        Args:
            network: the student.
            base: frozen.
            shots: contexts, captions and clean shots.
            guided: the base's sampler, whose guidance is learnt.
            student: the student's sampler, at whose levels it is learnt.
            config: length and optimiser.
            base_config: noise on the history, weight of the subject and copies of the noise, as in the base stage.
            distributed: the processes.
        """
        self._network, self._base, self._guided, self._base_config = network, base, guided, base_config
        self._sigmas = torch.tensor(Sampler.from_config(student).sigmas)
        self._batch = distributed.prefetch(lambda step, micro_batch: shots(step, micro_batch).to(distributed.device))
        trained = TrainedNetwork(network, config.optimizer, config.loop.steps, bfloat16=distributed.bfloat16)
        self.state = TrainState({NETWORK: trained}, config.loop.ema_decay)

    def loss(self, network: str, step: int, micro_batch: int) -> Tensor:  # noqa: ARG002
        batch, config = self._batch(step, micro_batch), self._base_config
        chunk, copies = self._network.config.shot.chunk_latents, config.noise_copies
        target = batch.target.repeat(1, copies, 1, 1, 1)
        draw = make_generator("guided-init", step, micro_batch)
        index = torch.randint(len(self._sigmas), (len(target), target.shape[1] // chunk), generator=draw)
        sigmas = self._sigmas[index].repeat_interleave(chunk, 1).to(target)
        noisy = add_noise(target, normal(target, "guided-init-noise", step, micro_batch), sigmas)
        past = batch.target[:, :-chunk]
        levels = config.history_noise * torch.rand(len(past), past.shape[1] // chunk, generator=draw)
        history = add_noise(
            past, normal(past, "guided-init-history", step, micro_batch), levels.repeat_interleave(chunk, 1).to(past)
        )

        def clean(of: Transformer, text: Tensor) -> Tensor:
            given = Conditions.of(of, batch.context, text, batch.layout, history, copies)
            return clean_from_velocity(noisy, predict_teacher_forced_velocity(of, noisy, sigmas, given).float(), sigmas)

        with torch.no_grad():
            conditional, unconditional = clean(self._base, batch.text), clean(self._base, torch.zeros_like(batch.text))
            wanted = conditional + self._scale(sigmas) * (conditional - unconditional)
        error = (clean(self._network, batch.text) - wanted).square().mean(2)
        places = subject_weights(batch.subjects, config.subject_weight)
        return (error if places is None else error * places.repeat(1, copies, 1, 1)).mean()

    def _scale(self, sigmas: Float[Tensor, "b f"]) -> Float[Tensor, "b f 1 1 1"]:
        """Return how much guidance adds at each latent's noise level."""
        low, high = self._guided.guided
        inside = ((sigmas >= low) & (sigmas <= high)).to(sigmas)
        return ((self._guided.guidance - 1) * inside)[..., None, None, None]
