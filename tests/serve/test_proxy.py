"""The server behind a proxy: the blocks of docs/deploy.md on a real nginx, and what each header is worth."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient
from websockets.sync.client import connect

from shotstream.api import Model
from shotstream.core.errors import InputError
from shotstream.serve.http.app import make_app
from shotstream.serve.http.run import open_listener
from shotstream.serve.limits import Settings
from shotstream.serve.packets import FramePacket

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy.md"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
ORIGIN = "https://studio.example.org"
TOKEN = {"Authorization": "Bearer secret"}


def blocks(language: str) -> list[str]:
    """The blocks of the page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", DEPLOY.read_text(), re.DOTALL)


def asked(model: Model, data: Path, headers: dict[str, str], **settings: Any) -> Any:
    """The answer to a page's POST that a proxy on this machine passes on."""
    app = make_app(lambda: model, Settings(data, token="secret", **settings))
    with TestClient(app, base_url="http://127.0.0.1:7860", client=("127.0.0.1", 4000)) as client:
        while client.get("/api/health", headers=TOKEN).json()["status"] == "opening":
            time.sleep(0.01)
        return client.post("/api/stories", json={"global_caption": "A fox."}, headers={**TOKEN, **headers})


@pytest.mark.parametrize(
    ("headers", "settings", "status"),
    [
        ({"Host": "studio.example.org"}, {}, 201),
        ({"Host": "Studio.example.org:443"}, {}, 201),
        ({"X-Forwarded-Host": "studio.example.org"}, {}, 201),
        ({"X-Forwarded-Host": "studio.example.org, inner.example"}, {}, 201),
        ({}, {"public_url": ORIGIN}, 201),
        ({}, {"public_url": f"{ORIGIN}/studio"}, 201),
        ({}, {}, 403),
        ({"X-Forwarded-Host": "other.example"}, {}, 403),
        ({"X-Forwarded-Host": "studio.example.org"}, {"trusted_proxies": ("10.0.0.0/8",)}, 403),
        ({}, {"public_url": "https://other.example"}, 403),
    ],
)
def test_a_page_is_the_servers_own_by_each_of_its_names(
    model: Model, tmp_path: Path, headers: dict[str, str], settings: dict[str, Any], status: int
) -> None:
    reply = asked(model, tmp_path, {"Origin": ORIGIN, **headers}, **settings)
    assert reply.status_code == status, reply.text
    if status == 403:
        assert f"page at {ORIGIN}" in reply.json()["message"]
        assert "--public-url" in reply.json()["message"]


def test_a_server_without_a_token_says_that_others_need_one(model: Model, tmp_path: Path) -> None:
    app = make_app(lambda: model, Settings(tmp_path))
    with TestClient(app, base_url="http://127.0.0.1:7860", client=("127.0.0.1", 4000)) as client:
        for headers in ({"Host": "studio.example.org"}, {"X-Forwarded-Host": "studio.example.org"}):
            reply = client.get("/api/health", headers=headers)
            assert reply.status_code == 403
            assert "studio.example.org" in reply.json()["message"]
            assert "--token" in reply.json()["message"]
        assert client.get("/api/health", headers={"X-Forwarded-Host": "localhost:80"}).status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"public_url": "studio.example.org"},
        {"public_url": "ftp://studio.example.org"},
        {"public_url": "https://studio.example.org/?x"},
        {"public_url": "https://[::1"},
        {"public_url": ORIGIN, "token": None},
        {"trusted_proxies": ("proxy",)},
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"expected (a token|a trusted proxy|the public address)"):
        Settings(tmp_path, **({"token": "secret"} | settings))


def test_a_prefix_that_the_proxy_leaves_on_is_taken_off(model: Model, tmp_path: Path) -> None:
    settings = Settings(tmp_path, token="secret", public_url=f"{ORIGIN}/a/studio/")
    with TestClient(make_app(lambda: model, settings), base_url=ORIGIN, follow_redirects=False) as client:
        assert "<title>ShotStream" in client.get("/a/studio/").text
        assert client.get("/a/studio").headers["location"] == "/a/studio/"
        assert client.get("/a/studio/web/main.js").status_code == 200
        assert client.get("/a/studio/api/health").json()["version"]
        assert client.get("/a/studio/api/stories").status_code == 401
        assert client.get("/a/studiox").status_code == 401


