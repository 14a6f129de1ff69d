"""Takes can be looked at one by one, and pictures join the cast."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from shotstream.core.images import write_png
from shotstream.core.spec import PAPER_SHOT
from shotstream.serve.http.state import COPIES
from shotstream.serve.pictures import MAX_UPLOAD_PIXELS, JpegEncoder


def pixels(data: bytes, form: str) -> Any:
    with av.open(io.BytesIO(data), format=form) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


@pytest.fixture
def png(tmp_path: Any) -> bytes:
    write_png(tmp_path / "red.png", np.full((40, 40, 3), (200, 30, 30), np.uint8))
    return (tmp_path / "red.png").read_bytes()


def add(studio: Any, story: str, data: bytes, caption: str = "a red wall") -> Any:
    return studio.client.post(f"/api/stories/{story}/cast", params={"caption": caption}, content=data)


def test_a_take_is_a_picture_and_a_video(studio: Any) -> None:
    story = studio.begin()
    with studio.watch(story) as watcher:
        watcher.make("The fox walks.", 2)
        watcher.say(type="rewind", shot=0)
        watcher.make("The fox sleeps.", 1)
    takes = f"/api/stories/{story}/takes"
    for take, frames in ((0, PAPER_SHOT.frames_of_chunks(2)), (1, PAPER_SHOT.frames_of_chunks(1))):
        reply = studio.client.get(f"{takes}/0/{take}/video")
        assert reply.headers["content-type"] == "video/mp4"
        with av.open(io.BytesIO(reply.content)) as container:
            assert sum(1 for _ in container.decode(video=0)) == frames
        shown = studio.client.get(f"{takes}/0/{take}/picture")
        assert shown.headers["content-type"] == "image/jpeg"
        middle = next(data for key, data in watcher.frames.items() if key == (0, take, frames // 2))
        assert np.array_equal(pixels(shown.content, "jpeg_pipe"), pixels(middle, "jpeg_pipe"))
    for place in ("0/2", "1/0", "-1/0", f"{2**80}/0"):
        assert studio.client.get(f"{takes}/{place}/video").status_code == 404
    assert studio.client.get(f"{takes}/x/0/video").status_code == 422


def test_a_take_is_encoded_once_and_waits_for_no_export(
    studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shotstream.serve.replays.MAX_REPLAYS", 1)
    story, kept = studio.begin(), tmp_path / "data" / "replays"
    with studio.watch(story) as watcher:
        watcher.make("The fox walks.", 1)
        watcher.make("The fox sleeps.", 1)
    first, second = (f"/api/stories/{story}/takes/{shot}/0/video" for shot in (0, 1))
    copying = studio.client.app.state.server.copying
    for _ in range(COPIES):
        assert copying.acquire(blocking=False)
    with ThreadPoolExecutor(6) as viewers:
        assert {reply.status_code for reply in viewers.map(studio.client.get, [first] * 6)} == {200}
    (video,) = kept.iterdir()
    made_ns = video.stat().st_mtime_ns
    assert studio.client.get(first, headers={"Range": "bytes=10-19"}).content == video.read_bytes()[10:20]
    assert studio.client.get(first, headers={"Range": "bytes=999999999-"}).status_code == 416
    assert video.stat().st_mtime_ns == made_ns
    assert studio.client.get(second).status_code == 200
    (other,) = kept.iterdir()
    assert other != video
    assert studio.client.delete(f"/api/stories/{story}").status_code == 204
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_the_cast_is_seen_by_what_comes(studio: Any, png: bytes, kind: str) -> None:
    data = png if kind == "png" else JpegEncoder(40, 40).encode(np.full((40, 40, 3), (200, 30, 30), np.uint8))
    made = []
    for with_cast in (False, True):
        story = studio.begin()
        if with_cast:
            assert add(studio, story, data).status_code == 201
        with studio.watch(story) as watcher:
            watcher.make("The fox walks.", 1)
        made.append(watcher.frames)
    assert made[0] != made[1]
    assert studio.client.get(f"/api/stories/{story}/tree").json()["cast"] == [{"number": 0, "caption": "a red wall"}]
    shown = pixels(studio.client.get(f"/api/stories/{story}/cast/0/picture").content, "png_pipe")
    assert shown.shape == (32, 48, 3)
    assert np.abs(shown.astype(int) - (200, 30, 30)).max() < 8
    assert studio.client.get(f"/api/stories/{story}/cast/1/picture").status_code == 404


def test_what_is_no_picture_is_refused(serve: Any, png: bytes) -> None:
    huge = bytearray(png)
    huge[16:24] = (2**15).to_bytes(4, "big") * 2
    assert MAX_UPLOAD_PIXELS < 2**30
    with serve(cast=1, picture_bytes=10_000) as studio:
        story = studio.begin()
        for data in (b"", b"GIF89a", png[:20], bytes(huge), b"\xff\xd8\xff" + bytes(50), png[:60] + b"x" + png[61:]):
            reply = add(studio, story, data)
            assert (reply.status_code, reply.json()["code"]) == (422, "invalid"), data[:30]
        assert add(studio, story, bytes(10_001)).status_code == 413
        assert add(studio, story, png, " ").status_code == 422
        assert add(studio, "0" * 16, png).status_code == 404
        assert studio.client.get(f"/api/stories/{story}/tree").json()["cast"] == []
        assert add(studio, story, png).status_code == 201
        assert add(studio, story, png).json()["code"] == "full"
