"""Arrival times of a shot's chunks, and the speeds and stalls computed from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shotstream.core.spec import FPS, PAPER_SHOT


@dataclass(frozen=True)
class ShotTiming:
    """The timing of one shot, in seconds from the request for it.

    `arrivals_s` and `frames` say when each chunk was handed over and how many frames it had; `total_s` is when the shot
    was finished and written into the story's history.
    """

    arrivals_s: tuple[float, ...]
    frames: tuple[int, ...]
    total_s: float
    longest: int = PAPER_SHOT.max_chunks

    @property
    def full(self) -> bool:
        """Return whether the shot is as long as shots in training, so that its last chunk sees a full window."""
        return len(self.frames) == self.longest

    @property
    def fps(self) -> float:
        """Return the frames per second of the whole shot."""
        return sum(self.frames) / self.total_s

    @property
    def steady_fps(self) -> float | None:
        """Return the frames per second after the first chunk; None for a shot of one chunk."""
        if len(self.frames) < 2:
            return None
        return sum(self.frames[1:]) / (self.arrivals_s[-1] - self.arrivals_s[0])

    @property
    def full_window_fps(self) -> float | None:
        """Return the frames per second of the last chunk of a shot of full length, which is the slowest.

        None for a shorter shot, where no chunk sees a full window.
        """
        return self.frames[-1] / self.gaps_s[-1] if self.full else None

    @property
    def first_frames_s(self) -> float:
        """Return the seconds from the request to the first frames."""
        return self.arrivals_s[0]

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """Return the seconds between each chunk and the next."""
        return tuple(later - sooner for sooner, later in zip(self.arrivals_s, self.arrivals_s[1:], strict=False))


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of several measurements."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """Return the spread of values; None without values."""
        return cls(float(np.median(values)), min(values), max(values)) if values else None


@dataclass(frozen=True)
class Percentiles:
    """Percentiles of the gaps between chunks, in seconds; `by_chunk` is the median gap before chunk 1, 2, ...

    Gaps grow with the window, so that `p99_over_p50` is above 1 even where every shot takes the same time.
    """

    p50: float
    p95: float
    p99: float
    p99_over_p50: float
    by_chunk: tuple[float, ...]

    @classmethod
    def of(cls, timings: Sequence[ShotTiming]) -> "Percentiles | None":
        """Return percentiles over all gaps of shots of equal length; None for shots of one chunk."""
        gaps = np.array([timing.gaps_s for timing in timings])
        if not gaps.size:
            return None
        p50, p95, p99 = (float(np.percentile(gaps, share)) for share in (50, 95, 99))
        return cls(p50, p95, p99, p99 / p50, tuple(np.median(gaps, axis=0).tolist()))


@dataclass(frozen=True)
class Viewing:
    """Stalls for a viewer who watches at 16 frames a second from the first frames on, shot after shot."""

    stalls: int
    stalled_s: float

    @classmethod
    def of(cls, timings: Sequence[ShotTiming], fps: float = FPS) -> "Viewing":
        """Count the chunks that arrive after all earlier frames were shown (a stall: the picture waits)."""
        stalls, stalled_s, asked_s, shown_until_s = 0, 0.0, 0.0, timings[0].first_frames_s
        for timing in timings:
            for arrival_s, frames in zip(timing.arrivals_s, timing.frames, strict=True):
                late_s = asked_s + arrival_s - shown_until_s
                if late_s > 0:
                    stalls, stalled_s = stalls + 1, stalled_s + late_s
                shown_until_s = max(shown_until_s, asked_s + arrival_s) + frames / fps
            asked_s += timing.total_s
        return cls(stalls, stalled_s)
