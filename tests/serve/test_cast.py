"""The cast of a story: renamed, removed, chosen shot by shot, undone, and kept by all that keeps a story."""

import io
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shotstream.api import Model
from shotstream.core.images import write_png
from shotstream.serve.commands import AddCast, MakeShot, NewShot, QueueShots, RemoveCast, RenameCast, Undo
from shotstream.serve.limits import Limits
from shotstream.serve.session import Session
from shotstream.serve.store import Store, begin_row
from shotstream.story.cast import CastMember
from shotstream.story.history import History
from shotstream.story.script_files import load_scripts

FOX, OWL = {"number": 0, "caption": "a fox"}, {"number": 1, "caption": "an owl"}
RUSTY = {"number": 0, "caption": "Rusty"}


@pytest.fixture
def story(studio: Any, tmp_path: Path) -> str:
    """A story with a cast of two."""
    name = studio.begin()
    for member in (FOX, OWL):
        path = tmp_path / "picture.png"
        write_png(path, np.full((32, 48, 3), 60 + 120 * member["number"], np.uint8))
        params = {"caption": member["caption"]}
        reply = studio.client.post(f"/api/stories/{name}/cast", params=params, content=path.read_bytes())
        assert reply.status_code == 201, reply.text
    return name


def tree(studio: Any, story: str) -> Any:
    return studio.client.get(f"/api/stories/{story}/tree").json()


def do(studio: Any, story: str, **command: Any) -> None:
    reply = studio.command(story, **command)
    assert reply.status_code == 200, reply.text
    studio.wait(story)


def make(studio: Any, story: str, **shot: Any) -> Any:
    """Makes a shot of one chunk; its take."""
    do(studio, story, type="shot", text="The fox walks.", chunks=1, **shot)
    return tree(studio, story)["takes"][-1]


def test_a_shot_knows_whom_it_chose_and_takes_keep_whom_they_knew(studio: Any, story: str) -> None:
    assert make(studio, story)["cast"] == [FOX, OWL]
    assert make(studio, story, cast=[1])["cast"] == [OWL]
    assert make(studio, story, cast=[])["cast"] == []
    do(studio, story, type="rename_cast", member=0, caption="Rusty")
    do(studio, story, type="remove_cast", member=1)
    now = tree(studio, story)
    assert now["cast"] == [RUSTY]
    assert [take["cast"] for take in now["takes"]] == [[FOX, OWL], [OWL], []]
    do(studio, story, type="retry", shot=0, seed=9, rest=True)
    assert [take["cast"] for take in tree(studio, story)["takes"][3:]] == [[RUSTY], [], []]
    assert studio.client.get(f"/api/stories/{story}/cast/1/picture").status_code == 200


def test_whom_the_cast_lacks_is_refused_with_those_that_it_has(studio: Any, story: str) -> None:
    for command in (
        {"type": "shot", "text": "The fox walks.", "cast": [2]},
        {"type": "queue", "shots": [{"text": "The fox walks.", "cast": [0, 2]}]},
        {"type": "rename_cast", "member": 2, "caption": "a bear"},
        {"type": "remove_cast", "member": 2},
    ):
        reply = studio.command(story, **command)
        assert reply.status_code == 422, reply.text
        assert "0 (a fox), 1 (an owl). It was 2." in reply.json()["message"]
    assert studio.command(story, type="rename_cast", member=0, caption=" ").status_code == 422
    first = studio.client.post("/api/stories", json={"global_caption": "A fox.", "shots": [{"text": "a", "cast": [0]}]})
    assert (first.status_code, first.json()["code"]) == (422, "invalid")
    assert tree(studio, story)["cast"] == [FOX, OWL]


def test_viewers_are_told_of_the_cast_and_its_changes_are_undone(studio: Any, story: str) -> None:
    with studio.watch(story) as watcher:
        assert watcher.until(type="state")["cast"] == [FOX, OWL]
        watcher.say(type="queue", shots=[{"text": "The fox walks.", "cast": [0]}], paused=True)
        watcher.until(type="state", undo="queue")
        watcher.say(type="rename_cast", member=0, caption="Rusty")
        assert watcher.until(type="state", undo="rename_cast")["cast"] == [RUSTY, OWL]
        watcher.say(type="remove_cast", member=0)
        removed = watcher.until(type="state", undo="remove_cast")
        assert removed["cast"] == [OWL]
        assert [shot["cast"] for shot in removed["queue"]] == [[0]]
        seen = []
        for _ in range(5):
            watcher.say(type="undo")
            seen.append([member["caption"] for member in watcher.until(type="state")["cast"]])
        assert seen == [["Rusty", "an owl"], ["a fox", "an owl"], ["a fox", "an owl"], ["a fox"], []]
        assert watcher.messages[-1]["queue"] == []


