"""Trains a tiny network in a child process that is killed at random moments, and once in peace.

Called with a directory and a number of kills; the runs are `killed` and `whole` under it. Prints a line of JSON a kill:
the last step that was begun, and the step of the checkpoint that is read afterwards.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from shotstream.train.checkpoint import find_checkpoints
from shotstream.train.config import DistributedConfig, LoopConfig, OptimizerConfig
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import NETWORK, Stage, train
from shotstream.train.metrics_log import MetricsLog
from shotstream.train.state import TrainState
from shotstream.train.trained_network import TrainedNetwork

STEPS = 1000
EXECUTION = DistributedContext(torch.device("cpu"), DistributedConfig(precision="float32"))


class Line(Stage):
    """A linear map that tells through a pipe which step it begins."""

    def __init__(self, pipe: int | None = None) -> None:
        torch.manual_seed(0)
        self._network, self._pipe = nn.Linear(4, 2), pipe
        self.state = TrainState({NETWORK: TrainedNetwork(self._network, OptimizerConfig(lr=1e-2), STEPS)}, 0.9)

    def loss(self, network: str, step: int, micro_batch: int) -> Tensor:  # noqa: ARG002
        if self._pipe is not None:
            os.write(self._pipe, f"{step}\n".encode())
        data = torch.randn(3, 4, generator=torch.Generator().manual_seed(step))
        return self._network(data).square().mean()


def run(line: Line, directory: Path, save_every_s: float) -> None:
    """Trains to the end; with `save_every_s` 0 saving is most of the time."""
    config = LoopConfig(STEPS, save_every_s=save_every_s, keep_checkpoints=2)
    train(line, directory, config, EXECUTION, MetricsLog(directory, lambda *_: None))


def kill_once(directory: Path, delay_s: float) -> dict[str, int]:
    """Lets a child begin a step, kills it `delay_s` later, and reads what it left."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        run(Line(writing), directory, save_every_s=0.0)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        begun = [int(told.readline())]
        time.sleep(delay_s)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        begun += [int(line) for line in told]
    line = Line()
    line.state.load(find_checkpoints(directory)[-1], range(1))
    return {"begun": begun[-1], "read": line.state.step}


if __name__ == "__main__":
    torch.set_num_threads(1)
    base, moments = Path(sys.argv[1]), random.Random(0)
    for _ in range(int(sys.argv[2])):
        sys.stdout.write(json.dumps(kill_once(base / "killed", moments.uniform(0, 0.1))) + "\n")
    for name in ("killed", "whole"):
        run(Line(), base / name, save_every_s=1000.0)
