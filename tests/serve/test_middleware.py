"""What must not get in, and what must not get out."""

import asyncio
import contextlib
import gc
import json
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.websockets import WebSocketDisconnect

from shotstream.core.errors import InputError
from shotstream.serve.commands import SocketCommand
from shotstream.serve.http.middleware import POLICY_VIOLATION
from shotstream.serve.limits import Limits, Settings

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
COMMANDS = [get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(SocketCommand)]
FIELDS = {name for kind in get_args(SocketCommand) for name in kind.model_fields if name != "type"} | {"more"}
NEARLY = st.fixed_dictionaries(
    {"type": st.sampled_from([*COMMANDS, "x"])},
    optional=dict.fromkeys(FIELDS, JSON),
)


def test_other_machines_need_a_token(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.168.1.5", "example.org", "::"):
        with pytest.raises(InputError, match="token"):
            Settings(tmp_path, host)
        assert Settings(tmp_path, host, token="secret").token == "secret"
    assert Settings(tmp_path, "localhost").token is None
    with pytest.raises(InputError, match="sessions"):
        Limits(sessions=0)


def test_a_token_is_asked_for_everywhere(serve: Any) -> None:
    with serve(token="sesame") as studio:
        paths = list(studio.client.get("/api/openapi.json?token=sesame").json()["paths"])
        assert len(paths) > 8
        for path in [*paths, "/api/openapi.json"]:
            expected = 200 if path == "/api/health" else 401
            assert studio.client.get(path).status_code == expected, path
        assert studio.client.get("/").status_code == 200
        assert studio.client.get("/api/stories", headers={"Authorization": "Bearer sesame"}).json() == []
        assert studio.client.get("/api/stories?token=wrong").status_code == 401
        with studio.watch("0" * 16) as watcher:
            assert watcher.read()["code"] == "unauthorized"
            with pytest.raises(EOFError, match=str(POLICY_VIOLATION)):
                watcher.read()


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}, {"Host": "[::1"}]
)
def test_pages_of_other_sites_are_refused(studio: Any, headers: dict[str, str]) -> None:
    reply = studio.client.post("/api/stories", json={"global_caption": "x"}, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")
    address = f"ws://127.0.0.1/api/stories/{'0' * 16}/watch"
    with studio.client.websocket_connect(address, headers=headers) as socket:
        assert socket.receive_json()["code"] == "forbidden"
        assert socket.receive()["code"] == POLICY_VIOLATION


def test_every_part_of_the_page_has_the_pages_rules(studio: Any) -> None:
    for path in ("/", "/web/main.js", "/web/styles/base.css", "/web/icon.svg"):
        reply = studio.client.get(path)
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"], path
        assert reply.headers["cache-control"] == "no-cache", path
        again = studio.client.get(path, headers={"If-None-Match": reply.headers["etag"]})
        assert again.headers["cache-control"] == "no-cache", path
    for path in ("/web/index.html", "/web/./index.html", "/web/", "/api/docs", "/docs/"):
        assert studio.client.get(path).status_code == 404, path


def test_bodies_have_a_limit(serve: Any) -> None:
    with serve(body_bytes=1000) as studio:
        long = {"global_caption": "x" * 2000}
        assert studio.client.post("/api/stories", json=long).json()["code"] == "too_large"
        pieces = (b"x" * 500 for _ in range(5))
        assert studio.client.post("/api/stories", content=pieces).json()["code"] == "too_large"


def test_limits_of_stories_and_disk(serve: Any) -> None:
    with serve(stories=1, text=30) as studio:
        name = studio.begin()
        assert studio.client.post("/api/stories", json={"global_caption": "x"}).json()["code"] == "full"
        assert studio.command(name, type="shot", text="x" * 31).json()["code"] == "too_large"
        assert studio.client.delete(f"/api/stories/{name}").status_code == 204
        assert studio.client.get(f"/api/stories/{name}").status_code == 404
    with serve() as studio:
        name = studio.begin()
        assert studio.command(name, type="shot", text="It walks.", chunks=1).status_code == 200
        studio.wait(name)
    with serve(disk_bytes=1) as studio:
        assert studio.command(name, type="shot", text="It walks.", chunks=1).json()["code"] == "full"
        assert studio.command(name, type="rewind", shot=1).status_code == 200
        assert studio.client.get(f"/api/stories/{name}/export/yaml").status_code == 200
        assert studio.client.post("/api/stories", json={"global_caption": "x"}).json()["code"] == "full"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=NEARLY | JSON, name=st.text(max_size=30) | st.sampled_from(["..", "%2e%2e%2f", "../../x", "0" * 16]))
