"""Scripts over HTTP: read into shots, and made as they say."""

from typing import Any

import pytest

YAML = """
global: A red fox in a forest.
seed: 5
shots:
  - text: It walks.
    chunks: 3
    seed: 9
    steer:
      - {at: 1, text: It jumps.}
  - text: It sleeps.
"""


def test_a_script_is_read_and_its_steered_shot_is_made(studio: Any) -> None:
    script = studio.client.post("/api/script", json={"text": YAML}).json()
    assert (script["global_caption"], script["seed"]) == ("A red fox in a forest.", 5)
    assert [shot["text"] for shot in script["shots"]] == ["It walks.", "It sleeps."]
    story = studio.client.post("/api/stories", json={key: script[key] for key in ("global_caption", "shots")}).json()
    with studio.watch(story["id"]) as watcher:
        watcher.rest()
    first, second = studio.client.get(f"/api/stories/{story['id']}/tree").json()["takes"]
    assert (first["seed"], first["steers"]) == (9, [{"at": 1, "text": "It jumps."}])
    assert (second["chunks"], second["steers"]) == (3, [])


@pytest.mark.parametrize(
    "text",
    [
        "A red fox. | It walks. | It sleeps.",
        '{"global_caption": "A red fox.", "shot1": "It walks.", "shot2": "It sleeps."}',
    ],
)
def test_the_other_forms_of_a_script_are_read_too(studio: Any, text: str) -> None:
    script = studio.client.post("/api/script", json={"text": text}).json()
    assert [script["global_caption"], *(shot["text"] for shot in script["shots"])] == [
        "A red fox.",
        "It walks.",
        "It sleeps.",
    ]


def test_what_is_no_script_is_refused_with_its_place(studio: Any) -> None:
    reply = studio.client.post("/api/script", json={"text": "global: A fox.\nshots:\n  - txt: It walks.\n"})
    assert reply.status_code == 422
    assert "The script, line 3" in reply.json()["message"]
    for scale in (".inf", ".nan", "0.5", "31", "true"):
        text = f"global: A fox.\nguidance: {scale}\nshots:\n  - text: It walks.\n"
        reply = studio.client.post("/api/script", json={"text": text})
        assert reply.status_code == 422, text
        assert "guidance from 1 (none) to 30" in reply.json()["message"]


@pytest.mark.parametrize(
    "steers", [[{"at": 3, "text": "It jumps."}], [{"at": 1, "text": " "}], [{"at": 1, "text": "x" * 2001}]]
)
def test_a_steer_that_cannot_be_is_refused_before_the_shot_is_made(studio: Any, steers: list[dict[str, Any]]) -> None:
    reply = studio.command(studio.begin(), type="shot", text="It walks.", chunks=3, steers=steers)
    assert reply.status_code in (413, 422)
