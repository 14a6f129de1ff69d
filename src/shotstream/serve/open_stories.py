"""Open stories, and the line of those that wait for room. On the event loop."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

from shotstream.core.errors import InputError
from shotstream.serve.broadcast import RECENT_FRAMES, Channel, Viewer
from shotstream.serve.commands import (
    AddCast,
    AnyCommand,
    DraftCaption,
    DuplicateQueued,
    MakeShot,
    QueueShots,
    RetryShot,
)
from shotstream.serve.disk import DiskSpace
from shotstream.serve.errors import RequestError
from shotstream.serve.frames import pack_chunk, pack_takes
from shotstream.serve.limits import Limits, check_caption
from shotstream.serve.messages import Hello, Message, Note, Problem, Waiting
from shotstream.serve.news import Chunk, News, Publish, Retract
from shotstream.serve.packets import FrameKey, FramePacket
from shotstream.serve.worker import Worker

_log = logging.getLogger(__name__)


class OpenStories:
    """Opens stories for those who come, as many at a time as the limits allow; others wait in line."""

    def __init__(self, worker: Worker, limits: Limits, find: Callable[[str], object], disk: DiskSpace) -> None:
        """`find` raises InputError for a story that is not there or cannot be gone on with."""
        self._worker, self._limits, self._find, self._disk = worker, limits, find, disk
        self._loop = asyncio.get_running_loop()
        self._encoder = ThreadPoolExecutor(1, "shotstream-jpeg")
        self.channels: dict[str, Channel] = {}
        self._line: list[object] = []
        self._change = asyncio.Event()
        self.dropped = 0

    @property
    def viewers(self) -> int:
        """Return the number of viewers of open stories."""
        return sum(len(channel.viewers) for channel in self.channels.values())

    @property
    def waiting(self) -> int:
        """Return the number of viewers in line."""
        return len(self._line)

    async def close(self) -> None:
        """Stop the threads and disconnect all viewers."""
        for channel in self.channels.values():
            for viewer in channel.viewers:
                viewer.end()
        await asyncio.to_thread(self._worker.stop)
        await asyncio.to_thread(self._encoder.shutdown)

    @asynccontextmanager
    async def watching(self, story: str, viewer: Viewer, hello: Hello) -> AsyncIterator[Channel]:
        """Wait for room, open the story and connect the viewer to it until the context ends.

        While it waits, the viewer gets its position in the line; then it gets `hello`.

        Raises:
            InputError: the story cannot be opened.
        """
        if self.viewers + len(self._line) >= self._limits.viewers:
            raise RequestError("busy", f"the server has {self._limits.viewers} viewers already; come back later")
        await self._wait_for_room(story, viewer)
        opens = story not in self.channels
        async with self._opened(story) as channel:
            viewer.send(hello)
            missed = await self._missed(story, channel, viewer.seen)
            if self.channels.get(story) is not channel:
                raise RequestError("conflict", "the story has been closed; connect again")
            channel.join(viewer, missed, opens=opens)
        try:
            yield channel
        finally:
            channel.viewers.discard(viewer)
            self.dropped += viewer.dropped
            self._changed()

    async def carry_out(self, story: str, command: AnyCommand | DraftCaption) -> list[Note]:
        """Carry out a command and return what its sender should know; new shots need room on the disk.

        Raises:
            InputError: there is no such story, or it cannot be done.
        """
        await asyncio.to_thread(self._find, story)
        if isinstance(command, MakeShot | RetryShot | QueueShots | DuplicateQueued | AddCast):
            await asyncio.to_thread(self._disk.check)
        if isinstance(command, DraftCaption):
            self.draft(story, command.text)
            return []
        return await self.apply(story, command)

    async def apply(self, story: str, command: AnyCommand) -> list[Note]:
        """Carry out a command, tell the viewers what has changed, and return what the sender should know.

        The story is opened where there is room.

        Raises:
            InputError: the command cannot be carried out, or the server is full.
        """
        if story not in self.channels and not await self._make_room():
            raise RequestError("busy", f"{self._limits.sessions} stories are open already; wait until one is left")
        async with self._opened(story):
            notes = await asyncio.wrap_future(self._worker.apply(story, command))
            await self._told()
            return notes

    def draft(self, story: str, text: str) -> None:
        """Have a caption that is being written encoded ahead; return before it is, and open no story for it.

        Raises:
            InputError: it is empty or too long, or the story is not open.
        """
        check_caption(text, self._limits)
        channel = self.channels.get(story)
        if channel is None or not channel.opened.done():
            raise RequestError("conflict", "This story is not open. Watch it first.")
        self._worker.draft(story, text)

    async def shut(self, story: str) -> None:
        """Close a story and disconnect its viewers."""
        channel = self.channels.pop(story, None)
        if channel is not None:
            self._dismiss(channel)
        await asyncio.shield(asyncio.wrap_future(self._worker.close_story(story)))

    async def finish(self, stories: Sequence[str]) -> None:
        """Open stories that still have shots to make, one after another as there is room."""
        for story in stories:
            try:
                await self._wait_for_room(story, Viewer())
                async with self._opened(story):
                    pass
            except InputError:
                _log.exception("story %s cannot go on", story)

    async def _missed(self, story: str, channel: Channel, seen: FrameKey | None) -> list[FramePacket]:
        """Return the frames of finished shots that a viewer missed, read from the disk if the channel dropped them."""
        if seen is None or channel.knows(seen):
            return []
        takes = await asyncio.wrap_future(self._worker.finished_after(story, seen))
        return await self._loop.run_in_executor(self._encoder, pack_takes, story, takes, seen, RECENT_FRAMES)

    async def _wait_for_room(self, story: str, viewer: Viewer) -> None:
        ticket, told = object(), 0
        self._line.append(ticket)
        try:
            while story not in self.channels:
                change = self._change
                position = self._line.index(ticket) + 1
                if position == 1 and await self._make_room():
                    break
                if position != told:
                    viewer.send(Waiting(position=position))
                told = position
                await change.wait()
        finally:
            self._line.remove(ticket)
            self._changed()

    async def _make_room(self) -> bool:
        """Close an idle story if another one needs its place; return whether there is room."""
        if len(self.channels) < self._limits.sessions:
            return True
        idle = next((story for story, channel in self.channels.items() if channel.idle), None)
        if idle is None:
            return False
        del self.channels[idle]
        await asyncio.shield(asyncio.wrap_future(self._worker.close_story(idle)))
        return len(self.channels) < self._limits.sessions

    @asynccontextmanager
    async def _opened(self, story: str) -> AsyncIterator[Channel]:
        """Open a story, if it is not open, and keep it from being closed until the context ends."""
        channel = self.channels.get(story)
        if channel is None:
            channel = self.channels[story] = Channel(partial(self._open, story))
        channel.pending += 1
        try:
            await asyncio.shield(channel.opened)
            yield channel
        finally:
            channel.pending -= 1
            self._changed()

    async def _open(self, story: str, channel: Channel) -> None:
        try:
            await asyncio.wrap_future(self._worker.open(story, self._publisher(story, channel)))
            await self._told()
        except Exception:
            self._forget(story, channel)
            raise

    async def _told(self) -> None:
        """Wait until all earlier messages were handed to the viewers; this preserves order."""
        await self._loop.run_in_executor(self._encoder, lambda: None)

    def _publisher(self, story: str, channel: Channel) -> Publish:
        """Return the function that a session calls with its news: it encodes frames on one other thread, in order."""

        def publish(item: News) -> None:
            self._encoder.submit(deliver, item)

        def deliver(item: News) -> None:
            news = pack_chunk(story, item) if isinstance(item, Chunk) else item
            self._loop.call_soon_threadsafe(self._arrived, story, channel, news)

        return publish

    def _arrived(self, story: str, channel: Channel, news: Message | list[FramePacket] | Retract) -> None:
        channel.push(news)
        if isinstance(news, Problem):
            self._forget(story, channel)
            self._dismiss(channel)
        if channel.idle:
            self._changed()

    def _forget(self, story: str, channel: Channel) -> None:
        """Free the place of a story that cannot go on."""
        if self.channels.get(story) is channel:
            del self.channels[story]
        self._changed()

    def _dismiss(self, channel: Channel) -> None:
        for viewer in channel.viewers:
            viewer.end()
        self._changed()

    def _changed(self) -> None:
        """Wake everybody who waits for room."""
        self._change.set()
        self._change = asyncio.Event()
