"""What a device can do at best: large matrix products and large copies, measured in a second."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from shotstream.bench.flops import OpCost
from shotstream.bench.machine import timed

MATMUL_SIDE = {"cuda": 8192}
COPY_BYTES = {"cuda": 2**30}
SMALL_SIDE, SMALL_BYTES = 1024, 2**26
"""For processors and other devices: beyond their caches, and still done in milliseconds."""
PROBE_S = 0.3


@dataclass(frozen=True)
class Roofline:
    """The roof of a roofline: operations a second of a square matrix product of `side`, and bytes a second of a copy.

    Both are the best of what was measured; a copied byte is read and written, which counts twice.
    """

    side: int
    flop_per_s: float
    bytes_per_s: float

    def floor_s(self, work: OpCost) -> float:
        """The least time that work takes on this device: arithmetic and memory traffic at once, both at their best."""
        return max(work.flop / self.flop_per_s, work.bytes / self.bytes_per_s)


def measure_roofline(device: torch.device, dtype: torch.dtype, seconds: float = PROBE_S) -> Roofline:
    """Measures a device for about twice `seconds`."""
    side, size = MATMUL_SIDE.get(device.type, SMALL_SIDE), COPY_BYTES.get(device.type, SMALL_BYTES)
    left, right, out = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(3))
    matmul_s = fastest_run_s(lambda: torch.mm(left, right, out=out), device, seconds)
    source = torch.zeros(size // dtype.itemsize, device=device, dtype=dtype)
    target = torch.zeros_like(source)
    copy_s = fastest_run_s(lambda: target.copy_(source), device, seconds)
    return Roofline(side, 2 * side**3 / matmul_s, 2 * size / copy_s)


def fastest_run_s(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    """The shortest of as many runs as fit into `seconds`, after one that does not count; at least one."""
    timed(run, device)
    best, until_s = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < until_s:
        best = min(best, timed(run, device)[1])
    return best
