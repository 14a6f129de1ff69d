"""Stories have titles, and can be copied."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from shotstream.core.errors import InputError
from shotstream.serve.store import DATABASE, Store

JSON = {"Content-Type": "application/json"}


def test_a_story_is_named_and_renamed(studio: Any) -> None:
    plain = studio.client.get(f"/api/stories/{studio.begin()}").json()
    assert plain["title"] == ""
    reply = studio.client.post("/api/stories", json={"global_caption": "A fox.", "title": " The fox "})
    story = {key: value for key, value in reply.json().items() if key != "notes"}
    assert story["title"] == "The fox"
    address = f"/api/stories/{story['id']}"
    assert studio.client.patch(address, json={"title": "Der Fuchs 🦊"}).json() == story | {"title": "Der Fuchs 🦊"}
    assert studio.client.get(address).json()["title"] == "Der Fuchs 🦊"
    for wrong in ("x" * 201, "\ud800", "a\0b", 7):
        reply = studio.client.patch(address, content=json.dumps({"title": wrong}), headers=JSON)
        assert reply.json()["code"] == "invalid", wrong
    assert studio.client.get(address).json()["title"] == "Der Fuchs 🦊"
    assert studio.client.patch("/api/stories/none", json={"title": "x"}).status_code == 404


def test_a_script_has_the_title_of_its_story(studio: Any) -> None:
    shots = [{"text": "It walks.", "chunks": 1}]
    begun = {"global_caption": "A fox.", "title": "The fox", "shots": shots}
    story = studio.client.post("/api/stories", json=begun).json()["id"]
    with studio.watch(story) as watcher:
        watcher.rest()
    script = studio.client.get(f"/api/stories/{story}/export/yaml").text
    assert studio.client.post("/api/script", json={"text": script}).json()["title"] == "The fox"


def test_a_copy_has_all_branches_and_goes_its_own_way(studio: Any) -> None:
    name = studio.begin("A red fox in a forest. ")
    with studio.watch(name) as watcher:
        watcher.make("The fox walks.", 1)
        watcher.make("The fox sleeps.", 1)
        watcher.say(type="rewind", shot=1)
        watcher.make("The fox jumps.", 1)
    copy = studio.client.post(f"/api/stories/{name}/duplicate").json()
    assert (copy["title"], copy["shots"], copy["unfinished"]) == ("A red fox in a forest. (copy)", 2, False)
    trees = [studio.client.get(f"/api/stories/{one}/tree").json() for one in (name, copy["id"])]
    assert trees[0] == trees[1]
    assert len(trees[0]["branches"]) == 2
    frames = []
    for one in (name, copy["id"]):
        with studio.watch(one) as watcher:
            watcher.make("The fox eats.", 1)
            frames.append(watcher.frames)
    assert frames[0] == frames[1] != {}
    assert studio.client.delete(f"/api/stories/{name}").status_code == 204
    assert studio.client.get(f"/api/stories/{copy['id']}/export/mp4").status_code == 200


def test_a_story_in_which_nothing_is_made_is_copied_too(studio: Any, tmp_path: Path) -> None:
    reply = studio.client.post(f"/api/stories/{studio.begin()}/duplicate", json={"title": "Again"})
    assert reply.json()["title"] == "Again"
    with studio.watch(reply.json()["id"]) as watcher:
        watcher.make("The fox walks.", 1)
    assert list((tmp_path / "data" / "passing").iterdir()) == []


def test_copies_count_as_stories(serve: Any) -> None:
    with serve(stories=1) as studio:
        assert studio.client.post(f"/api/stories/{studio.begin()}/duplicate").json()["code"] == "full"


def test_a_database_of_another_layout_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / DATABASE) as database:
        database.execute("CREATE TABLE stories (id TEXT)")
    for _ in range(2):
        with pytest.raises(InputError, match="another version"):
            Store(tmp_path)
