"""Send messages and frames to the viewers of a story. On the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence

from shotstream.serve.messages import Flush, Message, State
from shotstream.serve.news import Retract
from shotstream.serve.packets import FrameKey, FramePacket

LAG_FRAMES = 36
"""Frames that may wait for a slow viewer; older ones are dropped."""
RECENT_FRAMES = 256
"""Frames that a story keeps for those who come back."""
MAX_MESSAGES = 1000
"""Messages that may wait for a viewer; one that reads none of them is gone."""


class Viewer:
    """The queue of one viewer: all messages, and the newest frames.

    `seen` is the last frame it had before its connection broke.
    """

    def __init__(self, seen: FrameKey | None = None) -> None:
        self.seen, self.dropped = seen, 0
        self._waiting: deque[str | FramePacket] = deque()
        self._frames, self._allowed, self._ended = 0, LAG_FRAMES, False
        self._news = asyncio.Event()

    def send(self, message: Message) -> None:
        """Queue a message; disconnect a viewer that has left `MAX_MESSAGES` unread."""
        if len(self._waiting) - self._frames >= MAX_MESSAGES:
            self.end()
            return
        self._waiting.append(message.model_dump_json())
        self._news.set()

    def show(self, frame: FramePacket) -> None:
        """Queue a frame that the viewer has not seen; if too many wait, drop the oldest."""
        if self.seen and self.seen[:2] == frame.key[:2] and frame.key.frame <= self.seen.frame:
            return
        self.seen = None if self.seen and self.seen[:2] != frame.key[:2] else self.seen
        while self._frames >= self._allowed:
            self._drop_oldest()
        self._waiting.append(frame)
        self._frames += 1
        self._news.set()

    def catch_up(self, frames: list[FramePacket]) -> None:
        """Queue all frames that the viewer missed, however many."""
        self._allowed = max(LAG_FRAMES, len(frames))
        for frame in frames:
            self.show(frame)

    def flush(self, after: FrameKey | None = None) -> None:
        """Drop queued frames: those behind frame `after`, or all if it is not in the queue."""
        keys = [item.key for item in self._waiting if isinstance(item, FramePacket)]
        kept = set(keys[: keys.index(after) + 1]) if after in keys else set()
        self._waiting = deque(item for item in self._waiting if isinstance(item, str) or item.key in kept)
        self._frames = len(kept)

    def end(self) -> None:
        """Disconnect the viewer once everything in its queue has been sent."""
        self._ended = True
        self._news.set()

    async def next(self) -> str | bytes | None:
        """Wait for the next message or frame and return it; None: disconnect the viewer."""
        while not self._waiting:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        item = self._waiting.popleft()
        if isinstance(item, str):
            return item
        self._frames -= 1
        self._allowed = max(LAG_FRAMES, min(self._allowed, self._frames + LAG_FRAMES))
        return item.packed

    def _drop_oldest(self) -> None:
        self._waiting.remove(next(item for item in self._waiting if isinstance(item, FramePacket)))
        self._frames -= 1
        self.dropped += 1


class Channel:
    """An open story on the event loop: its viewers, its last frames, and where it stands.

    It begins to be opened at once by `open_story`; `opened` has the end or the error.
    """

    def __init__(self, open_story: "Callable[[Channel], Coroutine[None, None, None]]") -> None:
        self.viewers: set[Viewer] = set()
        self.pending, self.working = 0, False
        self.state: State | None = None
        self._recent: deque[FramePacket] = deque(maxlen=RECENT_FRAMES)
        self.opened = asyncio.create_task(open_story(self))

    @property
    def idle(self) -> bool:
        """Return whether there is no viewer and no work, so that the story can be closed."""
        return self.opened.done() and not (self.viewers or self.pending or self.working)

    def knows(self, place: FrameKey) -> bool:
        """Return whether a frame is still kept; then all later ones are, too."""
        return any(frame.key == place for frame in self._recent)

    def join(self, viewer: Viewer, missed: Sequence[FramePacket] = (), *, opens: bool = False) -> None:
        """Add a viewer, and send it the story's state and the frames that it has not seen.

        A viewer whose connection broke gets `missed` first (frames read from the disk), then the later ones kept here.
        A new viewer gets all frames kept here if the story was opened for it (`opens`). Otherwise it gets the last one
        while a shot is made, so that its picture is not empty.
        """
        self.viewers.add(viewer)
        if self.state is not None:
            viewer.send(self.state)
        if viewer.seen is None and (opens or self.working):
            viewer.catch_up(list(self._recent)[0 if opens else -1 :])
        elif viewer.seen is not None:
            recent = list(self._recent)
            if self.knows(viewer.seen):
                recent = recent[[frame.key for frame in recent].index(viewer.seen) + 1 :]
            earlier = {frame.key for frame in missed}
            viewer.catch_up([*missed, *(frame for frame in recent if frame.key not in earlier)])

    def push(self, item: Message | list[FramePacket] | Retract) -> None:
        """Send a message or frames to every viewer; frames of a `Retract` are forgotten."""
        if isinstance(item, Retract):
            self._recent = deque((frame for frame in self._recent if not item.covers(frame.key)), RECENT_FRAMES)
            return
        if isinstance(item, State):
            self.state, self.working = item, item.working
        elif isinstance(item, list):
            known = {frame.key for frame in item}
            kept = [frame for frame in self._recent if frame.key not in known]
            self._recent = deque([*kept, *item], maxlen=RECENT_FRAMES)
        for viewer in self.viewers:
            _hand_over(viewer, item)


def _hand_over(viewer: Viewer, item: Message | list[FramePacket]) -> None:
    if isinstance(item, list):
        for frame in item:
            viewer.show(frame)
        return
    if isinstance(item, Flush):
        viewer.flush(FrameKey.parse(item.after))
    viewer.send(item)
