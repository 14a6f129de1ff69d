"""How training runs: on which processes, in which precision, compiled or not. Networks know nothing of it.

Everything is PyTorch's own: `torchrun` starts the processes, FSDP2 (`fully_shard`) shares out weights, gradients and
optimisers, autocast or FSDP's policy does arithmetic in bfloat16. One process needs no launcher.
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
"""How many forms of a piece of a block may be compiled: with and without gradient, of one latent and of several."""


class DistributedContext:
    """The processes of one run and what they compute on. A process is `rank` of `processes`."""

    def __init__(self, device: torch.device, config: DistributedConfig | None = None) -> None:
        """Joins the processes that `torchrun` has started; without it there is one.

        Args:
            device: cpu or cuda; of several GPUs each process takes its own.
            config: precision, recomputation and compilation; None: the defaults.
        """
        self.config = config or DistributedConfig()
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
        """Whether this process is the one that speaks and writes what is written once."""
        return self.rank == 0

    def close(self) -> None:
        """Leaves the other processes."""
        if self.processes > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def own_parts(self, parts: int) -> range:
        """The parts of a step's batch that are this process's.

        Raises:
            InputError: they cannot be shared out evenly.
        """
        if parts % self.processes:
            raise InputError(f"expected loop.parts to be a multiple of the {self.processes} processes, got {parts}")
        return range(self.rank, parts, self.processes)

    def place(self, network: Transformer) -> None:
        """Moves a network that is trained to the device, and shares it out among the processes."""
        network.to(self.device)
        if self.device.type == "cpu":
            network.use(PRODUCTS)
        self._compile(network)
        if self.config.checkpoint_activations:
            for block in network.blocks:
                block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
        self._shard(network)

    def place_frozen(self, network: Transformer) -> None:
        """The same for one that stays as it is: it rests in the precision of the arithmetic."""
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
        for part in (*network.blocks, network):
            fully_shard(part, mesh=mesh, mp_policy=policy)
            register_fsdp_forward_method(part, "read_text")

    def ahead(self, read: Callable[[int, int], T]) -> Callable[[int, int], T]:
        """What reads a step's part; on CUDA the next step's are read while this one is computed.

        On a CPU there is nothing to gain: a second thread that computes would slow the first.
        """
        return PrefetchedIterator(read) if self.device.type == "cuda" else read

    def arithmetic(self) -> AbstractContextManager[None]:
        """The precision that forwards run in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def total(self, values: list[float]) -> list[float]:
        """Sums of figures over all processes."""
        if self.processes == 1:
            return values
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(summed)
        return summed.tolist()

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        return self.total([float(flag)])[0] > 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.processes > 1:
            dist.barrier()


class PrefetchedIterator(Generic[T]):
    """Reads a step's part; that of the next step is then read on a thread of its own."""

    def __init__(self, read: Callable[[int, int], T]) -> None:
        self._read, self._thread = read, ThreadPoolExecutor(1, "ahead")
        self._coming: dict[tuple[int, int], Future[T]] = {}

    def __call__(self, step: int, part: int) -> T:
        self._coming = {place: future for place, future in self._coming.items() if place[0] >= step}
        for place in ((step, part), (step + 1, part)):
            if place not in self._coming:
                self._coming[place] = self._thread.submit(self._read, *place)
        return self._coming[step, part].result()
