"""Runs several `shotstream` commands one after another, in each of the processes that torchrun starts."""

import json
import sys

import torch

from shotstream.cli import main
from shotstream.train.config import DistributedConfig
from shotstream.train.distributed import DistributedContext

if __name__ == "__main__":  # and not again in the processes that these start to draw samples
    torch.set_num_threads(1)
    leave = DistributedContext.close
    DistributedContext.close = lambda _: None  # they meet once, and stay together for all commands
    codes = [main(command) for command in json.loads(sys.argv[1])]
    leave(DistributedContext(torch.device("cpu"), DistributedConfig()))
    sys.exit(max(codes))
