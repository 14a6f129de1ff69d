"""Encode a video on a background thread, while the next frames are made."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from pathlib import Path

from shotstream.core.video import Frame, Frames, VideoWriter

WAITING = 4
"""Pieces that may wait to be encoded. A faster caller is held back, so that memory does not grow."""


class BackgroundVideoWriter:
    """A lossless video that is encoded as its frames come. It has its name once `finish` returns, and only then."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._writer: VideoWriter | None = None
        self._open = ExitStack()
        self._thread = ThreadPoolExecutor(1, "film")
        self._pieces: list[Future[None]] = []

    def add(self, frames: Frame | Frames) -> None:
        """Append frames, which must not change any more. `finish` raises what goes wrong with them."""
        wait(self._pieces[-WAITING : -WAITING + 1])
        self._pieces.append(self._thread.submit(self._encode, frames))

    def extend(self, pieces: Iterable[Frame | Frames]) -> "BackgroundVideoWriter":
        """Append frames piece by piece, and return the writer."""
        for piece in pieces:
            self.add(piece)
        return self

    def finish(self) -> int:
        """Wait until all is encoded and on disk, and return the number of frames.

        Raises:
            InputError: there was no frame, one did not fit, or the file cannot be written.
        """
        with self._thread, self._open:
            for piece in self._pieces:
                piece.result()
            return self._opened().frames

    def abandon(self) -> None:
        """Remove the file."""
        self._thread.shutdown(cancel_futures=True)
        with suppress(InterruptedError), self._open:
            raise InterruptedError

    def _encode(self, frames: Frame | Frames) -> None:
        self._opened().add(frames)

    def _opened(self) -> VideoWriter:
        if self._writer is None:
            self._writer = self._open.enter_context(VideoWriter(self._path, self._fps, lossless=True))
        return self._writer
