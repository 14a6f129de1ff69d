"""One open story: commands in, frames out, one chunk at a time. Belongs to the worker's thread."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from shotstream.api import Model
from shotstream.core.errors import InputError
from shotstream.core.spec import MAX_CHUNKS, VideoSize, frames_of_chunks
from shotstream.core.video import Frame, Frames
from shotstream.engine.causal_rollout import REVISABLE_CHUNKS
from shotstream.engine.shot import Shot
from shotstream.serve.errors import RequestError
from shotstream.serve.limits import Limits
from shotstream.serve.playback import PlaybackClock
from shotstream.serve.protocol import (
    CutShot,
    Flush,
    FrameKey,
    InWork,
    MakeShot,
    Message,
    NewShot,
    Note,
    Retract,
    RetryShot,
    Rewind,
    State,
    SteerShot,
    Switch,
)
from shotstream.serve.store import Doing, Plan, Store, StoryRow, Work
from shotstream.story.shot_spec import Steer, check_text
from shotstream.story.take_tree import Take


@dataclass(frozen=True)
class Chunk:
    """Frames of a chunk, `[n, h, w, 3]`: the first one's place, and its number in the video of its branch."""

    key: FrameKey
    first: int
    frames: Frames


News = Message | Chunk | Retract
Publish = Callable[[News], None]
"""Hands something to everybody who watches the story; called on the worker's thread, returns at once."""


@dataclass(frozen=True)
class AddCast:
    """Adds a picture, uint8 `[h, w, 3]`, to what later shots may remember."""

    image: Frame
    caption: str


@dataclass(frozen=True)
class FinishedTake:
    """A take of the current branch: its video, and the number of its first frame in the video of the branch."""

    take: Take
    video: Path
    first: int


AnyCommand = MakeShot | RetryShot | SteerShot | CutShot | Rewind | Switch | AddCast


