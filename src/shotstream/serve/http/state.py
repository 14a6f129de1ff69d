"""State that every request needs: the model, the stories, and the open ones."""

import asyncio
import threading
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from shotstream.api import Model
from shotstream.serve.commands import AnyCommand, DraftCaption, MakeShot, QueueShots, RetryShot
from shotstream.serve.disk import check_disk_space
from shotstream.serve.errors import RequestError
from shotstream.serve.exports import clear
from shotstream.serve.limits import Settings
from shotstream.serve.llm import Director
from shotstream.serve.messages import Note
from shotstream.serve.model_match import ModelMatch
from shotstream.serve.open_stories import OpenStories
from shotstream.serve.replays import Replays
from shotstream.serve.store import Store, StoryRow
from shotstream.serve.views import StoryView
from shotstream.serve.worker import Worker

COPIES = 2
"""Exports and imports at a time."""


class Server:
    """A running server; made on its event loop."""

    def __init__(self, model: Model, settings: Settings, store: Store, worker: Worker) -> None:
        self.model, self.settings, self.store, self.worker = model, settings, store, worker
        self.house = OpenStories(worker, settings.limits)
        self.passing = clear(settings.data / "passing")
        self.replays = Replays(settings.data / "replays")
        self.origins = ModelMatch(store, model)
        self.director = Director.from_environment()
        self.copying = threading.BoundedSemaphore(COPIES)

    def view(self, row: StoryRow) -> StoryView:
        """A story as clients see it."""
        return StoryView.of(row, foreign=self.origins.foreign(row.id))

    def find(self, story: str) -> StoryRow:
        """A story that can be gone on with.

        Raises:
            RefusedError: there is none, or another model made it.
        """
        row = self.store.get(story)
        self.origins.check(row.id)
        return row

    async def carry_out(self, story: str, command: AnyCommand | DraftCaption) -> list[Note]:
        """Carry out a command in a story and return what its sender should know; new shots need room on the disk.

        Raises:
            InputError: there is no such story, or it cannot be done.
        """
        await asyncio.to_thread(self.find, story)
        if isinstance(command, MakeShot | RetryShot | QueueShots):
            await asyncio.to_thread(check_disk_space, self.store.data, self.settings.limits)
        if isinstance(command, DraftCaption):
            self.house.draft(story, command.text)
            return []
        return await self.house.apply(story, command)


def server_of(connection: HTTPConnection) -> Server:
    """The server that a request came to.

    Raises:
        RefusedError: its model is still being opened.
    """
    server: Server | None = connection.app.state.server
    if server is None:
        raise RequestError("busy", "the server is opening its model still; try again in a moment")
    return server


Here = Annotated[Server, Depends(server_of)]
