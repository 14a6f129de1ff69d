"""Work out when chunks are shown: which of them an instruction can still change, and when the next one is due."""

from dataclasses import dataclass

from shotstream.core.spec import FPS
from shotstream.serve.packets import FrameKey

MAX_TIMED_CHUNKS = 64
"""Chunks that are remembered: more than any viewer is behind."""


@dataclass(frozen=True)
class TimedChunk:
    """A chunk on the playback clock: its first frame, how many it has, and from when on it is shown (seconds)."""

    first: FrameKey
    frames: int
    start_s: float
    end_s: float

    @property
    def last(self) -> FrameKey:
        """Return the key of its last frame."""
        return self.first._replace(frame=self.first.frame + self.frames - 1)

    def begun_at(self, key: FrameKey) -> bool:
        """Return whether part of the chunk has been shown if that frame of its shot has."""
        return key[:2] == self.first[:2] and self.first.frame <= key.frame


class PlaybackClock:
    """Shows each chunk as soon as it is made and the one before has ended, as a viewer does who never waits.

    Times are seconds on the monotonic clock.
    """

    def __init__(self) -> None:
        self._chunks: list[TimedChunk] = []

    def add(self, first: FrameKey, frames: int, now_s: float, *, shown: bool = False) -> None:
        """Add a chunk that was made now; `shown`: before the server was restarted it was shown already."""
        start_s = max([now_s, *(chunk.end_s for chunk in self._chunks[-1:])])
        end_s = start_s if shown else start_s + frames / FPS
        self._chunks = [*self._chunks[-MAX_TIMED_CHUNKS + 1 :], TimedChunk(first, frames, start_s, end_s)]

    def due_s(self, ahead: int) -> float:
        """Return the time (seconds) after which fewer than `ahead` chunks wait to be shown."""
        return self._chunks[-ahead].start_s if len(self._chunks) >= ahead else 0.0

    def shown(self, now_s: float) -> FrameKey | None:
        """Return the last frame that has been shown; None where none has."""
        begun = [chunk for chunk in self._chunks if chunk.start_s <= now_s]
        if not begun:
            return None
        chunk = begun[-1]
        frame = min(int((now_s - chunk.start_s) * FPS), chunk.frames - 1) if now_s < chunk.end_s else chunk.frames - 1
        return chunk.first._replace(frame=chunk.first.frame + frame)

    def unshown(self, shown: FrameKey | None) -> tuple[TimedChunk, ...]:
        """Return the chunks of which nothing has been shown where `shown` is the last frame that was."""
        begun = [number for number, chunk in enumerate(self._chunks) if shown and chunk.begun_at(shown)]
        return tuple(self._chunks[begun[-1] + 1 :] if begun else self._chunks)

    def showing(self, shown: FrameKey | None) -> TimedChunk | None:
        """Return the chunk that has that frame and others after it: it is on the screen."""
        begun = [chunk for chunk in self._chunks if shown and chunk.begun_at(shown)]
        return begun[-1] if begun and shown and shown < begun[-1].last else None

    def drop(self, chunks: int) -> None:
        """Forget the latest chunks."""
        del self._chunks[len(self._chunks) - chunks :]

    @property
    def last(self) -> FrameKey | None:
        """Return the key of the last frame."""
        return self._chunks[-1].last if self._chunks else None

    def clear(self) -> None:
        """Forget all chunks: what was made is not shown any more."""
        self._chunks = []
