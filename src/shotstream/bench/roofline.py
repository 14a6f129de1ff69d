"""Measure what a device can do at best, and how near each span of a shot comes to it (a roofline model)."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import torch

from shotstream.bench.flops import OpCost, OpCosts, ShotCost, select_cost
from shotstream.bench.machine import timed
from shotstream.bench.timing import ShotTiming
from shotstream.core.profiling import Span

MATMUL_SIDE = {"cuda": 8192}
COPY_BYTES = {"cuda": 2**30}
SMALL_SIDE, SMALL_BYTES = 1024, 2**26
"""Sizes for processors and other devices: larger than their caches, and still done in milliseconds."""
MEASURE_S = 0.3
VAE_SPANS: tuple[Span, ...] = ("context", "decode", "transfer")
"""Spans that the speed without the VAE leaves out."""


@dataclass(frozen=True)
class Roofline:
    """The best speeds measured on a device: FLOP/s of a square matrix product of `side`, and bytes/s of a copy.

    A copied byte is read and written, so it counts twice.
    """

    side: int
    flop_per_s: float
    bytes_per_s: float

    def floor_s(self, cost: OpCost) -> float:
        """Return the least seconds that a cost takes here, with arithmetic and memory traffic overlapped."""
        return max(cost.flop / self.flop_per_s, cost.bytes / self.bytes_per_s)


def measure_roofline(device: torch.device, dtype: torch.dtype, seconds: float = MEASURE_S) -> Roofline:
    """Measure the roofline of a device in about twice `seconds`."""
    side, size = MATMUL_SIDE.get(device.type, SMALL_SIDE), COPY_BYTES.get(device.type, SMALL_BYTES)
    left, right, out = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(3))
    matmul_s = fastest_run_s(lambda: torch.mm(left, right, out=out), device, seconds)
    source = torch.zeros(size // dtype.itemsize, device=device, dtype=dtype)
    target = torch.zeros_like(source)
    copy_s = fastest_run_s(lambda: target.copy_(source), device, seconds)
    return Roofline(side, 2 * side**3 / matmul_s, 2 * size / copy_s)


def fastest_run_s(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Return the shortest time of as many runs as fit into `seconds` (at least one), after an uncounted first run."""
    timed(run, device)
    best, until_s = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < until_s:
        best = min(best, timed(run, device)[1])
    return best


@dataclass(frozen=True)
class SpanCost:
    """One span of a shot: its time, its operations, and the least seconds they take on the device (`floor_s`).

    `efficiency` is floor over time; None for a span without operations.
    """

    seconds: float
    work: OpCost
    floor_s: float
    flop_per_s: float
    efficiency: float | None

    @classmethod
    def of(cls, seconds: float, work: OpCost, roofline: Roofline) -> "SpanCost":
        """Return the span from its measured seconds (0: it did not run) and its counted operations."""
        floor_s = roofline.floor_s(work)
        ran = seconds > 0 and work.flop > 0
        return cls(seconds, work, floor_s, work.flop / seconds if ran else 0.0, floor_s / seconds if ran else None)


@dataclass(frozen=True)
class Floor:
    """FPS of a shot whose spans all take their least time: of the whole shot, and of its last chunk."""

    fps: float
    full_window_fps: float | None


@dataclass(frozen=True)
class ShotBreakdown:
    """One shot, span by span. `other_s` is time outside every span; `_without_vae` leaves `VAE_SPANS` out."""

    parts: Mapping[Span, SpanCost]
    other_s: float
    total_s: float
    fps_without_vae: float
    full_window_fps_without_vae: float | None
    floor: Floor

    @classmethod
    def of(
        cls,
        timing: ShotTiming,
        calls: Mapping[Span, Sequence[float]],
        work: ShotCost,
        roofline: Roofline,
        *,
        windowed: bool,
    ) -> "ShotBreakdown":
        """Return the breakdown of a timed shot.

        Args:
            timing: when its chunks came.
            calls: seconds of every call of a span.
            work: its counted operations.
            roofline: of the device.
            windowed: whether it was made chunk by chunk, so that the last chunk of a full shot sees a full window.
        """
        seconds = {span: sum(calls.get(span, ())) for span in get_args(Span)}
        full = windowed and timing.full
        return cls(
            {span: SpanCost.of(seconds[span], work.of(span), roofline) for span in seconds},
            timing.total_s - sum(seconds.values()),
            timing.total_s,
            sum(timing.frames) / (timing.total_s - sum(seconds[span] for span in VAE_SPANS)),
            timing.frames[-1] / (calls["commit"][-1] + calls["denoise"][-1]) if full else None,
            Floor(
                sum(timing.frames) / sum(roofline.floor_s(cost) for cost in work.parts.values()),
                timing.frames[-1] / _floor_s(work.chunks[-1], roofline) if full else None,
            ),
        )


def _floor_s(chunk: OpCosts, roofline: Roofline) -> float:
    return sum(roofline.floor_s(select_cost(chunk, span)) for span in {span for span, _ in chunk})
