"""Room for stories: whom it is kept for, and that closing one is never refused."""

import asyncio
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shotstream.serve.broadcast import Viewer
from shotstream.serve.commands import CutShot
from shotstream.serve.disk import DiskSpace
from shotstream.serve.errors import RequestError
from shotstream.serve.limits import Limits
from shotstream.serve.messages import Hello
from shotstream.serve.open_stories import OpenStories

CUT = CutShot(type="cut")


class Hand:
    """A worker whose stories open when they are let."""

    def __init__(self) -> None:
        self.opening: Future[None] = Future()

    def open(self, *_: Any) -> "Future[None]":
        return self.opening

    def close_story(self, _: str) -> "Future[None]":
        closed: Future[None] = Future()
        closed.set_result(None)
        return closed

    def stop(self) -> None:
        pass


def test_a_story_is_kept_for_whom_it_is_being_opened() -> None:
    async def come() -> None:
        hand = Hand()
        house, viewer = OpenStories(hand, Limits(sessions=1), print, DiskSpace(Path(), Limits())), Viewer()
        hello = Hello(story="one", global_caption="A fox.", width=48, height=32, fps=16, ahead_chunks=1)
        sitting = house.watching("one", viewer, hello)
        task = asyncio.create_task(sitting.__aenter__())
        for turn in range(20):
            await asyncio.sleep(0)
            if turn == 5:
                hand.opening.set_result(None)
            with pytest.raises(RequestError, match="stories are open already"):
                await house.apply("two", CUT)
        assert viewer in (await task).viewers
        assert list(house.channels) == ["one"]
        await sitting.__aexit__(None, None, None)
        await house.close()

    asyncio.run(come())


class Slow(ThreadPoolExecutor):
    """The thread of the encoder on a busy machine."""

    def submit(self, work: Any, *given: Any) -> "Future[Any]":
        return super().submit(lambda: (time.sleep(0.02), work(*given))[1])


def test_done_is_said_after_what_the_command_has_changed(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shotstream.serve.open_stories.ThreadPoolExecutor", Slow)
    with serve() as studio, studio.watch(studio.begin()) as watcher:
        hello, first = watcher.read(), watcher.read()
        assert (hello["type"], first["type"], first["work"]) == ("hello", "state", None)
        watcher.forget()
        watcher.say(type="shot", text="The fox jumps.", chunks=1, id=1)
        watcher.until(type="done", id=1)
        told = [message["type"] for message in watcher.messages]
        assert told[:2] == ["flush", "state"]
        assert [shot["text"] for shot in watcher.messages[1]["queue"]] == ["The fox jumps."]
        watcher.rest()
        assert watcher.frames


def test_a_story_is_closed_however_many_commands_wait(serve: Any) -> None:
    with serve(sessions=1, pending_commands=2) as studio:
        worker = studio.client.app.state.server.worker
        first, second = studio.begin(), studio.begin()

        def occupied() -> None:
            """The worker is busy for a moment, and no more commands may wait for it."""
            taken, over = threading.Event(), threading.Event()
            worker._submit(lambda: taken.set() or over.wait(30))
            assert taken.wait(30)
            for _ in range(2):
                worker._submit(lambda: None)
            threading.Timer(0.2, over.set).start()

        assert studio.command(first, type="cut").status_code == 200
        occupied()
        assert studio.command(first, type="cut").json()["code"] == "busy"
        assert studio.command(second, type="cut").status_code == 200, "in the place of the first"
        assert studio.command(first, type="cut").status_code == 200, "which is opened again"
        occupied()
        assert studio.client.delete(f"/api/stories/{first}").status_code == 204
        assert list(worker._turns) == []
