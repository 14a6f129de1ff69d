"""Stage `trajectories`: sampling trajectories of the teacher or of the base, stored at the student's noise levels.

The teacher denoises a shot whole (paper, section 3.3; reference, section 7). The base denoises it chunk by chunk after
its own clean chunks, as the student will: then the end of a chunk's trajectory depends on nothing that the student
does not see (Causal Forcing, arXiv 2602.02214).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.atomic_files import make_directory
from shotstream.core.errors import InputError
from shotstream.data.batches import Batch, load_batch, save_batch
from shotstream.data.latents import LatentPool, differing_topic
from shotstream.engine.bidirectional_rollout import bidirectional_velocity
from shotstream.engine.sampler import Latents, Predict, Sampler
from shotstream.model.config import ContextTimestep, SamplerConfig
from shotstream.model.schedule import TRAIN_TIMESTEPS
from shotstream.model.transformer import Transformer
from shotstream.train.config import Trajectories
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import StopRequest
from shotstream.train.rng import normal
from shotstream.train.rollout import roll_out, shot_inputs

STATES, IDENTITY_FILE = "states", "trajectories.json"


def kept_steps(num_steps: int, nominal: tuple[float, ...]) -> tuple[int, ...]:
    """Return the Euler steps at which the nominal timesteps are reached, and the last; published: 0, 13, 25, 37, 50."""
    return (*(round(num_steps * (1 - timestep / TRAIN_TIMESTEPS)) for timestep in nominal), num_steps)


@dataclass(frozen=True)
class StateRecorder(Sampler):
    """A sampler that keeps all states that its solver passes, from noise to clean, one chunk's after another's."""

    states: list[Latents] = field(default_factory=list, compare=False)

    def integrate(self, predict: Predict, x: Latents) -> Iterator[Latents]:
        for state in super().integrate(predict, x):
            self.states.append(state)
            yield state


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
            config: number of files, whose trajectories they are, Euler steps and guidance.
            student: whose noise levels are stored.
            context_timestep: the teacher's.
            begin: the file that `read(0)` returns.
        """
        self._directory, self._config, self._begin = make_directory(directory), config, begin
        self._kept = kept_steps(config.num_steps, student.steps)
        way = SamplerConfig("euler", (), config.num_steps, student.shift, config.guidance, "whole", context_timestep)
        self._sampler = StateRecorder.from_config(way)
        self.identity_file = directory / IDENTITY_FILE
        self.identity = {
            "sampler": [*self._sampler.sigmas, config.guidance, context_timestep],
            "kept": list(self._kept),
            "source": config.source,
        }

    @torch.no_grad()
    def make(
        self,
        network: Transformer,
        shots: LatentPool,
        distributed: DistributedContext,
        on_progress: Callable[[int], None],
        minutes: float | None = None,
    ) -> bool:
        """Generate the missing files, spread over the processes, and return whether all are done. SIGTERM stops it.

        Args:
            network: teacher or base, on the device of `distributed`.
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
                    states = self._states(network, batch, number, distributed)
                if turn < len(missing):
                    save_batch(self._path(number), batch, **{STATES: states.bfloat16()})
                on_progress(min(there + start + distributed.processes, self._config.batches))
        distributed.wait()
        return True

    def check_made(self) -> None:
        """Check that the files in the directory are the trajectories that the settings describe.

        Raises:
            InputError: there are none yet, or they have another source, other noise levels or another guidance.
        """
        if not self.identity_file.exists():
            raise InputError(f"{self._directory} has no trajectories yet; run 'shotstream train trajectories' first")
        if topic := differing_topic(self.identity_file, self.identity):
            raise InputError(
                f"{self._directory} was made with another {topic}; give the --preset and the --set that it was "
                "made with, or remove it"
            )

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

    def _states(
        self, network: Transformer, batch: Batch, number: int, distributed: DistributedContext
    ) -> Float[Tensor, "b k f c h w"]:
        noise, recorder = normal(batch.target, "trajectory", number), replace(self._sampler, states=[])
        if self._config.source == "teacher":
            recorder.denoise(bidirectional_velocity(network, shot_inputs(batch), recorder), lambda _: noise)
        else:
            inputs = replace(shot_inputs(batch), negative=torch.zeros_like(batch.text[:, :1]))
            chunks = noise.split(network.config.shot.chunk_latents, 1)
            roll_out(network, inputs, lambda chunk, _: chunks[chunk], recorder, distributed)
        each = self._config.num_steps + 1
        return torch.cat(
            [
                torch.stack([recorder.states[first + step] for step in self._kept], 1)
                for first in range(0, len(recorder.states), each)
            ],
            2,
        )

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:05d}.safetensors"
