"""Ideas become stories, and stories have a next shot."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from shotstream.core.errors import InputError
from shotstream.serve.errors import RequestError
from shotstream.serve.llm import Director, suggest

STORY = {"global": "A fox and an owl.", "shots": ["The fox walks.", "The owl jumps."]}


class Endpoint(BaseHTTPRequestHandler):
    """Says what it is told to say."""

    says = ""
    asked: dict[str, Any] = {}  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Endpoint.asked = {"path": self.path, "key": self.headers["Authorization"], **json.loads(body)}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(Endpoint.says.encode())

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def answer(content: Any) -> str:
    return json.dumps({"choices": [{"message": {"content": content}}]})


def test_a_director_writes_a_story(url: str) -> None:
    director = Director.from_environment(
        {"SHOTSTREAM_DIRECTOR_URL": f"{url}/", "SHOTSTREAM_DIRECTOR_KEY": "k", "SHOTSTREAM_DIRECTOR_MODEL": "m"}
    )
    assert director is not None
    Endpoint.says = answer(f"Here it is:\n```json\n{json.dumps(STORY)}\n```")
    script = director.write("two friends")
    assert script.global_caption == STORY["global"]
    assert [shot.text for shot in script.shots] == STORY["shots"]
    asked = Endpoint.asked
    assert (asked["path"], asked["key"], asked["model"]) == ("/v1/chat/completions", "Bearer k", "m")
    assert asked["messages"][-1] == {"role": "user", "content": "two friends"}


@pytest.mark.parametrize("says", ["", "{}", "[]", answer(None), answer("no"), answer('{"global": 3, "shots": [1]}')])
def test_an_answer_that_is_no_story_is_refused(url: str, says: str) -> None:
    Endpoint.says = says
    with pytest.raises(RequestError, match="no story"):
        Director(url, "", "m").write("two friends")


def test_a_director_that_is_away_is_said() -> None:
    with pytest.raises(RequestError, match="reached"):
        Director("http://127.0.0.1:9", "", "m").write("two friends")
    assert Director.from_environment({}) is None
    with pytest.raises(InputError, match="http"):
        Director.from_environment({"SHOTSTREAM_DIRECTOR_URL": "file:///etc/passwd"})


def test_the_grammar_suggests_what_the_story_knows() -> None:
    shots = suggest("A red fox and a blue owl on a beach at night.", ["Wide shot: the fox walks left."])
    assert len(set(shots)) == 3
    assert all("fox" in shot or "owl" in shot for shot in shots)
    assert shots == suggest("A red fox and a blue owl on a beach at night.", ["Wide shot: the fox walks left."])
    assert len(suggest("Something that no grammar knows.", [])) == 3


def test_suggestions_over_http(studio: Any) -> None:
    name = studio.begin()
    assert studio.client.get(f"/api/stories/{name}/suggestions").json()["shots"] == [], "the model knows no StoryWorld"
    assert studio.client.post("/api/outline", json={"idea": "friends"}).json()["code"] == "unavailable"
