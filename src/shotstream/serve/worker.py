"""The one thread that owns the model. Stories take turns on it, chunk by chunk.

The model is opened on it, too: OpenMP gives every thread that computes a team of its own, and where two teams have more
members than there are cores, both become half as fast.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shotstream.api import Model
from shotstream.serve.commands import AnyCommand, MakeShot, QueueShots, SteerShot
from shotstream.serve.errors import RequestError, code_of, message_of
from shotstream.serve.limits import Limits
from shotstream.serve.messages import Note, Problem
from shotstream.serve.news import FinishedTake, Publish
from shotstream.serve.packets import FrameKey
from shotstream.serve.session import Session
from shotstream.serve.store import Store

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass
class Tally:
    """Counts of a worker's work since it began."""

    chunks: int = 0
    frames: int = 0
    busy_s: float = 0.0
    shots: int = 0
    failures: int = 0


@dataclass
class _Turn:
    session: Session
    publish: Publish
    last: int = 0


@dataclass(frozen=True)
class _Job:
    work: Callable[[], Any]
    result: "Future[Any]" = field(default_factory=Future)


class Worker:
    """Runs sessions. Its methods may be called from any thread; what they return is a future.

    Between two chunks it carries out every command that has come; then the story whose turn is longest ago has its next
    chunk made, if one is wanted. Where none is, something is read ahead: a caption that is being written, and what the
    next shot of a story at rest will remember; unless that would be likely to make the next chunk late.
    """

    def __init__(self, open_model: Callable[[], Model], store: Store, limits: Limits) -> None:
        """Start the thread, which first opens the model; `opened` then holds it, or the error."""
        self.tally = Tally()
        self.opened: Future[Model] = Future()
        self._open_model = open_model
        self._store, self._limits = store, limits
        self._inbox: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._turns: dict[str, _Turn] = {}
        self._drafts: dict[str, str] = {}
        self._count, self._reading_s = 0, 0.0
        self._thread = threading.Thread(target=self._run, name="shotstream-worker")
        self._thread.start()

    @property
    def pending(self) -> int:
        """Return the number of commands that wait."""
        return self._inbox.qsize()

    def open(self, story: str, publish: Publish) -> "Future[None]":
        """Open a story; `publish` gets its state, and from then on all its news."""
        return self._submit(lambda: self._open(story, publish))

    def apply(self, story: str, command: AnyCommand) -> "Future[list[Note]]":
        """Carry out a command in an open story; the result is what its sender should know (`Session.apply`).

        What it changes is published before the result is there.
        """
        if isinstance(command, MakeShot | QueueShots | SteerShot):
            self._drafts.pop(story, None)  # what was being written has been said
        return self._submit(lambda: self._session(story).apply(command))

    def draft(self, story: str, text: str) -> None:
        """Have a caption that is being written encoded ahead; it replaces an earlier one not yet encoded.

        Drafts are not counted among the commands that wait.
        """
        self._drafts[story] = text
        if self._inbox.empty():
            self._submit(lambda: None)  # wakes a thread that waits for commands

    def finished_after(self, story: str, place: FrameKey) -> "Future[list[FinishedTake]]":
        """Return the finished frames of an open story after a frame, as `Session.finished_after` does."""
        return self._submit(lambda: self._session(story).finished_after(place))

    def close_story(self, story: str) -> "Future[None]":
        """Close a story, if it is open; this is accepted however many commands wait."""
        return self._submit(lambda: self._close(story), always=True)

    def stop(self) -> None:
        """Stop the thread after the chunk in work, and wait for it."""
        self._inbox.put(None)
        self._thread.join()

    def _submit(self, work: Callable[[], T], *, always: bool = False) -> "Future[T]":
        """Have work done on the thread; `always`: however many commands wait."""
        if self.pending >= self._limits.pending_commands and not always:
            raise RequestError("busy", "too many commands wait already; try again in a moment")
        job = _Job(work)
        self._inbox.put(job)
        return job.result

    def _run(self) -> None:
        try:
            self._model = self._open_model()
        except Exception as error:  # raised to the callers that wait for the model
            self.opened.set_exception(error)
            return
        self.opened.set_result(self._model)
        while self._work_off(self._wait_s()):
            turn = self._next_turn()
            if turn is not None:
                self._step(*turn)
            elif ahead := self._next_ahead():
                self._prepare(*ahead)
        for story in list(self._turns):
            self._close(story)

    def _work_off(self, wait_s: float | None) -> bool:
        """Carry out the commands that wait; wait at most `wait_s` for the first. False: the worker is to stop."""
        try:
            job = self._inbox.get(wait_s != 0, wait_s)
            while job is not None:
                _carry_out(job)
                job = self._inbox.get_nowait()
        except queue.Empty:
            return True
        return False

    def _wait_s(self) -> float | None:
        """Return the seconds until there is something to do, or None if only a command can bring it."""
        return 0.0 if self._next_ahead() else self._spare_s

    @property
    def _spare_s(self) -> float | None:
        """Return the seconds until a chunk is due, or None if none is."""
        dues = [due for turn in self._turns.values() if (due := turn.session.due_s) is not None]
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _next_turn(self) -> tuple[str, _Turn] | None:
        now = time.monotonic()
        wanting = [
            (story, turn)
            for story, turn in self._turns.items()
            if (due := turn.session.due_s) is not None and due <= now
        ]
        return min(wanting, key=lambda one: one[1].last, default=None)

    def _next_ahead(self) -> tuple[str, _Turn] | None:
        """Return a story with something to encode ahead, if there is more time for it than it took the last time."""
        spare_s = self._spare_s
        if spare_s is not None and spare_s <= self._reading_s:
            return None
        turns = self._turns.items()
        return next(((name, turn) for name, turn in turns if name in self._drafts or turn.session.can_prepare), None)

    def _step(self, story: str, turn: _Turn) -> None:
        self._count += 1
        turn.last, start = self._count, time.monotonic()
        with self._guarding(story, turn):
            frames = turn.session.step()
            self.tally.busy_s += time.monotonic() - start
            self.tally.frames += frames
            self.tally.chunks += frames > 0
            self.tally.shots += not frames

    def _prepare(self, story: str, turn: _Turn) -> None:
        start = time.monotonic()
        with self._guarding(story, turn):
            turn.session.prepare(self._drafts.pop(story, None))
            self._reading_s = time.monotonic() - start
            self.tally.busy_s += self._reading_s

    @contextmanager
    def _guarding(self, story: str, turn: _Turn) -> Iterator[None]:
        """Close a story whose work fails, and tell its viewers why; the other stories go on."""
        try:
            yield
        except Exception as error:
            _log.exception("story %s cannot go on", story)
            self.tally.failures += 1
            self._close(story)
            turn.publish(Problem(code=code_of(error), message=message_of(error)))

    def _open(self, story: str, publish: Publish) -> None:
        assert story not in self._turns, "a story is opened once"
        session = Session(self._model, self._store, self._store.get(story), self._limits, publish)
        self._turns[story] = _Turn(session, publish, self._count)

    def _session(self, story: str) -> Session:
        if story not in self._turns:
            raise RequestError("conflict", "the story has been closed; connect again")
        return self._turns[story].session

    def _close(self, story: str) -> None:
        self._drafts.pop(story, None)
        turn = self._turns.pop(story, None)
        if turn is not None:
            turn.session.close()


def _carry_out(job: _Job) -> None:
    if not job.result.set_running_or_notify_cancel():
        return
    try:
        job.result.set_result(job.work())
    except Exception as error:  # raised to the caller
        job.result.set_exception(error)