def test_what_the_next_shot_remembers_follows_its_choice(studio: Any, story: str) -> None:
    def remembered() -> list[Any]:
        frames = studio.client.get(f"/api/stories/{story}/context").json()["frames"]
        return [one["cast"] for one in frames]

    assert remembered() == [FOX] * 3 + [OWL] * 3
    do(studio, story, type="queue", shots=[{"text": "The fox walks.", "cast": [1]}], paused=True)
    assert remembered() == [OWL] * 6
    do(studio, story, type="remove_cast", member=1)
    assert remembered() == []


def test_a_duplicate_a_zip_and_a_script_keep_the_cast(studio: Any, story: str, tmp_path: Path) -> None:
    make(studio, story, cast=[0])
    do(studio, story, type="rename_cast", member=0, caption="Rusty")
    make(studio, story)
    do(studio, story, type="remove_cast", member=1)
    packed = studio.client.get(f"/api/stories/{story}/export/zip").content
    duplicate = studio.client.post(f"/api/stories/{story}/duplicate")
    for reply in (duplicate, studio.client.post("/api/import", content=packed)):
        assert reply.status_code == 201, reply.text
        copy = reply.json()["id"]
        assert tree(studio, copy) == tree(studio, story)
        assert make(studio, copy)["cast"] == [RUSTY]
    script = studio.client.get(f"/api/stories/{story}/export/yaml").content
    zipfile.ZipFile(io.BytesIO(script)).extractall(tmp_path / "told")
    (told,) = load_scripts(tmp_path / "told" / "script.yaml")
    assert [(entry.caption, Path(entry.image).name) for entry in told.cast] == [
        ("Rusty", "cast-000.png"),
        ("a fox", "cast-000.png"),
        ("an owl", "cast-001.png"),
    ]
    assert [shot.cast for shot in told.shots] == [(1,), (0, 2)]


def test_the_cast_is_limited(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    write_png(path, np.full((32, 48, 3), 90, np.uint8))
    with serve(cast=1, shots=2) as studio:
        story = studio.begin()

        def add() -> Any:
            return studio.client.post(f"/api/stories/{story}/cast?caption=a", content=path.read_bytes()).json()

        assert add()["type"] == "done"
        assert "Remove one" in add()["message"]
        do(studio, story, type="remove_cast", member=0)
        assert add()["type"] == "done"
        do(studio, story, type="remove_cast", member=1)
        assert add()["message"] == "A story keeps at most 2 pictures of its cast; begin another one."


def test_a_shot_in_the_making_and_a_lost_take_are_made_again_with_whom_they_knew(model: Model, tmp_path: Path) -> None:
    """The cast was changed since, and both come out as they were."""
    store = Store(tmp_path / "data")
    row, limits = store.add(begin_row("A red fox.", 1, "dynamic", 32, 48)), Limits(ahead_chunks=10**6)

    def open_again() -> Session:
        return Session(model, store, store.get(row.id), limits, lambda _: None)

    session = open_again()
    for number in range(2):
        session.apply(AddCast(np.full((32, 48, 3), 60 + 120 * number, np.uint8), f"member {number}"))
    queued = NewShot(text="It sleeps.", chunks=2, cast=(0,))
    session.apply(QueueShots(type="queue", shots=(NewShot(text="It walks.", chunks=1), queued)))
    for _ in range(3):
        session.step()
    assert session.working, "the second shot is being made"
    session.apply(RenameCast(type="rename_cast", member=0, caption="another"))
    session.close()
    session = open_again()
    while session.working:
        session.step()
    assert [take.cast for take in session.story.history.records] == [
        (CastMember(0, "member 0"), CastMember(1, "member 1")),
        (CastMember(0, "member 0"),),
    ]
    session.apply(RemoveCast(type="remove_cast", member=1))
    session.close()
    directory = store.directory(row.id)
    shutil.copytree(directory, tmp_path / "before")
    (directory / "shot-000.mkv").write_bytes(b"damaged")
    session = open_again()
    while session.working:
        session.step()
    session.close()
    before, after = (
        [replace(take, key_frames_sha256="") for take in History.open(place).records]
        for place in (tmp_path / "before", directory)
    )
    assert after == before, "the first was made again, and the second put back"
    store.close()


def test_undo_of_a_shot_goes_back_to_the_cast_it_had(model: Model, tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    row = store.add(begin_row("A red fox.", 1, "dynamic", 32, 48))
    session = Session(model, store, row, Limits(ahead_chunks=10**6), lambda _: None)
    session.apply(AddCast(np.full((32, 48, 3), 90, np.uint8), "a fox"))
    session.apply(MakeShot(type="shot", text="It walks.", chunks=1))
    while session.working:
        session.step()
    session.apply(RemoveCast(type="remove_cast", member=0))
    session.apply(Undo(type="undo"))
    assert session.story.history.branch == (0,), "the cast alone goes back"
    assert [member.caption for member in session.story.history.cast] == ["a fox"]
    session.apply(Undo(type="undo"))
    assert session.story.history.branch == ()
    session.close()
    store.close()