class Session:
    """A story that can be watched and directed.

    After a crash it opens as it was: finished shots come from its directory, and the shot that was in the making is
    made again, by what the database says of it, up to the chunk it had reached.
    """

    def __init__(self, model: Model, store: Store, row: StoryRow, limits: Limits, publish: Publish) -> None:
        self._id, self._store, self._limits, self._publish = row.id, store, limits, publish
        self.story = model.story(
            row.global_caption,
            seed=row.seed,
            directory=store.directory(row.id),
            size=VideoSize(row.height, row.width),
            context=row.context,
        )
        self._shot: Shot | None = None
        self._steered, self._directed = 0, False
        self._work, self._queue = row.doing.work, list(row.doing.queue)
        self._clock = PlaybackClock()
        self._held = min(limits.ahead_chunks + 1, REVISABLE_CHUNKS)
        if self._work is not None and not self._stands_at(self._work):
            self._work = None
        self._tell()

    @property
    def due_s(self) -> float | None:
        """When the next chunk is wanted, on the monotonic clock; None while there is nothing to make."""
        if self._work is None and not self._queue:
            return None
        return 0.0 if self._behind else self._clock.due_s(self._limits.ahead_chunks)

    @property
    def working(self) -> bool:
        """Whether there is something to make."""
        return self.due_s is not None

    @property
    def can_prepare(self) -> bool:
        """Whether there is nothing to make, but something to read ahead for the shot that is asked for next.

        A story that is only watched is left alone: it has no cache yet, and may never need one.
        """
        return self._directed and not self.working and self.story.can_prepare

    def step(self) -> int:
        """Makes one chunk, or finishes a shot; returns the number of frames made."""
        if self._shot is None:
            self._begin()
        shot, work = self._shot, self._work
        assert shot is not None, "a shot was begun"
        assert work is not None, "a shot was begun"
        for steer in work.steers[self._steered :]:
            if steer.at == shot.chunks:
                shot.steer(steer.text)
                self._steered += 1
        frames = next(shot, None)
        if frames is None:
            self._end()
            return 0
        if shot.chunks > work.made:
            self._work = replace(work, made=shot.chunks)
            self._save()
        self._show(shot, frames)
        return len(frames)

    def prepare(self, draft: str | None = None) -> None:
        """Reads ahead what the next shot will remember, and a caption that is being written."""
        self.story.prepare(draft)

    def apply(self, command: AnyCommand) -> list[Note]:
        """Carry out a command between two chunks, publish what it changes, and return what its sender should know.

        Raises:
            InputError: it cannot be done; nothing has changed.
        """
        match command:
            case MakeShot():
                self._order(command)
            case RetryShot():
                self._retry(command)
            case SteerShot():
                return self._steer(command.text, FrameKey.parse(command.shown))
            case CutShot():
                self._leave(lambda: self._cut(command.shown))
            case Rewind():
                self._leave(lambda: self.story.rewind(command.shot))
            case Switch():
                self._leave(lambda: self.story.switch(command.takes))
            case AddCast():
                self._add_cast(command)
        return []

    def finished_after(self, place: FrameKey) -> list[FinishedTake]:
        """The finished takes of the current branch from that frame's on; none where it is not on this branch."""
        history = self.story.history
        branch = list(enumerate(history.branch))
        if (place.shot, place.take) not in branch:
            return []
        starts = [sum(history.lengths[:shot]) for shot in range(len(history))]
        takes = [
            FinishedTake(take, history.take_file(take), start)
            for take, start in zip(history.records, starts, strict=True)
        ]
        return takes[place.shot :]

    def close(self) -> None:
        """Frees what the story needs in memory; what it was doing is written down."""
        self._shot = None
        self.story.close()

    def _order(self, command: MakeShot) -> None:
        plan = plan_of(command)
        self._check_limits(plan)
        if not command.queue:
            self._leave(lambda: self._cut(command.shown), [plan])
            return
        check_queue(len(self._queue) + 1, self._limits)
        self._queue.append(plan)
        self._save()
        self._tell()

    def _retry(self, command: RetryShot) -> None:
        takes = self.story.history.records
        if command.shot >= len(takes):
            raise RequestError("conflict", f"expected one of the {len(takes)} shots that are made, got another")
        again = takes[command.shot :] if command.rest else takes[command.shot : command.shot + 1]
        plans = [_plan_again(take) for take in again]
        plans[0] = replace(plans[0], seed=command.seed)
        check_queue(len(plans), self._limits)
        self._check_limits(*plans)
        self._leave(lambda: self.story.rewind(command.shot), plans)

    def _check_limits(self, *plans: Plan) -> None:
        limits = self._limits
        for plan in plans:
            check_plan(plan, limits)
        if len(self.story.history.tree.takes) + len(self._queue) + len(plans) > limits.shots:
            raise RequestError("full", f"expected a story of at most {limits.shots} shots; begin another story")

    def _add_cast(self, command: AddCast) -> None:
        check_caption(command.caption, self._limits)
        if len(self.story.history.cast) >= self._limits.cast:
            raise RequestError("full", f"expected a cast of at most {self._limits.cast}; begin another story")
        self.story.add_cast(command.image, command.caption)

    def _steer(self, text: str, shown: FrameKey | None) -> list[Note]:
        check_caption(text, self._limits)
        self._catch_up()
        shown = shown or self._clock.shown(time.monotonic())
        if self._earlier_shot_plays(shown):
            return self._steer_by_next_shot(text, shown)
        if self._work is None and self._queue:
            self._begin()
        if self._work is None or self._shot is None or self._kept_chunks(shown) == self._work.plan.chunks:
            return self._steer_by_next_shot(text, shown)
        self._drop_unshown(shown)
        self._shot.steer(text)
        made = self._shot.chunks
        kept = tuple(steer for steer in self._work.steers if steer.at < made)
        self._work = replace(self._work, made=made, steers=(*kept, Steer(made, text)))
        self._steered = len(self._work.steers)
        self._flush(self._clock.last)
        return []

    def _earlier_shot_plays(self, shown: FrameKey | None) -> bool:
        """Whether frames of a shot before the one being made are still to be shown, or are on the screen."""
        playing = [*filter(None, [self._clock.showing(shown)]), *self._clock.unshown(shown)]
        return any(self._work is None or not self._is_work(chunk.first) for chunk in playing)

    def _is_work(self, key: FrameKey) -> bool:
        return self._work is not None and key[:2] == (len(self._work.branch), self._work.take)

    def _kept_chunks(self, shown: FrameKey | None) -> int:
        """How many chunks of the shot being made stay, where what has not been shown is dropped."""
        assert self._shot is not None, "a shot is being made"
        return self._shot.chunks - min(len(self._clock.unshown(shown)), self._shot.held)

    def _drop_unshown(self, shown: FrameKey | None) -> None:
        """Drop the chunks of the shot being made of which nothing has been shown."""
        if self._shot is None or self._work is None:
            return
        dropped = self._shot.chunks - self._kept_chunks(shown)
        self._shot.drop(dropped)
        self._clock.drop(dropped)
        self._publish(Retract(self._shot.index, self._work.take, frames_of_chunks(self._shot.chunks)))

    def _steer_by_next_shot(self, text: str, shown: FrameKey | None) -> list[Note]:
        """Make the caption the next shot, before those that wait; one that has begun and was not shown waits again."""
        takes = self.story.history.records
        if self._work is None and not takes:
            raise RequestError("conflict", "There is no shot to steer yet. Make the first one.")
        again = self._work is not None and self._earlier_shot_plays(shown)
        like = takes[-1].spec if again or self._work is None else self._work.plan
        plan = Plan(text, like.chunks, like.chunks > MAX_CHUNKS)
        self._check_limits(plan)
        if again:
            self._queue.insert(0, self._forget_work())
        self._queue.insert(0, plan)
        self._flush(self._clock.last)
        return [Note(code="next_shot", message="The shot was shown to its last part, so this becomes the next shot.")]

    def _forget_work(self) -> Plan:
        """Take back a shot that has begun and of which nothing was shown; return what it was to be."""
        assert self._work is not None, "a shot is being made"
        work, self._work = self._work, None
        if self._shot is not None:
            self._clock.drop(self._shot.chunks)
            self._publish(Retract(self._shot.index, work.take, 0))
            self._shot.forget()
            self._shot = None
        return work.plan

    def _leave(self, go: Callable[[], object], queue: list[Plan] | None = None) -> None:
        """Leave the shot being made as it is, go elsewhere, and have other shots to make."""
        self._catch_up()
        go()
        self._shot = self._work = None
        self._queue = queue or []
        self._clock.clear()
        self._flush()

    def _cut(self, shown: str | None) -> None:
        """End the shot being made after the chunk that is shown."""
        if self._shot is not None:
            self._drop_unshown(FrameKey.parse(shown) or self._clock.shown(time.monotonic()))
            self._shot.cut()

    def _flush(self, after: FrameKey | None = None) -> None:
        """Save where the story stands, and tell the viewers which frames they keep."""
        self._save()
        self._publish(Flush(after=None if after is None else str(after)))
        self._tell()

    @property
    def _behind(self) -> bool:
        """Whether chunks that were made before a crash are being made again."""
        return self._work is not None and self._work.made > (self._shot.chunks if self._shot else 0)

    def _catch_up(self) -> None:
        while self._behind:
            self.step()

    def _begin(self) -> None:
        """Begins the shot that was in the making, or else the next one of the queue."""
        history = self.story.history
        if self._work is None:
            plan, take = self._queue.pop(0), history.tree.next_take()
            self._work = Work(plan, history.branch, take, len(history.cast), steers=plan.steers)
        plan, self._steered, self._directed = self._work.plan, 0, True
        try:
            self._shot = self.story.shot(
                plan.text, plan.chunks, extend=plan.extend, seed=plan.seed, cast=self._work.cast, held=self._held
            )
        except InputError:
            self._work = None
            self._save()
            raise
        self._save()
        self._tell()

    def _end(self) -> None:
        self._shot = self._work = None
        self._save()
        self._tell()

    def _show(self, shot: Shot, frames: Frames) -> None:
        work = self._work
        assert work is not None, "a shot is being made"
        index = frames_of_chunks(shot.chunks) - len(frames)
        start = sum(self.story.history.lengths) + index
        key = FrameKey(shot.index, work.take, index)
        self._clock.add(key, len(frames), time.monotonic(), shown=self._behind)
        self._publish(Chunk(key, start, frames))
        self._tell()

    def _stands_at(self, work: Work) -> bool:
        history = self.story.history
        return (history.branch, history.tree.next_take()) == (work.branch, work.take)

    def _save(self) -> None:
        lengths = self.story.history.lengths
        self._store.save(self._id, Doing(self._work, tuple(self._queue)), len(lengths), sum(lengths))

    def _tell(self) -> None:
        work, history = self._work, self.story.history
        now = (
            None
            if work is None
            else InWork(
                shot=len(work.branch),
                take=work.take,
                text=[work.plan.text, *(steer.text for steer in work.steers if steer.at <= work.made)][-1],
                made=work.made,
                chunks=work.plan.chunks,
            )
        )
        queue = [plan.text for plan in self._queue]
        self._publish(State(branch=list(history.branch), frames=sum(history.lengths), work=now, queue=queue))


