"""Stories go out as files and come back as they were; what comes from elsewhere is not trusted."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from shotstream.core.errors import InputError
from shotstream.core.images import write_png
from shotstream.core.spec import PAPER_SHOT
from shotstream.serve.errors import message_of
from shotstream.story.record import add_checksum
from shotstream.story.script_files import load_scripts
from shotstream.story.script_yaml import parse_yaml


@pytest.fixture
def told(studio: Any) -> str:
    name = studio.begin()
    with studio.watch(name) as watcher:
        watcher.make("The fox walks.", 2)
        watcher.make("The fox sleeps.", 1)
    return name


def get(studio: Any, name: str, kind: str) -> bytes:
    reply = studio.client.get(f"/api/stories/{name}/export/{kind}")
    assert reply.status_code == 200, reply.text
    return reply.content


@pytest.mark.parametrize("kind", ["mp4", "webm", "gif"])
def test_videos_have_every_frame(studio: Any, told: str, kind: str, tmp_path: Path) -> None:
    with av.open(io.BytesIO(get(studio, told, kind))) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == PAPER_SHOT.frames_of_chunks(2) + PAPER_SHOT.frames_of_chunks(1)
    assert pictures[0].shape == (32, 48, 3)
    beyond = studio.client.get(f"/api/stories/{told}/export/{kind}", headers={"Range": "bytes=999999999-"})
    assert beyond.status_code == 416
    assert list((tmp_path / "data" / "passing").iterdir()) == []


def test_the_script_tells_the_story_again(studio: Any, told: str) -> None:
    script = parse_yaml(get(studio, told, "yaml").decode(), "script.yaml")
    assert (script.global_caption, script.seed) == ("A red fox in a forest.", 7)
    assert [(shot.text, shot.chunks) for shot in script.shots] == [("The fox walks.", 2), ("The fox sleeps.", 1)]


def test_the_script_of_a_story_with_a_cast_has_its_pictures(studio: Any, tmp_path: Path) -> None:
    name, place = studio.begin(), tmp_path / "told"
    write_png(tmp_path / "red.png", np.full((40, 40, 3), (200, 30, 30), np.uint8))
    picture = (tmp_path / "red.png").read_bytes()
    assert studio.client.post(f"/api/stories/{name}/cast?caption=a+wall", content=picture).status_code == 201
    with studio.watch(name) as watcher:
        watcher.make("The fox walks.", 1)
    reply = studio.client.get(f"/api/stories/{name}/export/yaml")
    assert reply.headers["content-type"] == "application/zip"
    assert f'filename="story-{name}-yaml.zip"' in reply.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        archive.extractall(place)
    (script,) = load_scripts(place / "script.yaml")
    (member,) = script.cast
    assert member.caption == "a wall"
    assert Path(member.image).is_relative_to(place)
    assert Path(member.image).is_file()


def test_a_story_from_a_zip_goes_on_like_the_first(studio: Any, told: str) -> None:
    reply = studio.client.post("/api/import", content=get(studio, told, "zip"))
    assert reply.status_code == 201, reply.text
    other = reply.json()["id"]
    assert other != told
    assert reply.json()["frames"] == PAPER_SHOT.frames_of_chunks(2) + PAPER_SHOT.frames_of_chunks(1)
    ends = []
    for name in (told, other):
        with studio.watch(name) as watcher:
            watcher.make("The fox jumps.", 1)
            ends.append(watcher.frames)
    assert ends[0]
    assert ends[0] == ends[1]


def test_a_story_by_another_model_is_marked_and_only_shown(studio: Any, told: str) -> None:
    data = get(studio, told, "zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        record = json.loads(archive.read("story.json"))
    for name, other in (("model", "0" * 32), ("sampler", record["identity"]["sampler"] | {"steps": [1000.0]})):
        changed = record | {"identity": record["identity"] | {name: other}}
        reply = studio.client.post("/api/import", content=rewrite(data, record=record_bytes(changed)))
        assert reply.status_code == 201, reply.text
        assert reply.json()["other_model"], name
        story = reply.json()["id"]
        assert get(studio, story, "mp4")
        assert studio.client.get(f"/api/stories/{story}/takes/0/0/video").status_code == 200
        with studio.watch(story) as watcher:
            assert "another model" in watcher.until(type="error", code="invalid")["message"]
        assert "another model" in studio.command(story, type="cut").json()["message"]
    assert [one["other_model"] for one in studio.client.get("/api/stories").json()] == [True, True, False]


def test_a_story_in_which_nothing_is_made_belongs_to_no_model(studio: Any, told: str) -> None:
    data = get(studio, told, "zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        record = json.loads(archive.read("story.json"))
    empty = studio.client.post("/api/stories", json={"global_caption": "A fox."}).json()["id"]
    identity = record["identity"] | {"model": "0" * 32}
    directory = studio.client.app.state.server.store.directory(empty)
    directory.mkdir(parents=True)
    (directory / "story.json").write_bytes(record_bytes({"version": record["version"], "identity": identity}))
    assert not studio.client.get(f"/api/stories/{empty}").json()["other_model"]


def test_no_place_of_the_server_is_told_in_part() -> None:
    error = InputError("shotstream-data/stories/ab12 holds another story, /tmp/x/y too; see docs/protocol.md")
    assert (
        message_of(error) == "A file of the server holds another story, a file of the server too; see docs/protocol.md."
    )


def spoilt(data: bytes, method: int) -> bytes:
    """A zip whose record cannot be unpacked."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", method) as new:
        new.writestr("story.json", old.read("story.json"))
        place = new.getinfo("story.json").header_offset + 30 + len("story.json")
    whole = bytearray(out.getvalue())
    whole[place + 9 : place + 60] = b"\xff" * 51
    return bytes(whole)


