"""Stage `stage1`: distribution matching on self-forced shots, after ground-truth context (paper, section 3.3).

The generator rolls a shot out with the KV caches of inference. A critic learns the score of the generator's shots, and
the generator's gradient is the difference between the critic's score and the real one: the teacher's, of whole shots,
or the base's, of each chunk after the generator's chunks before it.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.data.latents import LatentPool
from shotstream.engine.causal_rollout import ShotInputs
from shotstream.engine.sampler import Sampler
from shotstream.model.config import SamplerConfig
from shotstream.model.schedule import shift_sigma
from shotstream.model.transformer import Transformer
from shotstream.train.config import DistillTraining
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import Stage
from shotstream.train.losses import (
    MAX_SCORE_SIGMA,
    MIN_SCORE_SIGMA,
    Conditions,
    distribution_matching_gradient,
    distribution_matching_loss,
    flow_matching_loss,
)
from shotstream.train.rng import make_generator, normal, random_index
from shotstream.train.rollout import roll_out, shot_inputs
from shotstream.train.state import TrainState
from shotstream.train.trained_network import TrainedNetwork

GENERATOR, CRITIC = "generator", "critic"


@dataclass(frozen=True)
class Networks:
    """The networks of distribution matching: the student, its fake score (critic), and the real score."""

    generator: Transformer
    critic: Transformer
    real: Transformer


class DistillStage(Stage):
    """Common base of both distillation stages: the rollout, and the losses of generator and critic."""

    name: str

    def __init__(
        self, networks: Networks, student: SamplerConfig, config: DistillTraining, distributed: DistributedContext
    ) -> None:
        self._networks, self._config, self._distributed = networks, config, distributed
        self._sampler = Sampler.from_config(student)
        steps = config.loop.steps
        self.state = TrainState(
            {
                GENERATOR: TrainedNetwork(networks.generator, config.generator, steps, bfloat16=distributed.bfloat16),
                CRITIC: TrainedNetwork(networks.critic, config.critic, steps, bfloat16=distributed.bfloat16),
            },
            config.loop.ema_decay,
        )

    def updates(self, step: int) -> Sequence[str]:
        """Return the critic at every step, and before it the generator at every `critic_updates`-th."""
        return (GENERATOR, CRITIC) if step % self._config.critic_updates == 0 else (CRITIC,)

    @abstractmethod
    def inputs(self, step: int, micro_batch: int) -> ShotInputs:
        """Return context, captions and layout of the shots of a micro-batch."""

    def loss(self, network: str, step: int, micro_batch: int) -> Tensor:
        inputs = self.inputs(step, micro_batch)
        if network == GENERATOR:
            return self._generator_loss(inputs, step, micro_batch)
        return self._critic_loss(inputs, step, micro_batch)

    def roll_out(
        self, inputs: ShotInputs, stop: int | None, *where: str | int, training: bool = False
    ) -> Float[Tensor, "b f c h w"]:
        """Roll out the generator's shots, and return the clean estimates of step `stop` (None: the last).

        `where` seeds the noise; `training`: gradient reaches all of the generator.
        """
        each = self._networks.generator.config.shot.chunk_latents
        chunk_like = inputs.context[:, :1].expand(-1, each, -1, -1, -1)

        def noise(chunk: int, step: int) -> Tensor:
            return normal(chunk_like, self.name, *where, chunk, step)

        generator, through = self._networks.generator, self._config.straight_through
        return roll_out(
            generator,
            inputs,
            noise,
            self._sampler,
            self._distributed,
            stop,
            straight_through=through,
            training=training,
        )

    def _generator_loss(self, inputs: ShotInputs, step: int, micro_batch: int) -> Float[Tensor, ""]:
        config, networks = self._config, self._networks
        stop = self._stop(GENERATOR, step)
        made = self.roll_out(inputs, stop, GENERATOR, step, micro_batch, training=True).float()
        gradient = distribution_matching_gradient(
            networks.real,
            networks.critic,
            made.detach(),
            normal(made, self.name, "score-noise", step, micro_batch),
            self._sigmas(made, "score", step, micro_batch),
            self._conditions(networks.real, inputs, inputs.text, made),
            self._conditions(networks.real, inputs, torch.zeros_like(inputs.text), made),
            config.guidance,
            config.context_timestep,
            config.guided,
        )
        return distribution_matching_loss(made, gradient)

    def _critic_loss(self, inputs: ShotInputs, step: int, micro_batch: int) -> Float[Tensor, ""]:
        with torch.no_grad():
            made = self.roll_out(inputs, self._stop(CRITIC, step), CRITIC, step, micro_batch).float()
        critic = self._networks.critic
        return flow_matching_loss(
            critic,
            made,
            normal(made, self.name, "critic-noise", step, micro_batch),
            self._sigmas(made, "critic", step, micro_batch),
            self._conditions(critic, inputs, inputs.text, made),
            context_timestep=self._config.context_timestep,
        )

    def _stop(self, network: str, step: int) -> int:
        """Draw the sampler's step at which all chunks of a rollout stop; the same for all micro-batches."""
        return random_index(len(self._sampler.sigmas), self.name, "stop", network, step)

    def _sigmas(self, made: Tensor, *where: str | int) -> Float[Tensor, "b"]:
        drawn = torch.rand(len(made), generator=make_generator(self.name, "levels", *where))
        shifted = shift_sigma(drawn, self._config.score_shift)
        return shifted.clamp(MIN_SCORE_SIGMA, MAX_SCORE_SIGMA).to(made.device)

    def _conditions(self, network: Transformer, inputs: ShotInputs, text: Tensor, made: Tensor) -> Conditions:
        """Return the conditions of a score of made shots: the base sees their chunks as history, a teacher none."""
        each = network.config.shot.chunk_latents
        history = made[:, :-each].detach() if self._config.real_score == "base" else None
        return Conditions.of(network, inputs.context, text, inputs.layout.joined, history)


class Stage1(DistillStage):
    """Intra-shot self-forcing: contexts, captions and lengths come from the pool of shots."""

    name = "stage1"

    def __init__(
        self,
        networks: Networks,
        shots: LatentPool,
        student: SamplerConfig,
        config: DistillTraining,
        distributed: DistributedContext,
    ) -> None:
        super().__init__(networks, student, config, distributed)
        self._batch = distributed.prefetch(lambda step, micro_batch: shots(step, micro_batch).to(distributed.device))

    def inputs(self, step: int, micro_batch: int) -> ShotInputs:
        return shot_inputs(self._batch(step, micro_batch))
