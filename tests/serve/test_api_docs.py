"""The description of the API is true: what is sent and answered fits it, and it can be read without a network."""

import re
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from shotstream.serve.commands import SocketCommand


def fits(document: dict[str, Any], name: str, message: Any) -> bool:
    """Whether a message fits a schema of the document."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return bool(Draft202012Validator(schema).is_valid(message))


COMMANDS: list[dict[str, Any]] = [
    {"type": "steer", "text": "It jumps.", "id": 1},  # refused: there is no shot
    {"type": "shot", "text": "The fox walks.", "chunks": 2, "seed": 5, "id": 2},
    {"type": "queue", "shots": [{"text": "The fox sleeps.", "chunks": 1}, {"text": "It eats.", "chunks": 1}], "id": 3},
    {"type": "pause", "paused": True, "id": 4},
    {"type": "move", "queued": 99, "to": 0, "id": 5},  # refused: no such shot waits
    {"type": "undo", "id": 6},
    {"type": "draft", "text": "It j", "id": 7},
    {"type": "cut", "shown": "0.0.3", "id": 8},
    {"type": "rewind", "shot": 0, "id": 9},
]


def test_what_goes_over_the_socket_fits_its_description(studio: Any) -> None:
    document = studio.client.get("/api/asyncapi.json").json()
    names = {get_args(kind.model_fields["type"].annotation)[0]: kind.__name__ for kind in get_args(SocketCommand)}
    kinds = {"hello": "Hello", "state": "State", "flush": "Flush", "done": "Done", "error": "Problem"}
    with studio.watch(studio.begin()) as watcher:
        for command in COMMANDS:
            assert fits(document, names[command["type"]], command), command
            watcher.say(**command)
            while not watcher.messages or watcher.messages[-1].get("id") != command["id"]:
                watcher.read()
    assert {message["type"] for message in watcher.messages} == set(kinds)
    for message in watcher.messages:
        assert fits(document, kinds[message["type"]], message), message
        assert not fits(document, kinds[message["type"]], message | {"more": 1}), "it is described closely"
    assert [message["id"] for message in watcher.messages if message["type"] == "error"] == [1, 5]


def test_every_message_of_the_socket_is_described_once(studio: Any) -> None:
    document = studio.client.get("/api/asyncapi.json").json()
    sent, received = (document["operations"][name]["messages"] for name in ("watch", "direct"))
    assert len(received) == len(get_args(SocketCommand))
    assert len(sent) == 7
    for message in (*sent, *received):
        name = message["$ref"].rpartition("/")[2]
        assert document["channels"]["watch"]["messages"][name] == {"$ref": f"#/components/messages/{name}"}
        payload, schemas = document["components"]["messages"][name]["payload"], document["components"]["schemas"]
        assert payload.get("format") == "binary" or payload["$ref"].rpartition("/")[2] in schemas


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ('{"type": "shot", "id": 7}', 7),
        ('{"type": "none", "id": 8, "more": []}', 8),
        ('{"id": 9}', 9),
        ('{"type": "cut", "id": "x"}', None),
        ('{"type": "cut", "id": -1}', None),
        ("[7]", None),
        ("{", None),
    ],
)
def test_the_id_of_a_command_that_is_refused_comes_back(studio: Any, text: str, id: int | None) -> None:
    with studio.watch(studio.begin()) as watcher:
        watcher.socket.send_text(text)
        assert watcher.until(type="error")["id"] == id


def test_errors_are_described_as_they_are(studio: Any) -> None:
    document = studio.client.get("/api/openapi.json").json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    name = studio.begin()
    answers = [
        ("get", "/api/stories/{story}", studio.client.get("/api/stories/none")),
        ("post", "/api/stories", studio.client.post("/api/stories", json={"caption": "x"})),
        ("get", "/api/stories/{story}/export/{kind}", studio.client.get(f"/api/stories/{name}/export/mp4")),
        ("post", "/api/stories/{story}/commands", studio.command(name, type="steer", text="It jumps.")),
        ("post", "/api/outline", studio.client.post("/api/outline", json={"idea": "x"})),
    ]
    for method, path, reply in answers:
        described = document["paths"][path][method]["responses"][str(reply.status_code)]
        assert described["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorAnswer"}
        assert fits(document, "ErrorAnswer", reply.json())
        assert reply.json()["code"] in described["description"].split(", ")


def test_answers_are_of_the_types_that_are_described(studio: Any) -> None:
    document = studio.client.get("/api/openapi.json").json()
    name = studio.begin()
    with studio.watch(name) as watcher:
        watcher.make("The fox walks.", 1)
    story = "/api/stories/{story}"
    for path, address in (
        (f"{story}/takes/{{shot}}/{{take}}/picture", f"/api/stories/{name}/takes/0/0/picture"),
        (f"{story}/takes/{{shot}}/{{take}}/video", f"/api/stories/{name}/takes/0/0/video"),
        (f"{story}/export/{{kind}}", f"/api/stories/{name}/export/png"),
        (f"{story}/tree", f"/api/stories/{name}/tree"),
        ("/metrics", "/metrics"),
    ):
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        kind = studio.client.get(address).headers["content-type"].partition(";")[0]
        assert kind in content, path
        if kind.partition("/")[0] in ("image", "video"):
            assert content[kind]["schema"] == {"type": "string", "format": "binary"}
            assert "application/json" not in content


def test_the_token_is_described_and_taken_however_it_is_written(serve: Any) -> None:
    with serve(token="sesame") as studio:
        document = studio.client.get("/api/openapi.json", headers={"Authorization": "bearer sesame"}).json()
        schemes = document["components"]["securitySchemes"]
        assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}
        assert document["security"] == [{name: []} for name in schemes]
        assert document["paths"]["/api/health"]["get"]["security"] == []
        for wrong in ("sesame", "Basic sesame", "Bearer", "Bearer other"):
            assert studio.client.get("/api/stories", headers={"Authorization": wrong}).status_code == 401, wrong


def test_the_page_of_the_api_needs_no_network_and_no_token(serve: Any) -> None:
    with serve(token="sesame") as studio:
        page = studio.client.get("/docs")
        parts = re.findall(r'(?:href|src)="([^"]+)"', page.text)
        assert len(parts) == 3
        for part in parts:
            assert studio.client.get(f"/{part}").status_code == 200, part
        assert "default-src 'self'" in page.headers["content-security-policy"]


def test_no_place_on_the_servers_disk_is_told(studio: Any) -> None:
    for one in studio.client.get("/api/models").json():
        assert "/" not in one["source"]
