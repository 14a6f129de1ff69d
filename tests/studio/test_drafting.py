"""What is written in the prompt line is read before the key is pressed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocket, expect

from shotstream.api import Model
from shotstream.serve.frames import pack_chunk
from shotstream.serve.news import Chunk
from shotstream.serve.packets import FrameKey, FramePacket

CAPTION = "A red fox in a forest by day."


class Wire:
    """What a page and its server say to each other over the socket."""

    def __init__(self, page: Page) -> None:
        self.commands: list[dict[str, Any]] = []
        self.frames: dict[FrameKey, bytes] = {}
        page.on("websocket", self._join)

    @property
    def drafts(self) -> list[str]:
        return [command["text"] for command in self.commands if command["type"] == "draft"]

    def _join(self, socket: WebSocket) -> None:
        socket.on("framesent", lambda sent: self.commands.append(json.loads(sent)))
        socket.on("framereceived", self._receive)

    def _receive(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            packet = FramePacket.unpack(data)
            self.frames[packet.key] = packet.picture


@pytest.fixture
def wire(desk: Any) -> Wire:
    return Wire(desk.page)


@pytest.fixture
def encoded(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the text encoder is asked for."""
    asked: list[str] = []
    encoder = model.parts.text_encoder
    encode = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda captions: asked.extend(captions) or encode(captions))
    return asked


def until(desk: Any, condition: Callable[[], object]) -> None:
    """Waits until something holds, while the page goes on."""
    for _ in range(desk.patience_ms // 20):
        if condition():
            return
        desk.page.wait_for_timeout(20)
    raise AssertionError("it does not come")


def wait_for(desk: Any, encoded: list[str], *captions: str) -> None:
    """Waits until captions have been encoded, and forgets all of them."""
    until(desk, lambda: set(captions) <= set(encoded))
    encoded.clear()


def test_a_shot_is_read_while_it_is_written_and_is_the_same(
    desk: Any, wire: Wire, model: Model, encoded: list[str]
) -> None:
    text = "The fox waves."
    desk.begin(CAPTION).page.get_by_label("Length").fill("1")
    desk.prompt.press_sequentially(text, delay=20)
    wait_for(desk, encoded, f"{CAPTION}shot0:{text}")
    until(desk, lambda: wire.drafts[-1:] == [text])
    assert len(wire.drafts) < len(text), "told of in pauses, not with every letter"
    desk.prompt.press("Enter")
    expect(desk.shots).to_have_count(1)
    desk.until("window.shown.length >= 9")
    assert encoded == []
    assert [command["type"] for command in wire.commands if command["type"] != "draft"] == ["shot"]
    seed = desk.server.get(f"/api/stories/{desk.story}")["seed"]
    with model.story(CAPTION, seed=seed) as story:
        list(story.shot(text, 1))
        packets = pack_chunk("00" * 8, Chunk(FrameKey(0, 0, 0), 0, story.history.frames(0)))
    assert wire.frames == {packet.key: packet.picture for packet in packets}


def test_a_steer_is_read_while_it_is_written(desk: Any, encoded: list[str]) -> None:
    desk.begin(CAPTION).say("The fox walks left.", chunks=60)
    expect(desk.making).to_contain_text("The fox walks left.")
    desk.prompt.fill("The fox dances.")
    wait_for(desk, encoded, *(f"{CAPTION}shot{shot}:The fox dances." for shot in (0, 1)))
    desk.prompt.press("Control+Enter")
    expect(desk.making).to_contain_text("The fox dances.")
    desk.page.keyboard.press("Escape")
    expect(desk.shots).to_have_count(1)
    assert encoded == []


def test_what_is_said_or_deleted_at_once_is_no_draft(desk: Any, wire: Wire) -> None:
    desk.begin(CAPTION)
    desk.page.get_by_label("Length").fill("1")
    type_and = """([value, then]) => {
      const field = document.querySelector("#prompt");
      field.value = value;
      field.dispatchEvent(new Event("input"));
      if (then === "Enter") field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
      else { field.value = then; field.dispatchEvent(new Event("input")); }
    }"""
    desk.page.evaluate(type_and, ["The fox sits.", ""])
    desk.page.evaluate(type_and, ["The fox waves.", "Enter"])
    expect(desk.shots).to_have_count(1)
    desk.page.wait_for_timeout(400)
    assert wire.drafts == []


def test_a_suggestion_is_read_as_it_is_chosen(desk: Any, wire: Wire, encoded: list[str]) -> None:
    desk.page.route("**/api/stories/*/suggestions", lambda route: route.fulfill(json={"shots": ["The fox waves."]}))
    desk.begin(CAPTION).page.locator(".chip").first.click()
    text = desk.prompt.input_value()
    wait_for(desk, encoded, f"{CAPTION}shot0:{text}")
    until(desk, lambda: wire.drafts == [text])
