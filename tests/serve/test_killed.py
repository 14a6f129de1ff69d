"""A server that is killed at any moment goes on, in the next process, as if nothing had happened."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from shotstream.api import Model
from shotstream.serve.frames import pack_chunk
from shotstream.serve.news import Chunk
from shotstream.serve.packets import FrameKey, FramePacket

CHUNKS = 5


@contextmanager
def server(data: Path, ahead_chunks: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its address; killed at the end."""
    command = [sys.executable, str(Path(__file__).parent / "killed.py"), str(data), str(ahead_chunks)]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            while json.load(urllib.request.urlopen(f"{url}api/health"))["status"] == "opening":
                time.sleep(0.02)
            yield process, url
        finally:
            process.kill()


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


def read_until(socket: ClientConnection, last: FrameKey, done: int | None = None) -> dict[FrameKey, bytes]:
    """Frames until that one or a later one has come, and the answer to a command."""
    frames: dict[FrameKey, bytes] = {}
    answered = {None}
    while not frames or max(frames) < last or done not in answered:
        data = socket.recv(timeout=60)
        if isinstance(data, str):
            news = json.loads(data)
            answered.add(news.get("id"))
            if news["type"] == "flush":
                last_kept = FrameKey.parse(news["after"])
                frames = {key: picture for key, picture in frames.items() if last_kept and key <= last_kept}
        else:
            packet = FramePacket.unpack(data)
            frames[packet.key] = packet.picture
    return frames


@pytest.mark.slow
def test_a_kill_in_the_middle_of_a_steered_shot_changes_nothing(tmp_path: Path, model: Model) -> None:
    with server(tmp_path, 1) as (process, url):
        story = post(f"{url}api/stories", {"global_caption": "A red fox.", "seed": 3})["id"]
        watch = f"{url.replace('http', 'ws')}api/stories/{story}/watch"
        with connect(watch) as socket:
            socket.send(json.dumps({"type": "shot", "text": "It walks.", "chunks": CHUNKS}))
            before = read_until(socket, FrameKey(0, 0, 8))
            socket.send(json.dumps({"type": "steer", "text": "It jumps."}))
            socket.send(json.dumps({"type": "queue", "shots": [{"text": "It sleeps.", "chunks": 1}], "id": 5}))
            before = {key: picture for key, picture in before.items() if key.frame < 9}
            before |= read_until(socket, FrameKey(0, 0, 20), done=5)
            process.kill()  # while the viewer is there: leaving takes time, in which the story would go on
    seen = max(before)
    with server(tmp_path, 10**6) as (_, url):
        watch = f"{url.replace('http', 'ws')}api/stories/{story}/watch?seen=0.0.{seen.frame}"
        with connect(watch) as socket:
            after = read_until(socket, FrameKey(1, 0, 8))
        with urllib.request.urlopen(f"{url}api/stories/{story}/tree") as reply:
            assert json.load(reply)["current"][0] == 0
    record = json.loads((tmp_path / "stories" / story / "story.json").read_text())
    (steer,) = record["tree"]["takes"][0]["spec"]["steers"]
    assert min(key for key in after if key.shot == 0) == (0, 0, seen.frame + 1)
    with model.story("A red fox.", seed=3) as whole:
        shot = whole.shot("It walks.", CHUNKS)
        for chunk in range(CHUNKS):
            if chunk == steer["at"]:
                shot.steer("It jumps.")
            next(shot)
        shot.cut()
        list(whole.shot("It sleeps.", 1))
        expected = {
            packet.key: packet.picture
            for index in (0, 1)
            for packet in pack_chunk(story, Chunk(FrameKey(index, 0, 0), 0, whole.history.frames(index)))
        }
    assert before | after == {key: expected[key] for key in before | after}
    assert {key for key in expected if key.shot == 1 or key > seen} == set(after)
