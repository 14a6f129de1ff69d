"""Make the shots of one open story, one chunk at a time, and publish their frames. Belongs to the worker's thread."""

import time
from collections.abc import Callable
from dataclasses import replace

from shotstream.api import Model
from shotstream.core.errors import InputError
from shotstream.core.spec import VideoSize
from shotstream.core.video import Frames
from shotstream.engine.causal_rollout import REVISABLE_CHUNKS
from shotstream.engine.shot import Shot
from shotstream.serve.doing import Doing, ShotInWork, ShotQueue, UndoPoint
from shotstream.serve.limits import Limits
from shotstream.serve.messages import Flush, State
from shotstream.serve.news import Chunk, FinishedTake, Publish, Retract
from shotstream.serve.packets import FrameKey
from shotstream.serve.playback import PlaybackClock
from shotstream.serve.store import Store, StoryRow
from shotstream.story.cast import choose_members
from shotstream.story.shot_spec import ShotSpec, Steer


class Production:
    """A story being made: the shot in work, the queue, and the clock that says what has been shown.

    After a crash it opens as it was: finished shots come from its directory, and the shot that was in the making is
    made again, by what the database says of it, up to the chunk it had reached.
    """

    def __init__(self, model: Model, store: Store, row: StoryRow, limits: Limits, publish: Publish) -> None:
        self._id, self._store, self._publish, self._ahead = row.id, store, publish, limits.ahead_chunks
        self.story = model.story(
            row.global_caption,
            seed=row.seed,
            directory=store.directory(row.id),
            size=VideoSize(row.height, row.width),
            context=row.context,
            strict=None,
            guidance=row.guidance,
            negative_prompt=row.negative_prompt,
        )
        self._shot: Shot | None = None
        self._steered, self._directed = 0, False
        self.work, self.queue = row.doing.work, row.doing.queue
        self.undo: tuple[UndoPoint, ...] = ()
        self._clock = PlaybackClock()
        self._held = min(limits.ahead_chunks + 1, REVISABLE_CHUNKS)
        self._queue_lost()
        if self.work is not None and not self._stands_at(self.work):
            self.work = None
        self._tell()

    @property
    def doing(self) -> Doing:
        """Return the shot in work and the queue."""
        return Doing(self.work, self.queue)

    @property
    def due_s(self) -> float | None:
        """Return when the next chunk is wanted, on the monotonic clock; None while there is nothing to make."""
        if not self.doing.unfinished:
            return None
        return 0.0 if self._behind else self._clock.due_s(self._ahead)

    @property
    def working(self) -> bool:
        """Return whether there is something to make."""
        return self.due_s is not None

    @property
    def can_prepare(self) -> bool:
        """Return whether there is nothing to make, but something to encode ahead for the next shot.

        A story that is only watched is left alone: it has no cache yet, and may never need one.
        """
        return self._directed and not self.working and self.story.can_prepare

    @property
    def chunks(self) -> int:
        """Return how many chunks of the shot in work have been made since the story was opened."""
        return self._shot.chunks if self._shot else 0

    def step(self) -> int:
        """Make one chunk, or finish a shot; return the number of frames made."""
        if self._shot is None:
            self.begin()
        shot, work = self._shot, self.work
        assert shot is not None, "a shot was begun"
        assert work is not None, "a shot was begun"
        for steer in work.spec.steers[self._steered :]:
            if steer.at == shot.chunks:
                shot.steer(steer.text)
                self._steered += 1
        frames = next(shot, None)
        if frames is None:
            self._end()
            return 0
        if shot.chunks > work.made:
            self.work = replace(work, made=shot.chunks)
            self._save()
        self._show(shot, frames)
        return len(frames)

    def catch_up(self) -> None:
        """Make again the chunks that were made before a crash."""
        while self._behind:
            self.step()

    def begin(self) -> None:
        """Begin the shot that was in the making, or else the next one of the queue.

        Raises:
            InputError: it cannot be made; it is forgotten.
        """
        history = self.story.history
        if self.work is None:
            first, take = self.queue.shots[0], history.tree.next_take()
            self.queue = self.queue.remove(first.id)
            self.undo = tuple(point.begun(first.id) for point in self.undo)
            known = choose_members(history.cast, first.spec.cast) if first.cast is None else first.cast
            self.work = ShotInWork(first.spec, history.branch, take, known)
        spec, self._steered, self._directed = self.work.spec, 0, True
        try:
            self._shot = self.story.shot(
                spec.text,
                spec.chunks,
                extend=spec.extend,
                seed=spec.seed,
                cast=spec.cast,
                known=self.work.cast,
                held=self._held,
            )
        except InputError:
            self.work = None
            self._save()
            raise
        self._save()
        self._tell()

    def leave(self, go: Callable[[], object], queue: ShotQueue) -> None:
        """Leave the shot in work as it is, go elsewhere in the story, and have other shots to make."""
        self.catch_up()
        go()
        self._shot = self.work = None
        self.queue = queue
        self._clock.clear()
        self.flush()

    def cut(self, shown: FrameKey | None) -> None:
        """End the shot in work after the chunk that is shown."""
        if self._shot is not None:
            self.drop_unshown(shown or self.shown_now())
            self._shot.cut()

    def steer(self, text: str, shown: FrameKey | None) -> None:
        """Give the shot in work another caption from the first chunk on that was not shown."""
        assert self.work is not None, "a shot is being made"
        assert self._shot is not None, "a shot is being made"
        self.drop_unshown(shown)
        self._shot.steer(text)
        made = self._shot.chunks
        kept = tuple(steer for steer in self.work.spec.steers if steer.at < made)
        spec = replace(self.work.spec, steers=(*kept, Steer(made, text)))
        self.work, self._steered = replace(self.work, made=made, spec=spec), len(spec.steers)
        self.flush()

    def forget_work(self) -> ShotSpec:
        """Take back a shot that has begun and of which nothing was shown; return what it was to be."""
        assert self.work is not None, "a shot is being made"
        work, self.work = self.work, None
        if self._shot is not None:
            self._clock.drop(self._shot.chunks)
            self._publish(Retract(self._shot.index, work.take, 0))
            self._shot.forget()
            self._shot = None
        return work.spec

    def shown_now(self) -> FrameKey | None:
        """Return the last frame that has been shown by the server's own clock."""
        return self._clock.shown(time.monotonic())

    def earlier_shot_plays(self, shown: FrameKey | None) -> bool:
        """Return whether frames of an earlier shot than the one in work are on the screen or still to be shown."""
        playing = [*filter(None, [self._clock.showing(shown)]), *self._clock.unshown(shown)]
        return any(self.work is None or not self._is_work(chunk.first) for chunk in playing)

    def can_steer(self, shown: FrameKey | None) -> bool:
        """Return whether a chunk of the shot in work is still to be made or can be made again."""
        return self.work is not None and self._shot is not None and self._kept_chunks(shown) < self.work.spec.chunks

    def drop_unshown(self, shown: FrameKey | None) -> None:
        """Drop the chunks of the shot in work of which nothing has been shown."""
        if self._shot is None or self.work is None:
            return
        dropped = self._shot.chunks - self._kept_chunks(shown)
        self._shot.drop(dropped)
        self._clock.drop(dropped)
        self._publish(Retract(self._shot.index, self.work.take, self._shot.frames))

    def flush(self) -> None:
        """Save where the story stands, and tell the viewers to drop the frames that were taken back."""
        last = self._clock.last
        self._save()
        self._publish(Flush(after=None if last is None else str(last)))
        self._tell()

    def save_queue(self, queue: ShotQueue) -> None:
        """Have another queue, and tell the viewers of it and of the cast."""
        self.queue = queue
        self._save()
        self._tell()

    def finished_after(self, key: FrameKey) -> list[FinishedTake]:
        """Return the finished takes of the branch from that frame's on; none where it is not on this branch."""
        history = self.story.history
        branch = list(enumerate(history.branch))
        if (key.shot, key.take) not in branch:
            return []
        starts = [sum(history.lengths[:shot]) for shot in range(len(history))]
        takes = [
            FinishedTake(take, history.take_file(take), start)
            for take, start in zip(history.records, starts, strict=True)
        ]
        return takes[key.shot :]

    def close(self) -> None:
        """Free what the story needs in memory; what it was doing is in the database."""
        self._shot = None
        self.story.close()

    @property
    def _behind(self) -> bool:
        """Return whether chunks that were made before a crash are being made again."""
        return self.work is not None and self.work.made > self.chunks

    def _is_work(self, key: FrameKey) -> bool:
        return self.work is not None and key[:2] == (len(self.work.branch), self.work.take)

    def _kept_chunks(self, shown: FrameKey | None) -> int:
        """Return how many chunks of the shot in work stay, where those that were not shown are dropped."""
        assert self._shot is not None, "a shot is being made"
        return self._shot.chunks - min(len(self._clock.unshown(shown)), self._shot.held)

    def _queue_lost(self) -> None:
        """Have shots made again that were set aside as damaged when the story was opened, before all others."""
        lost = self.story.history.lost
        if lost:
            begun = [] if self.work is None or self._stands_at(self.work) else [self.work.spec]
            self.queue = self.queue.insert(begun, 0).insert_lost(lost)
            self._save()

    def _end(self) -> None:
        assert self._shot is not None, "a shot has ended"
        for take in self.story.history.records[self._shot.index + 1 :]:  # put back behind a shot that was made again
            if self.queue.shots and self.queue.shots[0].spec == take.spec:
                self.queue = self.queue.remove(self.queue.shots[0].id)
        self._shot = self.work = None
        self._save()
        self._tell()

    def _show(self, shot: Shot, frames: Frames) -> None:
        assert self.work is not None, "a shot is being made"
        index = shot.frames - len(frames)
        start = sum(self.story.history.lengths) + index
        key = FrameKey(shot.index, self.work.take, index)
        self._clock.add(key, len(frames), time.monotonic(), shown=self._behind)
        self._publish(Chunk(key, start, frames))
        self._tell()

    def _stands_at(self, work: ShotInWork) -> bool:
        history = self.story.history
        return (history.branch, history.tree.next_take()) == (work.branch, work.take)

    def _save(self) -> None:
        lengths = self.story.history.lengths
        self._store.save(self._id, self.doing, len(lengths), sum(lengths))

    def _tell(self) -> None:
        history = self.story.history
        undo = self.undo[-1].command if self.undo else None
        self._publish(State.of(self.doing, history, undo))