def plan_of(shot: NewShot) -> Plan:
    """A shot to be made, as it is asked for."""
    return Plan(shot.text, shot.chunks, shot.extend, shot.seed)


def _plan_again(take: Take) -> Plan:
    """Return what makes a take again: its captions, length and seed."""
    spec = take.spec
    return Plan(spec.text, spec.chunks, spec.chunks > MAX_CHUNKS, spec.seed, spec.steers)


def check_plan(plan: Plan, limits: Limits) -> None:
    """Raises an InputError for a shot that cannot be made here: it is too long, or its caption is none."""
    check_caption(plan.text, limits)
    longest = limits.chunks if plan.extend else MAX_CHUNKS
    if plan.chunks > longest:
        raise RequestError("too_large", f"expected at most {longest} chunks, got {plan.chunks}; make another shot")


def check_queue(shots: int, limits: Limits) -> None:
    """Raises a RefusedError where so many shots may not wait to be made."""
    most = min(limits.queued_shots, limits.shots)
    if shots > most:
        raise RequestError("full", f"expected at most {most} shots in the queue; wait for some")


def check_caption(text: str, limits: Limits) -> None:
    """Raises an InputError for what can be no caption here: it is empty, or too long."""
    if len(text) > limits.text:
        raise RequestError("too_large", f"expected at most {limits.text} characters, got {len(text)}; shorten it")
    check_text(text, "a caption")
