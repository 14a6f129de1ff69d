"""A caption that is being written is read ahead, in time that nobody waits for, and changes nothing but that."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from shotstream.api import Model
from shotstream.core.spec import PAPER_SHOT
from shotstream.serve.frames import pack_chunk
from shotstream.serve.http.stories import record_of
from shotstream.serve.news import Chunk
from shotstream.serve.packets import FrameKey

CAPTION = "A red fox."


@pytest.fixture
def encoded(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the text encoder is asked for."""
    asked: list[str] = []
    encoder = model.parts.text_encoder
    encode = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda captions: asked.extend(captions) or encode(captions))
    return asked


class Held:
    """A server's worker: what it makes and reads ahead, in order; it makes nothing until it is let go."""

    def __init__(self, studio: Any) -> None:
        self.worker = studio.client.app.state.server.worker
        self.order: list[str] = []
        self._gate = threading.Event()
        step, prepare = self.worker._step, self.worker._prepare

        def held_step(story: str, turn: Any) -> None:
            assert self._gate.wait(30)
            self.order.append("step")
            step(story, turn)

        def noted_prepare(story: str, turn: Any) -> None:
            self.order.append("ahead")
            prepare(story, turn)

        self.worker._step, self.worker._prepare = held_step, noted_prepare

    def let_go(self) -> None:
        """Makes what there is to make."""
        self._gate.set()


def until(condition: Callable[[], object]) -> None:
    """Waits until something holds."""
    until_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until_s, "it does not come"
        time.sleep(0.005)


def test_a_shot_that_was_written_before_it_was_asked_for_is_the_same(serve: Any, encoded: list[str]) -> None:
    texts = ("It walks.", "It jumps.")
    with serve() as studio:
        plain, ahead = studio.begin(CAPTION, seed=3), studio.begin(CAPTION, seed=3)
        with studio.watch(plain) as watcher:
            for text in texts:
                watcher.make(text, 2)
            expected = watcher.frames
        encoded.clear()
        with studio.watch(ahead) as watcher:
            watcher.until(type="hello")
            for shot, text in enumerate(texts):
                for number, written in enumerate((text[:4], text)):
                    watcher.say(type="draft", text=written, id=number)
                    watcher.until(type="done", id=number)
                until(lambda shot=shot, text=text: f"{CAPTION}shot{shot}:{text}" in encoded)
                encoded.clear()
                watcher.make(text, 2)
                assert not [caption for caption in encoded if text in caption]
            assert watcher.frames == expected


def test_a_steer_that_was_written_before_is_the_same(serve: Any, model: Model, encoded: list[str]) -> None:
    with serve(ahead_chunks=1) as studio:
        name = studio.begin(CAPTION, seed=3)
        with studio.watch(name) as watcher:
            watcher.say(type="shot", text="It walks.", chunks=7)
            watcher.until(type="state", work={"shot": 0, "take": 0, "text": "It walks.", "made": 2, "chunks": 7})
            watcher.say(type="draft", text="It jumps.")
            until(lambda: {f"{CAPTION}shot{shot}:It jumps." for shot in (0, 1)} <= set(encoded))
            encoded.clear()
            watcher.say(type="steer", text="It jumps.", id=1)
            watcher.until(type="done", id=1)
            watcher.rest()
        (take,) = record_of(studio.client.app.state.server.store, name).tree.takes
    assert encoded == []
    (steer,) = take.spec.steers
    with model.story(CAPTION, seed=3) as story:
        shot = story.shot("It walks.", 7)
        for _ in range(steer.at):
            next(shot)
        shot.steer(steer.text)
        list(shot)
        packets = pack_chunk("00" * 8, Chunk(FrameKey(0, 0, 0), 0, story.history.frames(0)))
    first = PAPER_SHOT.frames_of_chunks(steer.at)
    expected = {packet.key: packet.picture for packet in packets if packet.key.frame >= first}
    assert {key: picture for key, picture in watcher.frames.items() if key.frame >= first} == expected


