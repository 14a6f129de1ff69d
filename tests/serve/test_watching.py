"""A story is begun, directed and watched; what is seen is what the engine makes."""

import asyncio
import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from shotstream.api import Model
from shotstream.core.spec import PAPER_SHOT
from shotstream.serve.broadcast import LAG_FRAMES, Viewer
from shotstream.serve.frames import pack_chunk
from shotstream.serve.news import Chunk
from shotstream.serve.packets import FrameKey, FramePacket

CAPTION = "A red fox in a forest."


def pictures(story: Any, shot: int, take: int = 0) -> dict[FrameKey, bytes]:
    """The frames of a shot of the engine's own story, as a viewer would get them."""
    packed = pack_chunk("00" * 8, Chunk(FrameKey(shot, take, 0), 0, story.history.frames(shot)))
    return {packet.key: packet.picture for packet in packed}


def test_two_shots_arrive_as_the_engine_makes_them(studio: Any, model: Model) -> None:
    name = studio.begin()
    with studio.watch(name) as watcher:
        hello = watcher.until(type="hello")
        assert (hello["story"], hello["width"], hello["height"]) == (name, 48, 32)
        watcher.make("The fox walks.", 2)
        state = watcher.make("The fox sleeps.", 1)
    assert state["branch"] == [0, 0]
    assert state["frames"] == PAPER_SHOT.frames_of_chunks(2) + PAPER_SHOT.frames_of_chunks(1)
    with model.story(CAPTION, seed=7) as story:
        for text, chunks in (("The fox walks.", 2), ("The fox sleeps.", 1)):
            list(story.shot(text, chunks))
        expected = pictures(story, 0) | pictures(story, 1)
    assert watcher.frames == expected
    assert watcher.order == sorted(expected)


def test_a_story_begins_with_its_first_shots_and_who_opens_it_misses_none(studio: Any) -> None:
    shots = [{"text": "The fox walks.", "chunks": 1}, {"text": "The fox sleeps.", "chunks": 2, "seed": 5}]
    reply = studio.client.post("/api/stories", json={"global_caption": CAPTION, "seed": 7, "shots": shots})
    assert reply.json()["unfinished"]
    name = reply.json()["id"]
    with studio.watch(name) as watcher:
        watcher.rest()
    lengths = [PAPER_SHOT.frames_of_chunks(1), PAPER_SHOT.frames_of_chunks(2)]
    assert watcher.order == [(shot, 0, frame) for shot, length in enumerate(lengths) for frame in range(length)]
    assert [take["seed"] for take in studio.client.get(f"/api/stories/{name}/tree").json()["takes"]] == [7, 5]
    for wrong in ([{"text": " "}], [{"text": "It walks.", "chunks": 8}], [{"text": "It walks."}] * 51):
        reply = studio.client.post("/api/stories", json={"global_caption": CAPTION, "shots": wrong})
        assert reply.json()["code"] in ("invalid", "too_large", "full")
    assert len(studio.client.get("/api/stories").json()) == 1


def test_a_picture_is_the_frame(model: Model) -> None:
    with model.story(CAPTION) as story:
        frames = next(story.shot("The fox walks."))
    packet = pack_chunk("ab" * 8, Chunk(FrameKey(3, 1, 0), 16, frames))[4]
    assert (packet.key, packet.time_ms, packet.story) == (FrameKey(3, 1, 4), 1250, "ab" * 8)
    assert type(packet).unpack(packet.packed) == packet
    shown = next(av.open(io.BytesIO(packet.picture), format="jpeg_pipe").decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(shown.astype(int) - frames[4]).mean() < 4


def test_a_slow_viewer_loses_old_frames_and_no_message() -> None:
    async def watch() -> list[Any]:
        viewer = Viewer()
        for first in range(0, 120, 12):
            for packet in pack_chunk(
                "00" * 8, Chunk(FrameKey(0, 0, first), first, np.zeros((12, 16, 16, 3), np.uint8))
            ):
                viewer.show(packet)
        viewer.end()
        assert viewer.dropped == 120 - LAG_FRAMES
        return [item async for item in _all(viewer)]

    items = asyncio.run(watch())
    assert [FramePacket.unpack(item).key.frame for item in items] == list(range(120 - LAG_FRAMES, 120))


def test_a_frame_is_packed_once_for_all_viewers(monkeypatch: pytest.MonkeyPatch) -> None:
    packs: list[FrameKey] = []
    plain = FramePacket.packed.func  # type: ignore[attr-defined]
    monkeypatch.setattr(FramePacket.packed, "func", lambda packet: packs.append(packet.key) or plain(packet))

    async def watch() -> list[Any]:
        viewers = [Viewer() for _ in range(3)]
        for packet in pack_chunk("00" * 8, Chunk(FrameKey(0, 0, 0), 0, np.zeros((2, 16, 16, 3), np.uint8))):
            for viewer in viewers:
                viewer.show(packet)
        return [await viewer.next() for viewer in viewers for _ in range(2)]

    sent = asyncio.run(watch())
    assert sent[:2] == sent[2:4] == sent[4:]
    assert packs == [(0, 0, 0), (0, 0, 1)]


async def _all(viewer: Viewer) -> Any:
    while (item := await viewer.next()) is not None:
        yield item


def test_who_comes_back_goes_on_where_it_was(studio: Any) -> None:
    name = studio.begin()
    with studio.watch(name) as watcher:
        watcher.make("The fox walks.", 2)
    whole = watcher.order
    with studio.watch(name, "0.0.4") as again:
        while not (again.order and again.order[-1] == whole[-1]):
            again.read()
    assert again.order == whole[5:]


def test_the_server_opens_where_nothing_was(tmp_path: Path, serve: Any) -> None:
    with serve() as studio:
        assert studio.client.get("/api/health").json()["status"] == "ready"
        assert studio.client.get("/api/stories").json() == []
        assert "<title>ShotStream" in studio.client.get("/").text
        assert studio.client.get("/api/openapi.json").json()["info"]["title"] == "ShotStream"
    assert (tmp_path / "data").is_dir()
