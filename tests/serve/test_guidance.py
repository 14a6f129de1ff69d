"""Guidance and negative prompts of stories, over HTTP."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from shotstream.api import Model
from shotstream.core.errors import InputError
from shotstream.model.config import SamplerConfig
from shotstream.serve.http.app import make_app
from shotstream.serve.limits import Settings
from shotstream.weights.build import random_components

ASKED = {"guidance": 4.5, "negative_prompt": "An owl."}


@pytest.fixture(scope="module")
def model(model: Model) -> Model:
    """A model that takes guidance."""
    return Model(random_components(replace(model.config, sampler=SamplerConfig(steps=(1000.0, 500.0), guidance=2.0))))


def begin(studio: Any, **story: object) -> dict[str, Any]:
    shots = [{"text": "It walks.", "chunks": 1}]
    reply = studio.client.post("/api/stories", json={"global_caption": "A fox. ", "shots": shots, **story})
    assert reply.status_code == 201, reply.text
    return reply.json()


def take(studio: Any, story: str) -> bytes:
    studio.client.post(f"/api/stories/{story}/commands", json={"type": "pause", "paused": False})
    studio.wait(story)
    reply = studio.client.get(f"/api/stories/{story}/takes/0/0/picture?frame=8")
    assert reply.status_code == 200, reply.text
    return reply.content


def test_a_story_keeps_its_guidance_and_negative_prompt(serve: Any) -> None:
    with serve() as studio:
        client = studio.client
        assert client.get("/api/models").json()[0]["guidance"] == 2.0
        plain, asked = begin(studio), begin(studio, **ASKED)
        assert (plain["guidance"], plain["negative_prompt"]) == (None, "")
        assert {name: asked[name] for name in ASKED} == ASKED
        with studio.watch(asked["id"]) as watcher:
            state = watcher.until(type="state")
        assert {name: state[name] for name in ASKED} == ASKED
        picture = take(studio, asked["id"])
        assert picture != take(studio, plain["id"])
        copy = client.post(f"/api/stories/{asked['id']}/duplicate").json()
        packed = client.get(f"/api/stories/{asked['id']}/export/zip").content
        back = client.post("/api/import", content=packed).json()
        script = client.get(f"/api/stories/{asked['id']}/export/yaml").text
        read = client.post("/api/script", json={"text": script}).json()
        for one in (copy, back, read):
            assert {name: one[name] for name in ASKED} == ASKED
    with serve() as studio:
        client = studio.client
        for story in (asked["id"], copy["id"], back["id"]):
            with studio.watch(story) as watcher:
                watcher.make("It runs.", 1)
                watcher.say(type="retry", shot=0, seed=0)
                watcher.until(type="state", work=None, queue=[])
            picture_again = client.get(f"/api/stories/{story}/takes/0/1/picture?frame=8").content
            assert picture_again == picture, "the same seed under the same guidance"


def test_the_server_has_defaults(serve: Any) -> None:
    with serve(defaults=ASKED) as studio:
        client = studio.client
        assert client.get("/api/models").json()[0]["guidance"] == 4.5
        assert {name: begin(studio, paused=True)[name] for name in ASKED} == ASKED
        assert begin(studio, negative_prompt="", paused=True)["negative_prompt"] == ""


def test_the_state_and_the_script_say_what_the_shots_are_made_with(serve: Any) -> None:
    with serve() as studio:
        for asked, told in (({}, 2.0), ({"guidance": 1.0}, None)):
            story = begin(studio, **asked)["id"]
            with studio.watch(story) as watcher:
                assert watcher.until(type="state")["guidance"] == told
            take(studio, story)
            script = studio.client.get(f"/api/stories/{story}/export/yaml").text
            assert f"guidance: {told or 1.0}\n" in script, "made again, it is the same"


def test_the_end_of_a_long_negative_prompt_is_named(serve: Any) -> None:
    with serve() as studio:
        long = {"negative_prompt": "An owl by day. " * 20}
        (note,) = begin(studio, paused=True, **long)["notes"]
        assert note["code"] == "too_long"
        assert note["message"].startswith("Negative prompt: The model does not read the end of this caption, from ")
        story = {"global_caption": "A fox. ", "strict": True, **long}
        assert studio.client.post("/api/stories", json=story).json()["message"] == note["message"]


@pytest.fixture
def student(model: Model) -> Model:
    """A model that takes none."""
    return Model(random_components(replace(model.config, sampler=SamplerConfig(steps=(1000.0, 500.0)))))


def test_a_server_does_not_start_with_guidance_that_its_model_does_not_take(student: Model, tmp_path: Path) -> None:
    app = make_app(lambda: student, Settings(tmp_path / "data", guidance=3.0))
    with TestClient(app):
        while not app.state.opening.done():
            pass
        assert isinstance(app.state.opening.exception(), InputError)


def test_what_a_model_does_not_take_is_refused(student: Model, tmp_path: Path) -> None:
    with TestClient(make_app(lambda: student, Settings(tmp_path / "data")), base_url="http://127.0.0.1") as client:
        while client.get("/api/health").json()["status"] == "opening":
            pass
        assert client.get("/api/models").json()[0]["guidance"] is None
        for asked in ({"guidance": 3.0}, {"negative_prompt": "An owl."}):
            reply = client.post("/api/stories", json={"global_caption": "A fox. ", **asked})
            line = "This model takes no guidance and no negative prompt. Leave them out."
            assert (reply.status_code, reply.json()["message"]) == (422, line)