def test_hostile_requests_are_answered(studio: Any, tmp_path: Path, message: Any, name: str) -> None:
    body = json.dumps(message).encode()
    quoted = "".join(f"%{byte:02x}" for byte in name.encode()) or "x"
    story = f"/api/stories/{quoted}"
    for path in (f"{story}/commands", "/api/stories", "/api/outline", "/api/import", f"{story}/cast?caption={quoted}"):
        reply = studio.client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert reply.status_code < 500 or reply.json()["code"] == "unavailable", reply.text
    for path in (f"/web/{quoted}", f"{story}/export/{quoted}", f"{story}/takes/{quoted}/0/video", f"{story}/tree"):
        assert studio.client.get(path).status_code < 500
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large, HealthCheck.too_slow],
)
@given(messages=st.lists((NEARLY | JSON).map(json.dumps) | st.text(max_size=50), min_size=10, max_size=25))
def test_whatever_is_said_over_the_socket_is_answered(serve: Any, messages: list[str]) -> None:
    with serve(ahead_chunks=1, chunks=7) as studio, studio.watch(studio.begin()) as watcher:
        for number, text in enumerate(messages):
            watcher.socket.send_text(text)
            while (answer := watcher.read()) and not (isinstance(answer, dict) and answer["type"] in ("done", "error")):
                pass
            assert answer["type"] == "done" or answer["code"] != "internal", (number, text)


def test_hostile_messages_leave_the_socket_open(studio: Any) -> None:
    name = studio.begin()
    bad = [
        "",
        "[" * 10_000,
        '{"type":"shot"}',
        '{"type":"shot","text":"\\ud800"}',
        '{"type":"shot","text":"a\\u0000b"}',
        '{"type":"rewind","shot":-1}',
        "\0",
    ]
    with studio.watch(name) as watcher:
        for text in bad:
            watcher.socket.send_text(text)
            assert watcher.until(type="error")["code"] == "invalid"
        watcher.socket.send_bytes(b"\xff\xfe")
        assert watcher.until(type="error")["code"] == "invalid"
        watcher.say(type="steer", text="It jumps.", id=9)
        assert watcher.until(type="error", id=9)["code"] == "conflict"
    for story, seen in (("0" * 16, ""), (name, "a.b.c"), ("..", "")):
        with contextlib.suppress(EOFError, WebSocketDisconnect), studio.watch(story, seen) as watcher:
            assert watcher.until(type="error")["code"] in ("not_found", "invalid")


def test_what_breaks_inside_is_told_without_its_place(studio: Any, tmp_path: Path) -> None:
    name = studio.begin()
    place = tmp_path / "data" / "stories" / name
    place.mkdir(parents=True)
    (place / "story.json").write_text("{}")
    with studio.watch(name) as watcher:
        message = watcher.until(type="error")["message"]
    assert "A file of the server" in message
    assert str(tmp_path) not in message
    assert studio.command(name, type="cut").json() == {"code": "invalid", "message": message}
    assert studio.client.get(f"/api/stories/{name}/tree").json()["code"] == "invalid"


def holdings(studio: Any) -> tuple[int, int, int]:
    """Threads, tasks and open files of this process."""
    tasks = studio.client.portal.call(lambda: len(asyncio.all_tasks()))
    return threading.active_count(), tasks, len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow
def test_many_shots_take_no_more_memory_than_their_captions(serve: Any) -> None:
    """The server keeps the latest 256 frames, which are 28 shots; the frames of 25 more would be 1 MB.

    What is still being written down when the last shot is shown is freed soon.
    """

    def size(watcher: Any) -> int:
        watcher.forget()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    with serve() as studio, studio.watch(studio.begin()) as watcher:
        tracemalloc.start()
        for _ in range(30):
            watcher.make("The fox walks.", 1)
        before = size(watcher)
        for _ in range(25):
            watcher.make("The fox walks.", 1)
        until = time.monotonic() + 10
        while (grown := size(watcher) - before) >= 125_000 and time.monotonic() < until:
            time.sleep(0.1)
        tracemalloc.stop()
    assert grown < 125_000


def test_fifty_viewers_come_and_go_and_leave_nothing(studio: Any) -> None:
    name = studio.begin()
    with studio.watch(name) as watcher:
        watcher.make("The fox walks.", 1)
    before = holdings(studio)
    for _ in range(50):
        with studio.watch(name) as watcher:
            watcher.until(type="hello")
    house = studio.client.app.state.server.open_stories
    assert (house.viewers, house.waiting) == (0, 0)
    deadline = time.monotonic() + 20  # threads of the client end a moment after its sockets
    while any(now > then for now, then in zip(holdings(studio), before, strict=True)) and time.monotonic() < deadline:
        time.sleep(0.05)
    # Others in this process may have begun something meanwhile; what fifty viewers leave would be fifty of it.
    assert all(now <= then + 5 for now, then in zip(holdings(studio), before, strict=True))
    figures = studio.client.get("/metrics").text
    assert "\nshotstream_frames_total 9\n" in figures
    assert "\nshotstream_viewers 0\n" in figures
