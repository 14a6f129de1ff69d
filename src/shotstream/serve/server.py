"""What every request needs: the model, the stories, and those that are open."""

import threading
from typing import Annotated

from fastapi import Depends, Request

from shotstream.api import Model
from shotstream.serve.director import Director
from shotstream.serve.exports import clear
from shotstream.serve.house import House
from shotstream.serve.settings import Settings
from shotstream.serve.store import Store
from shotstream.serve.worker import Worker

COPIES = 2
"""Exports and imports at a time."""


class Server:
    """A running server; made on its event loop."""

    def __init__(self, model: Model, settings: Settings, store: Store, worker: Worker) -> None:
        self.model, self.settings, self.store, self.worker = model, settings, store, worker
        self.house = House(worker, settings.limits)
        self.passing = clear(settings.data / "passing")
        self.director = Director.from_environment()
        self.copying = threading.BoundedSemaphore(COPIES)


def server_of(request: Request) -> Server:
    """The server that a request came to."""
    return request.app.state.server


Here = Annotated[Server, Depends(server_of)]
