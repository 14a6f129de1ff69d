"""State that every request needs: the model, the stories, and the open ones."""

import threading
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from shotstream.api import Model
from shotstream.serve.disk import DiskSpace
from shotstream.serve.errors import RequestError
from shotstream.serve.exports import clear
from shotstream.serve.limits import Settings
from shotstream.serve.llm import Director
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
        self.disk = DiskSpace(store.data, settings.limits)
        self.open_stories = OpenStories(worker, settings.limits, self.find, self.disk)
        self.passing = clear(settings.data / "passing")
        self.replays = Replays(settings.data / "replays")
        self.model_match = ModelMatch(store, model)
        self.director = Director.from_environment()
        self.copying = threading.BoundedSemaphore(COPIES)

    @property
    def guidance(self) -> float | None:
        """Return the scale of guidance of stories that name none; None: the model takes none."""
        return self.model.guidance if self.settings.guidance is None else self.settings.guidance

    def view(self, row: StoryRow) -> StoryView:
        """Return a story as clients see it."""
        return StoryView.of(row, other_model=self.model_match.is_by_other_model(row.id))

    def find(self, story: str) -> StoryRow:
        """Return a story that can be gone on with.

        Raises:
            RequestError: there is none, or another model made it.
        """
        row = self.store.get(story)
        self.model_match.check(row.id)
        return row


def server_of(connection: HTTPConnection) -> Server:
    """Return the server that a request came to.

    Raises:
        RequestError: its model is still being opened.
    """
    server: Server | None = connection.app.state.server
    if server is None:
        raise RequestError("busy", "the server is opening its model still; try again in a moment")
    return server


Here = Annotated[Server, Depends(server_of)]
