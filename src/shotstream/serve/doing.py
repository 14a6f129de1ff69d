"""The work of a story: the shot in the making and the queue. Pure data, kept in the database."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from shotstream.serve.errors import RequestError
from shotstream.story.cast import CastMember
from shotstream.story.shot_spec import ShotSpec
from shotstream.story.take_tree import Take


@dataclass(frozen=True)
class ShotInWork:
    """The shot in the making: all that makes it, and how many chunks were made.

    Attributes:
        spec: its steers are those that were given and, until another one is given, those that were planned.
        branch: the takes before it; if the story stands elsewhere, the shot has been finished or left.
        take: its number among the takes of its shot.
        cast: the members of the cast that it knows, as they were when it was begun.
        made: chunks that were made.
    """

    spec: ShotSpec
    branch: tuple[int, ...]
    take: int
    cast: tuple[CastMember, ...] = ()
    made: int = 0


@dataclass(frozen=True)
class QueuedShot:
    """A shot that waits to be made; its id is its own as long as the story lives.

    `cast` are the members that it knows, of a shot that is made again because it was lost; None: as its spec says.
    """

    id: int
    spec: ShotSpec
    cast: tuple[CastMember, ...] | None = None


@dataclass(frozen=True)
class ShotQueue:
    """The shots that wait, in order. While `paused`, none of them is begun."""

    shots: tuple[QueuedShot, ...] = ()
    next_id: int = 0
    paused: bool = False

    @property
    def ready(self) -> bool:
        """Return whether a shot of this work can be made now."""
        return bool(self.shots) and not self.paused

    def insert(self, specs: Iterable[ShotSpec], at: int | None = None) -> "ShotQueue":
        """Return the queue with more shots, from place `at` on (None, or beyond the end: at the end)."""
        new = tuple(QueuedShot(self.next_id + offset, spec) for offset, spec in enumerate(specs))
        place = len(self.shots) if at is None else at
        return replace(self, shots=(*self.shots[:place], *new, *self.shots[place:]), next_id=self.next_id + len(new))

    def insert_lost(self, takes: Iterable[Take]) -> "ShotQueue":
        """Return the queue with takes that were lost before all others, to be made again exactly as they were."""
        lost = tuple(QueuedShot(self.next_id + at, take.spec, take.cast) for at, take in enumerate(takes))
        return replace(self, shots=(*lost, *self.shots), next_id=self.next_id + len(lost))

    def only(self, specs: Iterable[ShotSpec]) -> "ShotQueue":
        """Return a queue of these shots alone, which is not paused."""
        return replace(self, shots=(), paused=False).insert(specs)

    def edit(self, id: int, spec: ShotSpec, *, keep_steers: bool = False) -> "ShotQueue":
        """Return the queue with another spec for a shot; `keep_steers`: with those of its steers that fit its length.

        Raises:
            RequestError: no such shot waits; so for all that follow.
        """
        place = self._place(id)
        if keep_steers:
            steers = tuple(steer for steer in self.shots[place].spec.steers if steer.at < spec.chunks)
            spec = replace(spec, steers=steers)
        edited = QueuedShot(id, spec)
        return replace(self, shots=(*self.shots[:place], edited, *self.shots[place + 1 :]))

    def move(self, id: int, to: int) -> "ShotQueue":
        """Return the queue with a shot at another place (beyond the end: at the end)."""
        shot, rest = self.shots[self._place(id)], self.remove(id).shots
        return replace(self, shots=(*rest[:to], shot, *rest[to:]))

    def duplicate(self, id: int) -> "ShotQueue":
        """Return the queue with a shot once more, right behind itself."""
        place = self._place(id)
        return self.insert([self.shots[place].spec], place + 1)

    def remove(self, id: int) -> "ShotQueue":
        """Return the queue without a shot."""
        place = self._place(id)
        return replace(self, shots=(*self.shots[:place], *self.shots[place + 1 :]))

    def _place(self, id: int) -> int:
        for place, shot in enumerate(self.shots):
            if shot.id == id:
                return place
        raise RequestError("conflict", "This shot does not wait any more: it is being made, or was removed.")


@dataclass(frozen=True)
class Doing:
    """The work of a story: the shot in the making, and those that wait."""

    work: ShotInWork | None = None
    queue: ShotQueue = field(default_factory=ShotQueue)

    @property
    def unfinished(self) -> bool:
        """Return whether there is something to make now."""
        return self.work is not None or self.queue.ready


@dataclass(frozen=True)
class UndoPoint:
    """A story as it was before a command.

    Attributes:
        command: the type of the command.
        queue: the shots that were to be made: the one in the making first where `branch` is given.
        cast: the story's cast.
        branch: where the story stood; None: the command changed the queue or the cast alone, and so does undoing it.
    """

    command: str
    queue: ShotQueue
    cast: tuple[CastMember, ...]
    branch: tuple[int, ...] | None = None

    @classmethod
    def before(cls, command: str, doing: Doing, cast: tuple[CastMember, ...], branch: tuple[int, ...]) -> "UndoPoint":
        """Return the point before a command that goes elsewhere or changes the shot in the making."""
        work = () if doing.work is None else (doing.work.spec,)
        return cls(command, doing.queue.insert(work, 0), cast, branch)

    def begun(self, id: int) -> "UndoPoint":
        """Return the point where a shot has been begun since: undoing a change of the queue alone queues it no more."""
        if self.branch is not None:
            return self
        return replace(self, queue=replace(self.queue, shots=tuple(one for one in self.queue.shots if one.id != id)))

    def queue_now(self, now: ShotQueue) -> ShotQueue:
        """Return the queue to go back to; ids that were given since are not given again."""
        return replace(self.queue, next_id=max(self.queue.next_id, now.next_id))
