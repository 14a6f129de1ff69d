"""Every field of every command and request, missing, unknown or of a wrong kind: refused in plain words."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from shotstream.core.errors import InputError
from shotstream.serve.commands import NewShot, SocketCommand, read_command
from shotstream.serve.errors import RequestError, message_of
from shotstream.serve.http.api_docs import describe_http

JARGON = re.compile(
    r"[Ee]xpected|Input should|valid (string|integer|boolean|number|list|tuple)|[Ff]ield required|Extra inputs"
    r"|not permitted|value_error|pydantic|validation|discriminator|Unable to|\bgot\b|_type\b|at least 1 char"
)
"""Words of libraries and of programmers."""
WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**70,
    1.5,
    1e400,
    "",
    "x",
    "12",
    "a\0b",
    "\ud800",
    [],
    [None],
    {},
    {"x": 1},
    [[]],
)
JSON = {"Content-Type": "application/json"}
RIGHT: dict[str, Any] = {
    "text": "It walks.", "shots": [{"text": "It walks."}], "queued": 0, "to": 0, "paused": True, "shot": 0, "seed": 1,
    "takes": [0], "member": 0, "caption": "A fox.",
}  # fmt: skip


def plain(message: str) -> bool:
    """Whether a message says in sentences what happened and what to do."""
    return bool(re.search(r"[.]$", message)) and not JARGON.search(message)


def wrong_values(fields: list[str], whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Objects with one field wrong, missing or unknown."""
    for name in fields:
        yield from ({**whole, name: value} for value in WRONG)
        yield {key: value for key, value in whole.items() if key != name}
    yield {**whole, "colour": "red"}


def command_of(kind: type[BaseModel]) -> dict[str, Any]:
    """A right command of a kind."""
    needed = {name for name, field in kind.model_fields.items() if field.is_required()}
    (name,) = get_args(kind.model_fields["type"].annotation)
    return {"type": name} | {key: RIGHT[key] for key in needed - {"type"}}


def refusal_of(text: str | bytes) -> str | None:
    """The message by which a command is refused; None where it is one."""
    try:
        read_command(text)
    except RequestError as error:
        return message_of(error)
    return None


@pytest.mark.parametrize("kind", get_args(SocketCommand), ids=lambda kind: kind.__name__)
def test_a_wrong_command_is_refused_in_plain_words(kind: type[BaseModel]) -> None:
    right, refused = command_of(kind), 0
    assert isinstance(read_command(json.dumps(right)), kind)
    objects = list(wrong_values(list(kind.model_fields), right))
    if "shots" in right:
        shot = {"text": "It walks."}
        objects += [{**right, "shots": [one]} for one in wrong_values(list(NewShot.model_fields), shot)]
    if "steers" in kind.model_fields:
        objects += [{**right, "steers": [one]} for one in wrong_values(["at", "text"], {"at": 0, "text": "It runs."})]
    for wrong in objects:
        message = refusal_of(json.dumps(wrong))
        assert message is None or plain(message), (wrong, message)
        refused += message is not None
    assert refused > 5


def test_the_field_that_is_wrong_is_named_as_it_was_sent() -> None:
    assert refusal_of('{"type": "steer", "text": 7}') == "`text` is no text. Send text in quotes."
    assert (refusal_of('{"type": "queue", "shots": [{"chunks": 1}]}') or "").startswith("`shots[0].text` is missing.")
    steered = '{"type": "shot", "text": "It walks.", "steers": [{"at": "1", "text": "It runs."}]}'
    assert refusal_of(steered) == "`steers[0].at` is no whole number. Send one, such as 3."


@pytest.mark.parametrize("text", ["", "[", "7", "null", "[]", "{}", '{"type": 7}', '{"type": "shoot"}', b"\xff{}"])
def test_what_is_no_command_is_refused_in_plain_words(text: str | bytes) -> None:
    message = refusal_of(text)
    assert message is not None
    assert plain(message), message


