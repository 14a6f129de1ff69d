"""One shot part by part: how long each took, the work in it, and how near that is to what the device can do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from shotstream.bench.flops import OpCost, OpCosts, ShotCost, select_cost
from shotstream.bench.roofline import Roofline
from shotstream.bench.timing import ShotTiming
from shotstream.core.profiling import Span
from shotstream.core.spec import MAX_CHUNKS

VAE: tuple[Span, ...] = ("context", "decode", "transfer")
"""Parts that figures without the VAE leave out."""


@dataclass(frozen=True)
class SpanCost:
    """One part of a shot. `floor_s` is the least its work takes on the device; without work there is no efficiency."""

    seconds: float
    work: OpCost
    floor_s: float
    flop_per_s: float
    efficiency: float | None

    @classmethod
    def of(cls, seconds: float, work: OpCost, roofline: Roofline) -> "SpanCost":
        """From what was measured and what was counted; a part that did not run took no time."""
        floor_s = roofline.floor_s(work)
        ran = seconds > 0 and work.flop > 0
        return cls(seconds, work, floor_s, work.flop / seconds if ran else 0.0, floor_s / seconds if ran else None)


@dataclass(frozen=True)
class Floor:
    """The speed of a shot in which every part takes its least time, whole and in its last chunk with a full window."""

    fps: float
    full_window_fps: float | None


@dataclass(frozen=True)
class ShotBreakdown:
    """One shot part by part; what no part claims is `other_s`. Without VAE: without encoding, decoding and transfer."""

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
        """From a shot's timing, the seconds of every part time after time, and its work.

        `windowed`: it was made chunk by chunk, so that the last chunk of a full shot sees a full window.
        """
        seconds = {part: sum(calls.get(part, ())) for part in get_args(Span)}
        full = windowed and len(timing.frames) == MAX_CHUNKS
        return cls(
            {part: SpanCost.of(seconds[part], work.of(part), roofline) for part in seconds},
            timing.total_s - sum(seconds.values()),
            timing.total_s,
            sum(timing.frames) / (timing.total_s - sum(seconds[part] for part in VAE)),
            timing.frames[-1] / (calls["commit"][-1] + calls["denoise"][-1]) if full else None,
            Floor(
                sum(timing.frames) / sum(roofline.floor_s(part) for part in work.parts.values()),
                timing.frames[-1] / _floor_s(work.chunks[-1], roofline) if full else None,
            ),
        )


def _floor_s(chunk: OpCosts, roofline: Roofline) -> float:
    return sum(roofline.floor_s(select_cost(chunk, part)) for part in {part for part, _ in chunk})
