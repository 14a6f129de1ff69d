"""What the shot in the making remembers, over HTTP."""

from typing import Any

import httpx2
import numpy as np
import pytest

from shotstream.api import Model, with_policy
from shotstream.core.images import write_png
from shotstream.weights.build import random_components
from tiny import live_model


def remembered(studio: Any, story: str) -> Any:
    return studio.client.get(f"/api/stories/{story}/context").json()


def test_the_frames_of_the_branch_and_the_cast_are_told(studio: Any, png: bytes) -> None:
    story = studio.begin()
    assert remembered(studio, story) == {"shot": 0, "frames": []}
    studio.command(story, type="shot", text="It walks.", chunks=1)
    studio.wait(story)
    first = remembered(studio, story)
    assert first["shot"] == 1
    assert [(one["shot"], one["take"], one["cast"]) for one in first["frames"]] == [(0, 0, None)] * 6
    reply = studio.client.post(f"/api/stories/{story}/cast", params={"caption": "A fox"}, content=png)
    assert reply.status_code == 201, reply.text
    studio.command(story, type="retry", shot=0, seed=3)
    studio.wait(story)
    frames = remembered(studio, story)["frames"]
    fox = (None, None, {"number": 0, "caption": "A fox"})
    assert [(one["shot"], one["take"], one["cast"]) for one in frames] == [fox] + [(0, 1, None)] * 5
    for one in frames[1:]:
        picture = f"/api/stories/{story}/takes/0/1/picture"
        assert studio.client.get(picture, params={"frame": one["frame"]}).status_code == 200


def test_a_story_that_chooses_by_captions_says_so(studio: Any) -> None:
    reply = studio.client.post("/api/stories", json={"global_caption": "A fox.", "context": "relevant"})
    assert remembered(studio, reply.json()["id"])["code"] == "conflict"


def test_a_policy_that_has_no_context_frames_says_so(listen: Any) -> None:
    streamed = Model(with_policy(random_components(live_model()), "self_forcing"))
    with listen(streamed) as address, httpx2.Client(base_url=address) as client:
        story = client.post("/api/stories", json={"global_caption": "A fox."}).json()["id"]
        reply = client.get(f"/api/stories/{story}/context")
        assert (reply.status_code, reply.json()["code"]) == (409, "conflict")
        assert "no context frames" in reply.json()["message"]


@pytest.fixture
def png(tmp_path: Any) -> bytes:
    """A picture of the story's size."""
    write_png(tmp_path / "fox.png", np.full((32, 48, 3), 90, np.uint8))
    return (tmp_path / "fox.png").read_bytes()