def record_bytes(record: dict[str, Any]) -> bytes:
    """A `story.json` whose checksum fits."""
    return json.dumps(add_checksum(record)).encode()


def rewrite(data: bytes, **changes: bytes | None) -> bytes:
    """A zip with files changed or, where None, left out; `record` stands for story.json, `video` for the first shot."""
    names = {"record": "story.json", "video": "shot-000.mkv", "exact": "shot-000.safetensors"}
    wanted = {names[key]: value for key, value in changes.items()}
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = wanted.get(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
        new.writestr("../../outside.txt", b"out")
    return out.getvalue()


def test_hostile_zips_are_refused(studio: Any, told: str, tmp_path: Path) -> None:
    good = get(studio, told, "zip")
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        record = json.loads(archive.read("story.json"))
    outside = json.loads(json.dumps(record))
    outside["tree"]["takes"][0]["take"] = "../../outside"
    negative = json.loads(json.dumps(record))
    negative["identity"]["height"] = 16_000_000
    takes = [
        {"length_frames": 2**70},
        {"length_frames": 8},
        {"chunks": 2**70, "length_frames": 12 * 2**70 - 3},
        {"take": 2**40},
        {"seed": 2**70},
        {"cast": 1},
        {"steers": [{"at": 2**70, "text": "It jumps."}]},
    ]
    untrue = [json.loads(json.dumps(record)) for _ in takes]
    for one, changes in zip(untrue, takes, strict=True):
        one["tree"]["takes"][1].update(changes)
    bad = [
        b"",
        b"no zip at all",
        good[: len(good) // 2],
        rewrite(good, record=None),
        rewrite(good, record=b"[" * 100_000),
        rewrite(good, record=record_bytes(outside)),
        rewrite(good, record=record_bytes(negative)),
        rewrite(good, video=None),
        rewrite(good, video=b"#EXTM3U\nfile:///etc/passwd"),
        rewrite(good, exact=b"\x80\x04pickle"),
        *(spoilt(good, method) for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)),
        *(rewrite(good, record=record_bytes(one)) for one in untrue),
    ]
    before = sorted((tmp_path / "data" / "stories").iterdir())
    for data in bad:
        reply = studio.client.post("/api/import", content=data)
        assert reply.status_code in (413, 422), reply.text
        assert set(reply.json()) == {"code", "message"}
        assert str(tmp_path) not in reply.text
    assert studio.client.post("/api/import", content=rewrite(good)).status_code == 201
    assert len(list((tmp_path / "data" / "stories").iterdir())) == len(before) + 1
    assert list((tmp_path / "data" / "passing").iterdir()) == []
    assert not list(tmp_path.rglob("outside*"))


def test_a_zip_that_grows_is_refused(serve: Any) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("story.json", b" " * 20 * 2**20)
    with serve(import_bytes=2**20) as studio:
        assert studio.client.post("/api/import", content=bomb.getvalue()).json()["code"] == "too_large"
        assert studio.client.post("/api/import", content=b"x" * 2**21).json()["code"] == "too_large"
