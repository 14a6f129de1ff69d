"""The whole story is played over the whole window, from any shot, with a timeline to scrub over."""

from typing import Any

import pytest
from playwright.sync_api import Locator, expect

FRONT = "document.querySelector('.reel .front')"
PIXELS = f"""() => {{
  const video = {FRONT}, canvas = document.createElement("canvas");
  Object.assign(canvas, {{ width: video.videoWidth, height: video.videoHeight }});
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
}}"""

RECORD_SUBTITLES = """() => {
  window.subtitles = [];
  const note = () => {
    const text = document.querySelector(".subtitle")?.textContent;
    if (text && text !== window.subtitles.at(-1)) window.subtitles.push(text);
  };
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""
"""Writes down every subtitle, however short it stands there."""


@pytest.fixture
def told(desk: Any) -> Any:
    """A story of three shots, of 0.6 s each."""
    return desk.begin().make("The fox waves.", "The fox jumps.", "The fox sleeps.")


def slider(desk: Any) -> Locator:
    return desk.page.get_by_role("slider", name="Position in the story")


def subtitle(desk: Any) -> Locator:
    return desk.page.locator(".subtitle")


def test_the_story_plays_to_its_end_from_any_shot(told: Any) -> None:
    told.page.evaluate(RECORD_SUBTITLES)
    told.choose(2, "Play from here")
    expect(told.page.get_by_role("dialog", name="A red fox in a forest by day.")).to_be_visible()
    told.until("window.subtitles.slice(-2).join() === 'Shot 2 The fox jumps.,Shot 3 The fox sleeps.'")
    expect(told.page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    expect(told.page.locator(".clock")).to_have_text("0:01.7 / 0:01.7")
    told.page.keyboard.press("Escape")
    expect(told.page.get_by_role("dialog")).to_have_count(0)


def test_scrubbing_shows_the_frame_of_that_time(told: Any) -> None:
    told.page.get_by_role("button", name="Play all").click()
    told.page.keyboard.press("Space")
    expect(told.page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    box = slider(told).bounding_box()
    seen = []
    for shot in (0, 1, 2):
        told.page.mouse.click(box["x"] + box["width"] * (shot + 0.5) / 3, box["y"] + box["height"] / 2)
        expect(subtitle(told)).to_contain_text(f"Shot {shot + 1}")
        told.until(f"{FRONT}.readyState >= 2 && Math.abs({FRONT}.currentTime - 0.28) < 0.06 && !{FRONT}.seeking")
        seen.append(told.page.evaluate(PIXELS))
    assert seen[0] != seen[1] != seen[2]
    expect(slider(told)).to_have_attribute("aria-valuetext", "Shot 3, 0:01.4 of 0:01.7")


def test_keys_do_all_of_it(told: Any) -> None:
    told.page.get_by_role("button", name="Play all").press("Enter")
    told.page.keyboard.press("l")
    expect(told.page.get_by_role("button", name="Loop")).to_have_attribute("aria-pressed", "true")
    expect(subtitle(told)).to_contain_text("Shot 3")
    expect(subtitle(told)).to_contain_text("Shot 1")
    told.page.keyboard.press("Space")
    told.page.keyboard.press("End")
    expect(subtitle(told)).to_contain_text("Shot 3")
    told.page.keyboard.press("Shift+ArrowLeft")
    expect(subtitle(told)).to_contain_text("Shot 2")
    told.page.keyboard.press("Home")
    expect(told.page.locator(".clock")).to_contain_text("0:00.0")
    told.page.keyboard.press("ArrowRight")
    expect(told.page.locator(".clock")).to_contain_text("0:01.0")
    told.page.keyboard.press("f")
    told.until("document.fullscreenElement !== null")
    told.page.keyboard.press("f")
    told.until("document.fullscreenElement === null")
    told.page.keyboard.press("Escape")
    expect(told.page.get_by_role("button", name="Play all")).to_be_focused()


def test_a_shot_that_is_finished_meanwhile_is_played_too(told: Any) -> None:
    told.page.get_by_role("button", name="Play all").click()
    told.page.keyboard.press("Space")
    told.page.evaluate(
        """(story) => fetch(`/api/stories/${story}/commands`, { method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ type: "shot", text: "The fox eats.", chunks: 1 }) })""",
        told.story,
    )
    expect(told.shots).to_have_count(4)
    told.page.keyboard.press("Shift+ArrowRight")
    told.page.keyboard.press("End")
    expect(subtitle(told)).to_have_text("Shot 4 The fox eats.")


TIMELINE = """async (call) => {
  const { segmentsOf, indexAt, clock } = await import("/web/timeline.js");
  const segments = segmentsOf([9, 33, 21].map((frames, shot) => ({ shot, take: 0, frames })), 16);
  return { segments, indexAt: (time) => indexAt(segments, time), clock }[call[0]](...call.slice(1));
}"""


@pytest.mark.parametrize(("time", "index"), [(-1, 0), (0, 0), (0.5, 0), (9 / 16, 1), (2.6, 1), (42 / 16, 2), (99, 2)])
def test_a_time_belongs_to_one_shot(desk: Any, time: float, index: int) -> None:
    assert desk.come().page.evaluate(TIMELINE, ["indexAt", time]) == index


@pytest.mark.parametrize(("time", "text"), [(0, "0:00.0"), (9.96, "0:10.0"), (59.99, "1:00.0"), (754.32, "12:34.3")])
def test_a_time_is_read_as_minutes_and_seconds(desk: Any, time: float, text: str) -> None:
    assert desk.come().page.evaluate(TIMELINE, ["clock", time]) == text