def bodies(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The requests that have a JSON body: method, path, and the schema of an object."""
    for path, methods in document["paths"].items():
        for method, request in methods.items():
            content = request.get("requestBody", {}).get("content", {})
            if "application/json" in content and not path.endswith("/commands"):
                schema = content["application/json"]["schema"]
                refs = [schema, *schema.get("anyOf", [])]
                name = next(one["$ref"] for one in refs if "$ref" in one).rpartition("/")[2]
                yield method, path, document["components"]["schemas"][name]


def test_every_wrong_request_is_refused_in_plain_words(studio: Any) -> None:
    story, document, refused = studio.begin(), describe_http(studio.client.app), 0
    right = {
        "global_caption": "A fox.",
        "title": "x",
        "text": "A fox. | It walks.",
        "idea": "A fox.",
        "caption": "A fox.",
    }
    requests = [
        (method, path, wrong)
        for method, path, schema in bodies(document)
        for wrong in wrong_values(list(schema["properties"]), {key: right[key] for key in schema.get("required", [])})
    ]
    assert len({path for _, path, _ in requests}) >= 5
    for method, path, wrong in requests:
        address = path.replace("{story}", story).replace("{number}", "0")
        reply = studio.client.request(method.upper(), address, content=json.dumps(wrong), headers=JSON)
        if reply.status_code >= 400:
            refused += 1
            assert plain(reply.json()["message"]), (method, path, wrong, reply.text)
    for method, path, wrong in [
        (method, path, value)
        for path, methods in document["paths"].items()
        for method, request in methods.items()
        if method == "get" and request.get("parameters")
        for value in ("x", "-1", "1.5", str(2**70), "")
    ]:
        parameters = document["paths"][path][method]["parameters"]
        address = re.sub(r"\{\w+\}", wrong or "x", path.replace("{story}", story))
        query = {one["name"]: wrong for one in parameters if one["in"] == "query"}
        reply = studio.client.get(address, params=query)
        if reply.status_code >= 400 and reply.headers["content-type"] == "application/json":
            refused += 1
            assert plain(reply.json()["message"]), (path, wrong, reply.text)
    assert refused > 100


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("expected a shot of 1 to 7 chunks, got 8; cut it", "This needs a shot of 1 to 7 chunks. It was 8. Cut it."),
        ("the script, line 3: expected a caption; say it", "The script, line 3: This needs a caption. Say it."),
        ("there is no director; write it yourself", "There is no director; write it yourself."),
        ("Make the first one.", "Make the first one."),
    ],
)
def test_messages_for_programs_become_sentences(raised: str, told: str) -> None:
    assert message_of(InputError(raised)) == told


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "said", "beside"),
    [
        ("GET", "/api/nothing", "", {}, 404, "There is nothing at this address.", {}),
        ("DELETE", "/api/models", "", {}, 405, "This address does not take this method.", {"allow": "GET"}),
        ("PUT", "/api/stories", "{}", JSON, 405, "This address does not take this method.", {"allow": "GET, POST"}),
        ("POST", "/api/stories", "{}", {}, 422, "its kind was not said. Send the header Content-Type: appli", {}),
        ("POST", "/api/stories", "{}", {"Content-Type": "text/plain"}, 422, "it was sent as text/plain. Send", {}),
        ("POST", "/api/stories", b"\xff", JSON, 422, "The body cannot be read. Send JSON in UTF-8.", {}),
        ("POST", "/api/stories/{story}/commands", '{"type": "shot"}', JSON, 422, "`text` is missing. Add it.", {}),
        ("GET", "/api/stories/{story}/export/foo", "", {}, 422, "'gif', 'png', 'yaml' or 'zip'", {}),
    ],
    ids=["address", "method", "two methods", "no kind", "another kind", "no text", "a command", "export"],
)
def test_what_http_itself_refuses_is_said_in_plain_words(
    studio: Any, method: str, path: str, body: str | bytes, headers: Any, status: int, said: str, beside: dict[str, str]
) -> None:
    address = path.replace("{story}", studio.begin())
    reply = studio.client.request(method, address, content=body, headers=headers)
    assert reply.status_code == status
    assert said in reply.json()["message"]
    assert plain(reply.json()["message"])
    assert beside.items() <= reply.headers.items()


def test_a_missing_token_is_asked_for_as_http_does(serve: Any) -> None:
    with serve(token="sesame") as studio:
        assert studio.client.get("/api/models").headers["www-authenticate"] == "Bearer"
