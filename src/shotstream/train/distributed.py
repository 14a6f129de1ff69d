"""Processes, sharding, precision and compilation of training. The networks know nothing of them.

`torchrun` starts the processes, FSDP2 (`fully_shard`) shards weights, gradients and optimisers, autocast or FSDP's
mixed-precision policy computes in bfloat16. One process needs no launcher.
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.utils.checkpoint import checkpoint

from shotstream.core.errors import InputError
from shotstream.model.attention_kernels import PRODUCTS
from shotstream.model.device import has_fast_bfloat16
from shotstream.model.transformer import Transformer
from shotstream.runtime.compile import compile_blocks
from shotstream.train.config import DistributedConfig

T = TypeVar("T")
COMPILED_FORMS = 32
"""Limit of recompilations of one function: with and without gradient, of one latent and of several."""


class DistributedContext:
    """One process of a run: its `rank` of `processes`, its device, and its precision."""

    def __init__(self, device: torch.device, config: DistributedConfig) -> None:
        """Join the processes that `torchrun` has started; without it there is one.

        Args:
            device: cpu or cuda; of several GPUs each process takes its own.
            config: precision, activation checkpointing and compilation, of the preset: a run that goes on in another
                precision does not repeat the numbers of an uninterrupted one.
        """
        self.config = config
        self.rank, self.processes = 0, 1
        if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
            self.rank, self.processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
            if device.type == "cuda":
                device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
                torch.cuda.set_device(device)
        self.device = device
        if self.processes > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        precision = self.config.precision
        self.bfloat16 = precision == "bfloat16" or (precision == "auto" and has_fast_bfloat16(device))

    @property
    def main(self) -> bool:
        """Return whether this process is the one that prints, and writes what is written once."""
        return self.rank == 0

    def close(self) -> None:
        """Leave the process group."""
        if self.processes > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def own_micro_batches(self, micro_batches: int) -> range:
        """Return the numbers of the micro-batches that this process computes.

        Raises:
            InputError: they cannot be shared out evenly.
        """
        if micro_batches % self.processes:
            raise InputError(
                f"expected loop.micro_batches to be a multiple of the {self.processes} processes, got {micro_batches}; "
                "set it to such a number"
            )
        return range(self.rank, micro_batches, self.processes)

    def place(self, network: Transformer) -> None:
        """Move a network that is trained to the device, compile it if asked, and shard it over the processes."""
        network.to(self.device)
        if self.device.type == "cpu":
            network.use(PRODUCTS)
        self._compile(network)
        if self.config.checkpoint_activations:
            for block in network.blocks:
                block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
        self._shard(network)

    def place_frozen(self, network: Transformer) -> None:
        """Do the same for a network that is not trained; its weights are kept in the precision of the arithmetic."""
        network.eval().requires_grad_(False).to(self.device, torch.bfloat16 if self.bfloat16 else None)
        self._compile(network)
        self._shard(network)

    def _compile(self, network: Transformer) -> None:
        if self.config.compile:
            torch._dynamo.config.recompile_limit = COMPILED_FORMS
            compile_blocks(network, dynamic=True)

    def _shard(self, network: Transformer) -> None:
        if self.processes == 1:
            return
        mesh = init_device_mesh(self.device.type, (self.processes,))
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if self.bfloat16 else MixedPrecisionPolicy()
        for module in (*network.blocks, network):
            fully_shard(module, mesh=mesh, mp_policy=policy)
            register_fsdp_forward_method(module, "project_text")

    def prefetch(self, read: Callable[[int, int], T]) -> Callable[[int, int], T]:
        """Wrap a reader of micro-batches; on CUDA it reads the next step's while this one is computed.

        On a CPU it is returned as it is: a second thread that computes would slow the first.
        """
        return PrefetchingReader(read) if self.device.type == "cuda" else read

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context in which forward passes run in the precision of the run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def sum(self, values: list[float]) -> list[float]:
        """Sum numbers over all processes."""
        if self.processes == 1:
            return values
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(summed)
        return summed.tolist()

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        return self.sum([float(flag)])[0] > 0

    def wait(self) -> None:
        """Wait until all processes call this."""
        if self.processes > 1:
            dist.barrier()


class PrefetchingReader(Generic[T]):
    """Reader of micro-batches that reads the next step's on a thread of its own."""

    def __init__(self, read: Callable[[int, int], T]) -> None:
        self._read, self._thread = read, ThreadPoolExecutor(1, "ahead")
        self._coming: dict[tuple[int, int], Future[T]] = {}

    def __call__(self, step: int, micro_batch: int) -> T:
        self._coming = {place: future for place, future in self._coming.items() if place[0] >= step}
        for place in ((step, micro_batch), (step + 1, micro_batch)):
            if place not in self._coming:
                self._coming[place] = self._thread.submit(self._read, *place)
        return self._coming[step, micro_batch].result()
