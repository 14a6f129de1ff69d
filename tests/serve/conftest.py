"""A server with a tiny model of random weights, and somebody who watches it."""

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from shotstream.api import Model
from shotstream.serve.http.app import make_app
from shotstream.serve.http.run import open_listener
from shotstream.serve.limits import Limits, Settings
from shotstream.serve.packets import FrameKey, FramePacket
from shotstream.weights.build import random_components
from tiny import live_model

HOME = "http://127.0.0.1"
Frames = dict[FrameKey, bytes]


@pytest.fixture(scope="session")
def model() -> Model:
    return Model(random_components(live_model()))


class Watcher:
    """One viewer: what it was sent, in order."""

    def __init__(self, socket: Any) -> None:
        self.socket, self.frames = socket, Frames()
        self.messages: list[dict[str, Any]] = []
        self.order: list[FrameKey] = []

    def read(self) -> dict[str, Any] | FrameKey:
        """The next message, or the place of the next frame."""
        message = self.socket.receive()
        if message["type"] == "websocket.close":
            raise EOFError(message.get("code"))
        if message.get("bytes") is not None:
            packet = FramePacket.unpack(message["bytes"])
            self.frames[packet.key] = packet.picture
            self.order.append(packet.key)
            return packet.key
        self.messages.append(json.loads(message["text"]))
        return self.messages[-1]

    def until(self, **wanted: Any) -> dict[str, Any]:
        """Reads until a message has these values."""
        while True:
            got = self.read()
            if isinstance(got, dict) and all(got.get(key) == value for key, value in wanted.items()):
                return got

    def forget(self) -> None:
        """Forgets what came so far."""
        self.frames.clear()
        self.messages.clear()
        self.order.clear()

    def rest(self) -> dict[str, Any]:
        """Reads until the story has nothing more to make."""
        return self.until(type="state", work=None, queue=[])

    def make(self, text: str, chunks: int) -> dict[str, Any]:
        """Makes a shot and sees it to its end; how the story stands then."""
        self.say(type="shot", text=text, chunks=chunks, id=1)
        self.until(type="done", id=1)
        return self.rest()

    def say(self, **command: Any) -> None:
        """Sends a command."""
        self.socket.send_json(command)


class Studio:
    """A client of a server."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def begin(self, caption: str = "A red fox in a forest.", seed: int = 7) -> str:
        """Begins a story; its id."""
        reply = self.client.post("/api/stories", json={"global_caption": caption, "seed": seed})
        assert reply.status_code == 201, reply.text
        return reply.json()["id"]

    @contextmanager
    def watch(self, story: str, seen: str = "") -> Iterator[Watcher]:
        """Watches a story."""
        query = f"?seen={seen}" if seen else ""
        with self.client.websocket_connect(f"ws://127.0.0.1/api/stories/{story}/watch{query}") as socket:
            yield Watcher(socket)

    def command(self, story: str, **command: Any) -> Any:
        """A command over HTTP."""
        return self.client.post(f"/api/stories/{story}/commands", json=command)

    def wait(self, story: str) -> dict[str, Any]:
        """Waits until a story has nothing to make, and says how it stands."""
        for _ in range(2000):
            view = self.client.get(f"/api/stories/{story}").json()
            if not view["unfinished"]:
                return view
            time.sleep(0.01)
        raise AssertionError("it does not end")


MakeStudio = Callable[..., AbstractContextManager[Studio]]


@pytest.fixture
def serve(model: Model, tmp_path: Path) -> MakeStudio:
    """Starts a server on the test's directory; limits, a token and defaults of stories can be given."""

    @contextmanager
    def start(token: str | None = None, defaults: Mapping[str, Any] | None = None, **limits: Any) -> Iterator[Studio]:
        settings = Settings(
            tmp_path / "data", token=token, limits=Limits(**({"ahead_chunks": 10**6} | limits)), **(defaults or {})
        )
        app = make_app(lambda: model, settings)
        with TestClient(app, base_url=HOME, raise_server_exceptions=False) as client:
            while client.get("/api/health").json()["status"] == "opening":
                time.sleep(0.01)
            yield Studio(client)

    return start


@pytest.fixture
def studio(serve: MakeStudio) -> Iterator[Studio]:
    with serve() as studio:
        yield studio


@pytest.fixture
def listen(tmp_path: Path) -> Callable[[Model], AbstractContextManager[str]]:
    """Starts a server with a model at a port of this machine, and gives its address."""

    @contextmanager
    def start(model: Model) -> Iterator[str]:
        settings = Settings(tmp_path / "listening", port=0)
        listening = open_listener(settings)
        config = uvicorn.Config(make_app(lambda: model, settings), log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            while json.load(urllib.request.urlopen(f"{address}/api/health"))["status"] == "opening":
                time.sleep(0.02)
            yield address
        finally:
            server.should_exit = True
            thread.join()

    return start
