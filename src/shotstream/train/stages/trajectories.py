"""Stage `trajectories`: the teacher's sampling trajectories, stored at the student's noise levels (section 7)."""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.atomic_files import make_directory
from shotstream.core.errors import InputError
from shotstream.data.latents import Batch, LatentPool, load_batch, save_batch
from shotstream.engine.bidirectional_rollout import bidirectional_velocity
from shotstream.engine.sampler import Sampler
from shotstream.model.config import ContextTimestep, SamplerConfig
from shotstream.model.schedule import TRAIN_TIMESTEPS
from shotstream.model.transformer import Transformer
from shotstream.train.config import Trajectories
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import StopRequest
from shotstream.train.rng import normal
from shotstream.train.rollout import shot_inputs

STATES, IDENTITY_FILE = "states", "trajectories.json"


def kept_steps(num_steps: int, nominal: tuple[float, ...]) -> tuple[int, ...]:
    """Return the Euler steps at which the nominal timesteps are reached, and the last; published: 0, 13, 25, 37, 50."""
    return (*(round(num_steps * (1 - timestep / TRAIN_TIMESTEPS)) for timestep in nominal), num_steps)


class TrajectoryStore:
    """Trajectories on disk: one file for each file of the pool of shots."""

    def __init__(
        self,
        directory: Path,
        config: Trajectories,
        student: SamplerConfig,
        context_timestep: ContextTimestep,
        begin: int = 0,
    ) -> None:
        """Open the trajectories in `directory`.

        Args:
            directory: made if it is missing.
            config: number of files, Euler steps and guidance.
            student: whose noise levels are stored.
            context_timestep: the teacher's.
            begin: the file that `read(0)` returns.
        """
        self._directory, self._config, self._begin = make_directory(directory), config, begin
        self._kept = kept_steps(config.num_steps, student.steps)
        way = SamplerConfig("euler", (), config.num_steps, student.shift, config.guidance, "whole", context_timestep)
        self._sampler = Sampler.from_config(way)
        self.identity_file = directory / IDENTITY_FILE
        self.identity = {
            "sampler": [*self._sampler.sigmas, config.guidance, context_timestep],
            "kept": list(self._kept),
        }

    @torch.no_grad()
    def make(
        self,
        teacher: Transformer,
        shots: LatentPool,
        distributed: DistributedContext,
        on_progress: Callable[[int], None],
        minutes: float | None = None,
    ) -> bool:
        """Generate the missing files, spread over the processes, and return whether all are done. SIGTERM stops it.

        Args:
            teacher: on the device of `distributed`.
            shots: the pool whose contexts, captions and lengths are used.
            distributed: the processes.
            on_progress: called with the number of files done.
            minutes: stop after that long, to be continued later. None: no limit.
        """
        missing = [number for number in range(self._config.batches) if not self._path(number).exists()]
        there = self._config.batches - len(missing)
        distributed.wait()  # all have seen the same before anyone writes
        with StopRequest(minutes) as stop:
            for start in range(0, len(missing), distributed.processes):
                if distributed.any(stop.asked):
                    return False
                turn = start + distributed.rank
                number = missing[min(turn, len(missing) - 1)]  # a sharded network runs in all processes or in none
                batch = shots.read_file(number).to(distributed.device)
                with distributed.autocast():
                    states = self._states(teacher, batch, number)
                if turn < len(missing):
                    save_batch(self._path(number), batch, **{STATES: states.bfloat16()})
                on_progress(min(there + start + distributed.processes, self._config.batches))
        distributed.wait()
        return True

    def read(self, number: int) -> tuple[Batch, Float[Tensor, "b k f c h w"], Float[Tensor, "k"]]:
        """Read a batch, the stored states of its trajectories, and their noise levels. The first file follows the last.

        Raises:
            InputError: the file is missing.
        """
        path = self._path((number + self._begin) % self._config.batches)
        if not path.exists():
            raise InputError(f"{path} is missing; run 'shotstream train trajectories' to its end first")
        batch, more = load_batch(path)
        return batch, more[STATES], torch.tensor([self._sampler.sigmas[step] for step in self._kept])

    def _states(self, teacher: Transformer, batch: Batch, number: int) -> Float[Tensor, "b k f c h w"]:
        predict = bidirectional_velocity(teacher, shot_inputs(batch), self._sampler)
        states = self._sampler.integrate(predict, normal(batch.target, "trajectory", number))
        return torch.stack([state for step, state in enumerate(states) if step in self._kept], 1)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:05d}.safetensors"
