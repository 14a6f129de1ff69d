"""The clients of the protocol's page run as they stand there, against a real server."""

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest

from shotstream.api import Model
from shotstream.core.spec import PAPER_SHOT
from snippets import PROJECT, snippets_of

PAGE = PROJECT / "docs" / "protocol.md"
ADDRESS = "http://127.0.0.1:7860"
Listen = Callable[[Model], AbstractContextManager[str]]


def only_snippet(language: str) -> str:
    """The one block of the page in a language."""
    (snippet,) = (one for one in snippets_of(PAGE) if one.language == language)
    return snippet.text


def said(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_client_steers_its_story(model: Model, listen: Listen) -> None:
    with listen(model) as address:
        told = said([sys.executable, "-c", only_snippet("python").replace(ADDRESS, address)])
        (story,) = json.load(urllib.request.urlopen(f"{address}/api/stories"))
        tree = json.load(urllib.request.urlopen(f"{address}/api/stories/{story['id']}/tree"))
    assert told == f"{PAPER_SHOT.frames_of_chunks(3)} frames\n"
    assert [steer["text"] for steer in tree["takes"][0]["steers"]] == ["Wide shot: the fox jumps."]


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_curl_begins_a_story(model: Model, listen: Listen) -> None:
    with listen(model) as address:
        told = said(["bash", "-euo", "pipefail", "-c", only_snippet("bash").replace(ADDRESS, address)])
    health, begun, stories = decode_all(told)
    assert health["status"] == "ready"
    assert [story["id"] for story in stories] == [begun["id"]]


def decode_all(text: str) -> list[Any]:
    """JSON texts one behind the other."""
    decoder, found, place = json.JSONDecoder(), [], 0
    while place < len(text):
        one, place = decoder.raw_decode(text, place)
        found.append(one)
    return found
