"""`shotstream serve` and `shotstream studio`: what the command line asks of the server."""

import queue
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shotstream.cli import main
from shotstream.serve.http.run import open_listener
from shotstream.serve.limits import Settings


@pytest.mark.parametrize("command", ["serve", "studio"])
def test_settings_are_those_of_the_command_line(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = list[Settings]()
    monkeypatch.setattr("shotstream.serve.http.run.serve", lambda _, settings, __: given.append(settings))
    words = [command, "--data", str(tmp_path), "--sessions", "2", "--disk-gib", "0.5", "--host", "0.0.0.0"]
    assert main([*words, "--token", "t", "--port", "81"]) == 0
    (settings,) = given
    assert (settings.data, settings.host, settings.port, settings.token) == (tmp_path, "0.0.0.0", 81, "t")
    assert (settings.limits.sessions, settings.limits.disk_bytes) == (2, 2**29)


def test_others_cannot_be_served_without_a_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SHOTSTREAM_TOKEN", raising=False)
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert "expected a token" in capsys.readouterr().err


def test_a_browser_that_stays_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for text does, until its reader leaves it."""
    pages, left = queue.SimpleQueue[str](), threading.Event()

    def browse(page: str) -> None:
        pages.put(page)
        left.wait(30)

    def serve(_: object, __: object, started: Callable[[str], None]) -> None:
        started("http://127.0.0.1:1/")

    monkeypatch.setattr("webbrowser.open", browse)
    monkeypatch.setattr("shotstream.serve.http.run.serve", serve)
    begun_s = time.monotonic()
    assert main(["studio", "--data", str(tmp_path), "--token", "open sesame"]) == 0
    assert pages.get(timeout=10) == "http://127.0.0.1:1/?token=open%20sesame"
    assert time.monotonic() - begun_s < 10
    left.set()


def test_a_port_in_use_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--data", str(tmp_path), "--port", port]) == 2
    assert capsys.readouterr().err.startswith(f"shotstream: cannot listen at 127.0.0.1:{port}")
    with open_listener(Settings(tmp_path, port=0)) as free:
        assert free.getsockname()[0] == "127.0.0.1"
