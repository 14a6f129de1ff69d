"""Commands to one open story: what each does to the story and its queue. Belongs to the worker's thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from shotstream.api import Model
from shotstream.serve.caption_notes import CommandNotes
from shotstream.serve.commands import (
    AddCast,
    AnyCommand,
    CastCommand,
    CutShot,
    DuplicateQueued,
    EditQueued,
    MakeShot,
    MoveQueued,
    PauseQueue,
    QueueCommand,
    QueueShots,
    RemoveCast,
    RemoveQueued,
    RenameCast,
    RetryShot,
    Rewind,
    SteerShot,
    Switch,
    Undo,
)
from shotstream.serve.doing import ShotQueue, UndoPoint
from shotstream.serve.errors import RequestError
from shotstream.serve.limits import Limits, check_caption, check_queue, check_spec
from shotstream.serve.messages import Note
from shotstream.serve.news import FinishedTake, Publish
from shotstream.serve.packets import FrameKey
from shotstream.serve.production import Production
from shotstream.serve.store import Store, StoryRow
from shotstream.story.cast import choose_members
from shotstream.story.shot_spec import ShotSpec

MAX_UNDO = 100


class Session:
    """A story that can be watched and directed."""

    def __init__(self, model: Model, store: Store, row: StoryRow, limits: Limits, publish: Publish) -> None:
        self._limits, self._policy, self._shape = limits, model.policy, model.config.shot
        self._production = Production(model, store, row, limits, publish)
        self.story = self._production.story
        self._caption_notes = CommandNotes(model, row.global_caption)

    @property
    def due_s(self) -> float | None:
        """Return when the next chunk is wanted, on the monotonic clock; None while there is nothing to make."""
        return self._production.due_s

    @property
    def working(self) -> bool:
        """Return whether there is something to make."""
        return self._production.working

    @property
    def can_prepare(self) -> bool:
        """Return whether there is nothing to make, but something to encode ahead for the next shot."""
        return self._production.can_prepare

    def step(self) -> int:
        """Make one chunk, or finish a shot; return the number of frames made."""
        return self._production.step()

    def prepare(self, draft: str | None = None) -> None:
        """Encode ahead the context of the next shot, and a caption that is being written."""
        self.story.prepare(draft)

    def finished_after(self, key: FrameKey) -> list[FinishedTake]:
        """Return the finished takes of the branch from that frame's on; none where it is not on this branch."""
        return self._production.finished_after(key)

    def close(self) -> None:
        """Free what the story needs in memory; what it was doing is in the database."""
        self._production.close()

    def apply(self, command: AnyCommand) -> list[Note]:
        """Carry out a command between two chunks, publish what it changes, and return what its sender should know.

        Raises:
            InputError: it cannot be done; nothing has changed.
        """
        if isinstance(command, Undo):
            self._undo()
            return []
        self._check_lengths(command)
        notes = self._caption_notes(command, self._production.doing, len(self.story.history))
        with self._undoable(command):
            return [*self._direct(command), *notes]

    def _check_lengths(self, command: AnyCommand) -> None:
        """Raise InputError for a caption that may not be; those of shots are checked with the shots."""
        if isinstance(command, SteerShot):
            check_caption(command.text, self._limits)
        elif isinstance(command, AddCast | RenameCast):
            check_caption(command.caption, self._limits)

    def _direct(self, command: AnyCommand) -> list[Note]:
        production = self._production
        match command:
            case MakeShot():
                self._make(command)
            case RetryShot():
                self._retry(command)
            case SteerShot():
                return self._steer(command.text, FrameKey.parse(command.shown))
            case CutShot():
                production.leave(lambda: production.cut(FrameKey.parse(command.shown)), self._queue_of())
            case Rewind():
                production.leave(lambda: self.story.rewind(command.shot), self._queue_of())
            case Switch():
                production.leave(lambda: self.story.switch(command.takes), self._queue_of())
            case AddCast() | RenameCast() | RemoveCast():
                self._change_cast(command)
                production.save_queue(production.queue)
            case _:
                assert isinstance(command, QueueCommand), "every other command has been carried out"
                production.save_queue(self._changed_queue(command))
        return []

    @contextmanager
    def _undoable(self, command: AnyCommand) -> Iterator[None]:
        """Remember the story as it is before a command, unless that fails."""
        production, history = self._production, self.story.history
        if isinstance(command, QueueCommand | CastCommand):
            point = UndoPoint(command.type, production.queue, history.cast)
        else:
            point = UndoPoint.before(command.type, production.doing, history.cast, history.branch)
        production.undo = (*production.undo, point)[-MAX_UNDO:]
        try:
            yield
        except BaseException:
            production.undo = production.undo[:-1]
            raise

    def _undo(self) -> None:
        production = self._production
        if not production.undo:
            raise RequestError("conflict", "There is nothing to undo since the story was opened.")
        point, production.undo = production.undo[-1], production.undo[:-1]
        queue, branch = point.queue_now(production.queue), point.branch
        if point.cast != self.story.history.cast:
            self.story.history.set_cast(point.cast)
        if branch is None:
            production.save_queue(queue)
        else:
            production.leave(lambda: self.story.switch(branch), queue)

    def _queue_of(self, *specs: ShotSpec) -> ShotQueue:
        """Return a queue of these shots alone."""
        return self._production.queue.only(specs)

    def _changed_queue(self, command: QueueCommand) -> ShotQueue:
        queue = self._production.queue
        match command:
            case QueueShots():
                specs = [shot.spec(self._shape) for shot in command.shots]
                self._check_more(*specs)
                check_queue(len(queue.shots) + len(specs), self._limits)
                paused = queue.paused if command.paused is None else command.paused
                return replace(queue.insert(specs, command.at), paused=paused)
            case EditQueued():
                spec = command.spec(self._shape)
                check_spec(spec, self._limits, self._shape, self.story.history.cast)
                self._policy.check_shots([spec], self._shape)
                return queue.edit(command.queued, spec, keep_steers=command.keeps_steers)
            case MoveQueued():
                return queue.move(command.queued, command.to)
            case DuplicateQueued():
                check_queue(len(queue.shots) + 1, self._limits)
                self._check_room(1)
                return queue.duplicate(command.queued)
            case RemoveQueued():
                return queue.remove(command.queued)
            case PauseQueue():
                return replace(queue, paused=command.paused)

    def _make(self, command: MakeShot) -> None:
        spec = command.spec(self._shape)
        self._check_more(spec)
        shown = FrameKey.parse(command.shown)
        self._production.leave(lambda: self._production.cut(shown), self._queue_of(spec))

    def _retry(self, command: RetryShot) -> None:
        takes = self.story.history.records
        if command.shot >= len(takes):
            raise RequestError("conflict", f"There are {len(takes)} shots, from 0. Choose one of them.")
        again = takes[command.shot :] if command.rest else takes[command.shot : command.shot + 1]
        specs = [self._without_those_who_left(take.spec) for take in again]
        specs[0] = replace(specs[0], seed=command.seed)
        check_queue(len(specs), self._limits)
        self._check_more(*specs)
        self._production.leave(lambda: self.story.rewind(command.shot), self._queue_of(*specs))

    def _without_those_who_left(self, spec: ShotSpec) -> ShotSpec:
        if spec.cast is None:
            return spec
        return replace(spec, cast=tuple(one.number for one in choose_members(self.story.history.cast, spec.cast)))

    def _steer(self, text: str, shown: FrameKey | None) -> list[Note]:
        production = self._production
        production.catch_up()
        shown = shown or production.shown_now()
        if production.earlier_shot_plays(shown) or not self._policy.steers:
            return self._steer_by_next_shot(text, shown)
        if production.work is None and production.queue.ready:
            production.begin()
        if not production.can_steer(shown):
            return self._steer_by_next_shot(text, shown)
        production.steer(text, shown)
        return []

    def _steer_by_next_shot(self, text: str, shown: FrameKey | None) -> list[Note]:
        """Make the caption the next shot, before those that wait; one that has begun and was not shown waits again."""
        production, takes = self._production, self.story.history.records
        if production.work is None and not takes:
            raise RequestError("conflict", "There is no shot to steer yet. Make the first one.")
        again = production.work is not None and production.earlier_shot_plays(shown)
        like = takes[-1].spec if again or production.work is None else production.work.spec
        spec = ShotSpec(text, like.chunks, like.extend)
        self._check_more(spec)
        waiting = [production.forget_work()] if again else []
        production.queue = production.queue.insert([spec, *waiting], 0)
        if production.queue.paused and production.work is None:
            production.begin()  # it was asked for now; those behind it wait
        production.flush()
        why = "was shown to its last part" if self._policy.steers else "is made as a whole by this model"
        return [Note(code="next_shot", message=f"The shot {why}, so this becomes the next shot.")]

    def _check_more(self, *specs: ShotSpec) -> None:
        for spec in specs:
            check_spec(spec, self._limits, self._shape, self.story.history.cast)
        self._policy.check_shots(specs, self._shape)
        self._check_room(len(specs))

    def _check_room(self, shots: int) -> None:
        most = self._limits.shots
        if len(self.story.history.tree.takes) + len(self._production.queue.shots) + shots > most:
            raise RequestError("full", f"A story has at most {most} shots. Begin another story.")

    def _change_cast(self, command: CastCommand) -> None:
        if isinstance(command, RemoveCast):
            self.story.remove_cast(command.member)
            return
        if isinstance(command, RenameCast):
            self.story.rename_cast(command.member, command.caption)
            return
        history, limits = self.story.history, self._limits
        if len(history.cast) >= limits.cast:
            raise RequestError("full", f"A cast has at most {limits.cast} members. Remove one.")
        if history.pictures >= limits.shots:
            raise RequestError("full", f"a story keeps at most {limits.shots} pictures of its cast; begin another one")
        self.story.add_cast(command.image, command.caption)
