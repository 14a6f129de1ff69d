"""Which words the model knows, over HTTP."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from shotstream.api import Model
from shotstream.serve.http.app import make_app
from shotstream.serve.limits import Settings
from shotstream.weights.build import random_components
from shotstream.world.words import vocabulary


@pytest.fixture
def client(model: Model, tmp_path: Path) -> Iterator[TestClient]:
    """A client of a server whose model learnt StoryWorld."""
    world = Model(random_components(replace(model.config, name="storyworld")))
    with TestClient(make_app(lambda: world, Settings(tmp_path / "data")), base_url="http://127.0.0.1") as client:
        while client.get("/api/health").json()["status"] == "opening":
            pass
        yield client


def test_words_are_told_by_trait(client: TestClient) -> None:
    told = client.get("/api/words").json()
    read = {one["trait"]: {said["value"]: tuple(said["phrases"]) for said in one["values"]} for one in told["traits"]}
    assert read == vocabulary()
    assert told["unknown"] == []


def test_words_that_the_world_does_not_know_are_told(client: TestClient) -> None:
    told = client.get("/api/words", params={"text": "The purple fox boards a spaceship, & waves: 狐狸"}).json()
    assert told["unknown"] == ["boards", "spaceship", "狐狸"]
    refused = client.get("/api/words", params={"text": "x" * 2001})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


def test_of_another_model_no_words_are_told(studio: Any) -> None:
    reply = studio.client.get("/api/words", params={"text": "spaceship"})
    assert reply.json() == {"traits": [], "unknown": []}


def test_shots_are_suggested_for_a_model_that_learnt_the_world(client: TestClient) -> None:
    story = client.post("/api/stories", json={"global_caption": "A blue owl on a beach."}).json()["id"]
    shots = client.get(f"/api/stories/{story}/suggestions").json()["shots"]
    assert len(set(shots)) == 3
    assert all("owl" in shot for shot in shots)


def check(client: TestClient, **caption: object) -> Any:
    reply = client.post("/api/caption/check", json=caption)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_a_caption_is_checked_while_it_is_written(client: TestClient) -> None:
    told = check(client, global_caption="A fox. By day. ", text="The foxx sings", shot=3)
    assert (told["lost_global"], told["lost_text"]) == ("By day.", "")
    assert told["unknown"] == [{"word": "foxx", "nearest": "fox"}, {"word": "sings", "nearest": None}]
    assert [note["code"] for note in told["notes"]] == ["too_long", "unknown_words"]
    assert '"By day."' in told["notes"][0]["message"]
    assert 'near: "fox"' in told["notes"][1]["message"]
    long = check(client, text="The fox eats and eats and eats and eats.")
    assert long["lost_text"]
    assert check(client) == {"lost_global": "", "lost_text": "", "unknown": [], "notes": []}
