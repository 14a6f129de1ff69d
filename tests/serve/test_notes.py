"""Notes on captions: said with every request that has one, and the reason why a strict one is refused."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from shotstream.api import Model
from shotstream.core.images import write_png
from shotstream.serve.http.app import make_app
from shotstream.serve.limits import Settings
from shotstream.weights.build import random_components

GLOBAL = "A sad fox. "
LONG = "The fox eats and eats and eats and eats."


@pytest.fixture(scope="module")
def client(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a server whose model learnt StoryWorld, and reads few tokens."""
    world = Model(random_components(replace(model.config, name="storyworld")))
    settings = Settings(tmp_path_factory.mktemp("data"))
    with TestClient(make_app(lambda: world, settings), base_url="http://127.0.0.1") as client:
        while client.get("/api/health").json()["status"] == "opening":
            pass
        yield client


def begin(client: TestClient, **more: Any) -> Any:
    reply = client.post("/api/stories", json={"global_caption": GLOBAL, "paused": True, **more})
    assert reply.status_code == 201, reply.text
    return reply.json()


def told(reply: Any) -> list[tuple[str, str]]:
    assert reply.status_code in (200, 201), reply.text
    return [(note["code"], note["message"]) for note in reply.json()["notes"]]


def test_a_story_that_begins_says_what_is_not_followed_of_each_caption(client: TestClient) -> None:
    shots = [{"text": "It foxx.", "chunks": 2, "steers": [{"at": 1, "text": "It sings."}]}, {"text": LONG}]
    notes = [(note["code"], note["message"]) for note in begin(client, shots=shots)["notes"]]
    known = "The model does not know"
    assert notes[:3] == [
        ("unknown_words", f'{known} "sad" (near: "sand"). Use other words.'),
        ("unknown_words", f'Shot 1: {known} "foxx" (near: "fox"). Use other words.'),
        ("unknown_words", f'Shot 1: {known} "sings". Use other words.'),
    ]
    assert notes[3][0] == "too_long"
    assert notes[3][1].startswith("Shot 2: The model does not read the end of this caption, from ")
    before = len(client.get("/api/stories").json())
    reply = client.post("/api/stories", json={"global_caption": GLOBAL, "shots": shots, "strict": True})
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid")
    assert reply.json()["message"] == " ".join(message for _, message in notes)
    assert len(client.get("/api/stories").json()) == before


COMMANDS: dict[str, dict[str, Any]] = {
    "queue": {"type": "queue", "shots": [{"text": "It sings."}]},
    "shot": {"type": "shot", "text": "It sings.", "chunks": 7},
    "steer": {"type": "steer", "text": "It sings."},
}


def test_a_command_says_it_of_its_own_captions_alone(client: TestClient) -> None:
    story = begin(client)["id"]
    address = f"/api/stories/{story}/commands"
    line = 'The model does not know "sings". Use other words.'
    for command in COMMANDS.values():
        for _ in ("at first", "and unchanged again"):
            refused = client.post(address, json={**command, "strict": True})
            assert (refused.status_code, refused.json()["message"]) == (422, line)
        assert ("unknown_words", line) in told(client.post(address, json=command)), "the global caption's were named"
        told(client.post(address, json={"type": "pause", "paused": True}))


def test_a_command_with_several_shots_says_of_which(client: TestClient) -> None:
    story = begin(client, shots=[{"text": "It eats."}])["id"]
    queue = {"type": "queue", "shots": [{"text": LONG}, {"text": "It foxx."}]}
    codes, lines = zip(*told(client.post(f"/api/stories/{story}/commands", json=queue)), strict=True)
    assert codes == ("too_long", "unknown_words")
    assert [line[:8] for line in lines] == ["Shot 2: ", "Shot 3: "]


def test_so_do_an_edit_of_a_queued_shot_and_the_cast(client: TestClient, tmp_path: Path) -> None:
    story = begin(client, shots=[{"text": "It eats."}])["id"]
    address = f"/api/stories/{story}/commands"
    edit = {"type": "edit", "queued": 0, "text": "It foxx."}
    assert client.post(address, json={**edit, "strict": True}).status_code == 422
    assert [code for code, _ in told(client.post(address, json=edit))] == ["unknown_words"]
    write_png(tmp_path / "fox.png", np.full((32, 48, 3), 90, np.uint8))
    png, cast = (tmp_path / "fox.png").read_bytes(), f"/api/stories/{story}/cast"
    asked = {"caption": "A wolff"}
    assert client.post(cast, params={**asked, "strict": "true"}, content=png).status_code == 422
    assert [code for code, _ in told(client.post(cast, params=asked, content=png))] == ["unknown_words"]
    rename = {"type": "rename_cast", "member": 0, "caption": "A dogg"}
    assert client.post(address, json={**rename, "strict": True}).status_code == 422
    assert [code for code, _ in told(client.post(address, json=rename))] == ["unknown_words"]


SCRIPT = """
global: An owl.
seed: 5
guidance: 3
negative_prompt: a robot
cast:
  - {image: owl.png, caption: An owl}
shots:
  - text: It sings.
"""


def test_a_script_says_what_is_not_used_where_its_shots_are_added_to_a_story(client: TestClient) -> None:
    notes = told(client.post("/api/script", json={"text": SCRIPT}))
    assert [code for code, _ in notes] == ["not_used", "unknown_words"]
    assert "pictures" in notes[0][1]
    story = begin(client)["id"]
    codes, lines = zip(*told(client.post("/api/script", json={"text": SCRIPT, "story": story})), strict=True)
    assert codes == ("not_used",) * 5 + ("unknown_words",) * 2
    for line, name, own in zip(
        lines,
        ("global caption", "seed", "guidance", "negative prompt"),
        ('"A sad fox."', "0", "1", "none"),
        strict=False,
    ):
        assert line.startswith(f"The script's {name} is not used: this story has {own}, which")
    plain = told(client.post("/api/script", json={"text": "A sad fox. | It eats.", "story": story}))
    assert [code for code, _ in plain] == ["unknown_words"]
    assert client.post("/api/script", json={"text": SCRIPT, "story": "0"}).status_code == 404
