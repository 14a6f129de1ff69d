"""A server answers before its model is open, and goes on with what it had to make."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from shotstream.api import Model
from shotstream.cli import main
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.serve.http.app import make_app
from shotstream.serve.http.run import open_listener, serve_model
from shotstream.serve.limits import Settings
from shotstream.serve.store import Store


def test_a_server_that_opens_its_model_says_so(model: Model, tmp_path: Path) -> None:
    allowed = threading.Event()

    def open_model() -> Model:
        assert allowed.wait(30)
        return model

    with TestClient(make_app(open_model, Settings(tmp_path / "data")), base_url="http://127.0.0.1") as client:
        try:
            assert client.get("/api/health").json()["status"] == "opening"
            assert "<title>ShotStream" in client.get("/").text
            reply = client.get("/api/stories")
            assert (reply.status_code, reply.json()["code"]) == (503, "busy")
            with client.websocket_connect("ws://127.0.0.1/api/stories/x/watch") as socket:
                assert socket.receive_json()["code"] == "busy"
                with pytest.raises(WebSocketDisconnect):
                    socket.receive_json()
        finally:
            allowed.set()
        while client.get("/api/health").json()["status"] == "opening":
            pass
        assert client.get("/api/stories").json() == []


def test_a_model_that_cannot_be_opened_ends_the_server(tmp_path: Path) -> None:
    def open_model() -> Model:
        raise InputError("there is no such model")

    settings = Settings(tmp_path / "data", port=0)
    with open_listener(settings) as listening, pytest.raises(InputError, match="no such model"):
        asyncio.run(asyncio.wait_for(serve_model(open_model, settings, listening, lambda _: None), 30))


def test_stories_belong_to_one_server_at_a_time(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with TestClient(make_app(lambda: model, Settings(tmp_path))):
        assert main(["serve", "--data", str(tmp_path), "--port", "0"]) == 2
        said = capsys.readouterr()
        assert said.err == (
            f"shotstream: another server uses the stories in {tmp_path}; stop it or give another --data\n"
        )
        assert said.out == ""
    Store(tmp_path).close()


def test_one_thread_opens_the_model_and_computes_with_it(model: Model, tmp_path: Path) -> None:
    """Two would slow each other down."""
    threads = set()

    def open_model() -> Model:
        threads.add(threading.get_ident())
        return model

    hook = model.parts.transformer.register_forward_pre_hook(lambda *_: threads.add(threading.get_ident()))
    try:
        with TestClient(make_app(open_model, Settings(tmp_path / "data")), base_url="http://127.0.0.1") as client:
            while client.get("/api/health").json()["status"] == "opening":
                pass
            story = client.post("/api/stories", json={"global_caption": "A fox."}).json()["id"]
            client.post(f"/api/stories/{story}/commands", json={"type": "shot", "text": "It walks.", "chunks": 1})
            while client.get(f"/api/stories/{story}").json()["unfinished"]:
                pass
            assert client.get(f"/api/stories/{story}").json()["frames"] == 9
    finally:
        hook.remove()
    assert len(threads) == 1


def test_what_was_to_be_made_is_made_after_a_restart_though_nobody_comes(serve: Any) -> None:
    with serve(ahead_chunks=1) as studio:
        stories = [studio.begin(seed=seed) for seed in range(3)]
        for story in stories:
            for text in ("The fox walks.", "The fox sleeps."):
                assert studio.command(story, type="queue", shots=[{"text": text, "chunks": 2}]).status_code == 200
        assert studio.client.get(f"/api/stories/{story}").json()["unfinished"]
    with serve(sessions=1) as studio:
        for story in stories:
            assert studio.wait(story)["frames"] == 2 * PAPER_SHOT.frames_of_chunks(2)


def test_who_comes_back_after_a_restart_gets_the_rest_from_the_disk(serve: Any) -> None:
    with serve() as studio:
        story = studio.begin()
        with studio.watch(story) as watcher:
            watcher.make("The fox walks.", 2)
            watcher.make("The fox sleeps.", 1)
            watcher.make("The fox jumps.", 1)
    whole = watcher.order
    for seen in (whole[4], whole[-10]):
        with serve() as studio, studio.watch(story, ".".join(map(str, seen))) as again:
            while not (again.order and again.order[-1] == whole[-1]):
                again.read()
        assert again.order == whole[whole.index(seen) + 1 :]
        assert again.frames == {key: watcher.frames[key] for key in again.order}
    with serve() as studio, studio.watch(story, "0.7.1") as elsewhere:
        elsewhere.make("The fox waits.", 1)
    assert {key.shot for key in elsewhere.order} == {3}


def test_a_long_absence_is_cut_to_what_is_worth_seeing(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shotstream.serve.open_stories.RECENT_FRAMES", 12)
    with serve() as studio:
        story = studio.begin()
        with studio.watch(story) as watcher:
            watcher.make("The fox walks.", 2)
            watcher.make("The fox sleeps.", 1)
    with serve() as studio, studio.watch(story, "0.0.0") as again:
        while not (again.order and again.order[-1] == watcher.order[-1]):
            again.read()
    assert again.order == watcher.order[-12:]
