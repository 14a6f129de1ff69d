"""Direct a story on a server, and keep the frames that it sends. `docs/protocol.md` describes the messages.

shotstream serve &
python examples/websocket_client.py http://127.0.0.1:7860 frames
"""

import json
import struct
import sys
import time
import urllib.request
from pathlib import Path

from websockets.sync.client import connect

HEADER = struct.Struct(">2sBB8sIIII")
"""`SF`, version, kind of picture, story, shot, take, frame, time in ms; a JPEG follows."""
COMMANDS = (
    {"type": "shot", "id": 1, "text": "Wide shot: the fox walks left.", "chunks": 3},
    {"type": "steer", "id": 2, "text": "Wide shot: the fox jumps."},
)


def wait_until_ready(server: str) -> None:
    """Wait until the server has opened its model."""
    while json.load(urllib.request.urlopen(f"{server}/api/health"))["status"] != "ready":
        time.sleep(0.2)


def begin_story(server: str, caption: str) -> str:
    """Begin a story on the server and return its id."""
    body = json.dumps({"global_caption": caption, "seed": 7}).encode()
    request = urllib.request.Request(f"{server}/api/stories", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)["id"]


def main(server: str, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    wait_until_ready(server)
    story, frames, done = begin_story(server, "A red fox in a forest by day."), 0, 0
    with connect(f"ws{server.removeprefix('http')}/api/stories/{story}/watch") as socket:
        for message in socket:
            if isinstance(message, bytes):
                _, _, _, _, shot, _, frame, _ = HEADER.unpack_from(message)
                (directory / f"{shot:03}-{frame:03}.jpg").write_bytes(message[HEADER.size :])
                frames += 1
                continue
            news = json.loads(message)
            if news["type"] == "error":
                raise SystemExit(news["message"])
            if news["type"] == "hello":
                socket.send(json.dumps(COMMANDS[0]))
            if news["type"] == "done":
                done += 1
                print(f"command {news['id']} is carried out", flush=True)
                if done < len(COMMANDS):
                    socket.send(json.dumps(COMMANDS[done]))
            if news["type"] == "state" and done == len(COMMANDS) and not news["work"] and not news["queue"]:
                break
    print(f"{frames} frames in {directory}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7860", Path(sys.argv[2] if sys.argv[2:] else "frames"))