def test_nothing_is_read_ahead_while_there_is_something_to_make(serve: Any) -> None:
    with serve() as studio:
        held, name = Held(studio), studio.begin()
        assert studio.command(name, type="shot", text="It walks.", chunks=4).status_code == 200
        assert studio.command(name, type="draft", text="It jumps.").status_code == 200, "nobody waits for the chunk"
        held.let_go()
        until(lambda: "ahead" in held.order)
        assert held.order[:6] == ["step"] * 5 + ["ahead"]


def test_what_may_make_a_chunk_late_is_not_read_before_it(serve: Any) -> None:
    with serve(ahead_chunks=1) as studio:
        held, name = Held(studio), studio.begin()
        held.worker._reading_s = 1e3
        assert studio.command(name, type="shot", text="It walks.", chunks=4).status_code == 200
        held.let_go()
        until(lambda: len(held.order) == 3)
        assert studio.command(name, type="draft", text="It jumps.").status_code == 200
        until(lambda: "ahead" in held.order)
        assert held.order[:6] == ["step"] * 5 + ["ahead"]
        until(lambda: held.worker._reading_s < 1e3)


def test_of_many_drafts_the_last_is_read_and_they_keep_nobody_waiting(serve: Any, encoded: list[str]) -> None:
    with serve(pending_commands=2) as studio:
        held, name = Held(studio), studio.begin()
        assert studio.command(name, type="shot", text="It walks.", chunks=1).status_code == 200
        for length in range(1, 20):
            assert studio.command(name, type="draft", text="It jumps over the hedge."[:length]).status_code == 200
        assert held.worker.pending == 1
        held.let_go()
        until(lambda: "ahead" in held.order)
        studio.command(name, type="steer", text=" ")  # the worker has come round once more
        assert [caption for caption in encoded if "j" in caption] == ["A shot1:It jumps over the h"]


def test_what_has_been_said_is_no_draft_any_more(serve: Any, encoded: list[str]) -> None:
    with serve() as studio:
        held, name = Held(studio), studio.begin(CAPTION)
        assert studio.command(name, type="shot", text="It walks.", chunks=1).status_code == 200
        assert studio.command(name, type="draft", text="It jumps.").status_code == 200
        held.let_go()
        assert studio.command(name, type="queue", shots=[{"text": "It jumps.", "chunks": 1}]).status_code == 200
        studio.wait(name)
        until(lambda: "ahead" in held.order)
        assert encoded.count(f"{CAPTION}shot1:It jumps.") == 1
        assert f"{CAPTION}shot2:It jumps." not in encoded


def test_a_story_that_is_removed_has_nothing_read(serve: Any, encoded: list[str]) -> None:
    with serve() as studio:
        held, name = Held(studio), studio.begin()
        assert studio.command(name, type="shot", text="It walks.", chunks=1).status_code == 200
        assert studio.command(name, type="draft", text="It jumps.").status_code == 200
        removing = threading.Thread(target=lambda: studio.client.delete(f"/api/stories/{name}"))
        removing.start()
        until(lambda: held.worker.pending == 2)
        held.let_go()
        removing.join()
        assert studio.command(name, type="draft", text="It jumps.").json()["code"] == "not_found"
        assert held.worker._drafts == {}
    assert held.order == ["step"]
    assert not [caption for caption in encoded if "jumps" in caption]


def test_a_draft_is_refused_like_any_command_and_opens_nothing(serve: Any) -> None:
    with serve(text=30, sessions=1) as studio:
        name, other = studio.begin(), studio.begin()
        assert studio.command(name, type="draft", text="It jumps.").json()["code"] == "conflict"
        assert studio.client.app.state.server.open_stories.channels == {}
        with studio.watch(name) as watcher:
            watcher.until(type="hello")
            for wrong, code in (("x" * 31, "too_large"), (" ", "invalid"), ("", "invalid"), (7, "invalid")):
                watcher.say(type="draft", text=wrong)
                assert watcher.until(type="error")["code"] == code
            with studio.watch(other) as waiting:
                waiting.until(type="waiting")
                waiting.say(type="draft", text="It jumps.", id=1)
                assert waiting.until(type="error", id=1)["code"] == "conflict"
                assert list(studio.client.app.state.server.open_stories.channels) == [name]
