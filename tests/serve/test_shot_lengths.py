"""A server whose model makes shots of another shape: it tells the page, and refuses by the model's own limit."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from shotstream.api import Model
from shotstream.weights.build import random_components
from tiny import live_model, with_shots

MakeStudio = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(random_components(with_shots(live_model())))


def test_the_server_tells_the_page_the_lengths_of_its_model(serve: MakeStudio) -> None:
    with serve(chunks=50) as studio:
        [told] = studio.client.get("/api/models").json()
    names = ("chunk_latents", "context_latents", "max_chunks", "default_chunks", "longest_chunks")
    assert [told[name] for name in names] == [2, 4, 3, 3, 50]


@pytest.mark.parametrize("command", [{"type": "shot"}, {"type": "queue"}])
def test_a_shot_of_four_chunks_is_refused(serve: MakeStudio, command: dict[str, str]) -> None:
    shot: dict[str, Any] = {"text": "It runs.", "chunks": 4}
    asked = shot if command["type"] == "shot" else {"shots": [shot]}
    with serve() as studio:
        story = studio.begin()
        refused = studio.command(story, **command, **asked)
        assert refused.status_code == 422
        assert "1 to 3 chunks" in refused.text
        begun = studio.client.post("/api/stories", json={"global_caption": "A fox.", "seed": 1, "shots": [shot]})
        assert (begun.status_code, "1 to 3 chunks" in begun.text) == (422, True)


def test_a_script_is_read_by_the_models_limit(serve: MakeStudio) -> None:
    text = "global: A fox.\nshots:\n- {text: It runs., chunks: %d}\n"
    with serve() as studio:
        replies = [studio.client.post("/api/script", json={"text": text % chunks}) for chunks in (3, 4)]
    assert [reply.status_code for reply in replies] == [200, 422]
    assert "1 to 3 chunks" in replies[1].text


def test_shots_are_made_and_their_context_has_the_models_frames(serve: MakeStudio) -> None:
    with serve() as studio:
        story = studio.begin()
        with studio.watch(story) as watcher:
            watcher.until(type="hello")
            watcher.make("It runs.", 2)
        assert studio.wait(story)["frames"] == 13
        context = studio.client.get(f"/api/stories/{story}/context").json()
    assert [frame["frame"] for frame in context["frames"]] == [0, 4, 8, 12]