def test_head_is_answered_wherever_get_is(studio: Any) -> None:
    name = studio.begin()
    assert studio.command(name, type="shot", text="The fox walks.", chunks=1).status_code == 200
    studio.wait(name)
    story = f"/api/stories/{name}"
    for path in ("/", "/web/main.js", "/api/health", "/api/stories", story, f"{story}/export/mp4", "/metrics", "/none"):
        get, head = (studio.client.request(method, path) for method in ("GET", "HEAD"))
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.headers["content-type"] == get.headers["content-type"], path
        assert head.headers["content-length"] == str(len(get.content)), path
    assert studio.client.head(f"{story}/commands").status_code == 405
    assert studio.client.delete("/api/health").json()["code"] == "method_not_allowed"


@contextmanager
def running(model: Model, data: Path, **settings: Any) -> Iterator[int]:
    """A server at a port of this machine."""
    given = Settings(data, port=0, token="secret", **settings)
    listening = open_listener(given)
    config = uvicorn.Config(make_app(lambda: model, given), log_level="warning", proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def nginx(config: str, directory: Path) -> Iterator[None]:
    """A real nginx in the foreground."""
    assert NGINX is not None
    path = directory / "nginx.conf"
    bodies = " ".join(f"{kind}_temp_path {directory};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    path.write_text(
        f"daemon off; pid {directory}/pid; error_log {directory}/error.log; worker_processes 1;\n"
        f"events {{}}\nhttp {{ access_log off; {bodies}\n{config} }}\n"
    )
    with subprocess.Popen([NGINX, "-p", str(directory), "-c", str(path)], stderr=subprocess.PIPE) as process:
        try:
            yield
        finally:
            process.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def local(config: str, port: int, server: int) -> str:
    """A block of the page for this machine: without TLS, and with its ports."""
    config = re.sub(r" *ssl_certificate.*\n", "", config).replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    return config.replace("127.0.0.1:7860", f"127.0.0.1:{server}")


def patiently(url: str) -> Any:
    """The answer of a server, once it and the proxy are there."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                answer = json.load(reply)
            if answer["status"] == "ready":
                return answer
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"nothing answers at {url}")


def use(address: str, origin: str) -> None:
    """Begin, watch and direct a story as the page does."""
    patiently(f"{address}api/health")
    body = json.dumps({"global_caption": "A fox."}).encode()
    headers = {**TOKEN, "Origin": origin, "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{address}api/stories", body, headers)) as reply:
        story = json.load(reply)["id"]
    watch = f"{address.replace('http', 'ws')}api/stories/{story}/watch?token=secret"
    with connect(watch, origin=origin) as watcher:  # type: ignore[arg-type]
        watcher.send(json.dumps({"type": "shot", "text": "It walks.", "chunks": 1}))
        while isinstance(data := watcher.recv(timeout=30), str):
            assert json.loads(data)["type"] != "error", data
        assert FramePacket.unpack(data).key == (0, 0, 0)
    large = urllib.request.Request(f"{address}api/import", b"x" * 2**21, headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(large)
    assert json.load(refused.value)["code"] == "invalid", "the server has read it; the proxy would have said 413"


@pytest.mark.skipif(NGINX is None, reason="no nginx: apt-get install nginx-light")
def test_the_nginx_block_of_the_docs_works(model: Model, tmp_path: Path) -> None:
    port = free_port()
    with running(model, tmp_path / "data") as server, nginx(local(blocks("nginx")[0], port, server), tmp_path):
        use(f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}")


@pytest.mark.skipif(NGINX is None, reason="no nginx: apt-get install nginx-light")
@pytest.mark.parametrize("taken_off", [True, False])
def test_the_nginx_block_below_a_path_works(model: Model, tmp_path: Path, taken_off: bool) -> None:
    port = free_port()
    upgrade, _, _ = blocks("nginx")[0].partition("server {")
    location = blocks("nginx")[1] if taken_off else blocks("nginx")[1].replace(":7860/;", ":7860;")
    config = f"{upgrade} server {{ listen 127.0.0.1:{port};\n{location} }}"
    public = {} if taken_off else {"public_url": f"http://127.0.0.1:{port}/studio"}
    with running(model, tmp_path / "data", **public) as server, nginx(local(config, port, server), tmp_path):
        use(f"http://127.0.0.1:{port}/studio/", f"http://127.0.0.1:{port}")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/studio/") as reply:
            page = reply.read().decode()
        assert re.findall(r'(?:href|src)="(/[^"]*)"', page) == []


@pytest.mark.skipif(NGINX is None, reason="no nginx: apt-get install nginx-light")
def test_an_nginx_that_passes_no_host_needs_the_public_url(model: Model, tmp_path: Path) -> None:
    port = free_port()
    config = re.sub(r" *proxy_set_header Host.*\n", "", blocks("nginx")[0])
    with running(model, tmp_path / "data", public_url=ORIGIN) as server, nginx(local(config, port, server), tmp_path):
        use(f"http://127.0.0.1:{port}/", ORIGIN)
