"""Measure time by component: the engine names its spans, and a clock adds up their seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, Protocol, runtime_checkable

Span = Literal["text", "context", "prefill", "denoise", "commit", "decode", "transfer", "history"]
"""Parts of the time that a shot takes: encoding captions, encoding the remembered frames, the clean pass over them, the
denoising steps, the clean passes over finished chunks, latents to pixels, pixels to frames on the host, and writing
the finished shot."""

_NOTHING: AbstractContextManager[None] = nullcontext()


@runtime_checkable
class Clock(Protocol):
    """Interface of what times spans: `with clock("decode"): ...`. Spans do not contain each other."""

    def __call__(self, part: Span) -> AbstractContextManager[None]: ...


def no_profiler(part: Span) -> AbstractContextManager[None]:  # noqa: ARG001 (the form of a clock)
    """Measure nothing: the default clock, which costs nothing."""
    return _NOTHING


class SpanProfiler:
    """Records the seconds of every call of each span while `running` is true."""

    def __init__(self, synchronise: Callable[[], None] | None = None) -> None:
        """`synchronise` waits for the device; it is called at both ends of a part. None: work is done when it returns.

        Waiting keeps the host from running ahead of the device, so parts are to be timed apart from the whole.
        """
        self._synchronise = synchronise or (lambda: None)
        self._inside = False
        self.running = True
        self.calls: dict[Span, list[float]] = {}

    @property
    def seconds(self) -> dict[Span, float]:
        """Total seconds of every span that ran."""
        return {part: sum(calls) for part, calls in self.calls.items()}

    def __call__(self, part: Span) -> AbstractContextManager[None]:
        return self._measure(part) if self.running else _NOTHING

    @contextmanager
    def _measure(self, part: Span) -> Iterator[None]:
        assert not self._inside, f"part '{part}' inside another"
        self._inside = True
        self._synchronise()
        started_s = time.perf_counter()
        try:
            yield
        finally:
            self._synchronise()
            self.calls.setdefault(part, []).append(time.perf_counter() - started_s)
            self._inside = False
