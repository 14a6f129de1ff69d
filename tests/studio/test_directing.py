"""A story is begun and directed in the browser, by the keys."""

import re
from typing import Any

from playwright.sync_api import expect

LONG = 60
"""Chunks of a shot that is still being made when the test goes on."""
RECORD_PICTURES = """
const note = Storage.prototype.setItem;
window.pictures = {};
Storage.prototype.setItem = function (key, value) {
  if (key.startsWith("shotstream-seen-")) window.pictures[value] = document.querySelector("canvas.picture").toDataURL();
  return note.call(this, key, value);
};
"""
"""Records the picture of every frame that the page shows, by its place."""
COVERED = """() => {
  const message = document.querySelector(".says").getBoundingClientRect();
  if (!message.height) return ["no message"];
  const bottom = (one) => document.querySelector(one).getBoundingClientRect().bottom;
  return [".frame", ".prompt .line"].filter((one) => bottom(one) > message.top);
}"""
"""The parts of the page that its message lies over."""


def response_s(desk: Any) -> float:
    """Return the seconds from the last instruction to its first picture, as the page's details have it."""
    desk.page.get_by_role("button", name="Details").click()
    details = desk.page.get_by_role("dialog", name="Details")
    value = details.locator("div", has_text="Response").locator("dd > span")
    expect(value).to_have_text(re.compile(r"^\d+\.\d\d s$"))
    seconds = float(value.inner_text().removesuffix(" s"))
    desk.page.get_by_role("button", name="Close", exact=True).click()
    return seconds


def test_an_example_begins_with_one_click_and_its_shots_are_queued(desk: Any) -> None:
    desk.come().page.get_by_role("button", name="The fox and the owl").click()
    expect(desk.page.get_by_role("heading", level=1)).to_have_text("A red fox and a blue owl in a forest by day.")
    expect(desk.page.locator(".shot.queued")).to_have_count(3)
    expect(desk.shots).to_have_count(1)
    expect(desk.making).to_contain_text("the fox walks right")
    desk.until("window.shown.length >= 2")
    assert desk.frames()[:2] == [(0, 0, 0), (0, 0, 1)]


def test_an_example_that_is_left_at_once_is_one_story_and_keeps_its_shots(desk: Any) -> None:
    def night() -> list[Any]:
        return [one for one in desk.server.get("/api/stories") if one["global_caption"].startswith("A purple rabbit")]

    desk.expected = ("favicon",)
    desk.come()
    with desk.page.expect_response("**/api/stories"):
        desk.page.get_by_role("button", name="Night in the city").dblclick()
    desk.page.goto(desk.server.url + "/web/icon.svg")
    (story,) = night()
    assert story["unfinished"]
    desk.come(f"/#{story['id']}")
    expect(desk.page.locator(".shot")).to_have_count(4)
    desk.page.keyboard.press("Escape")
    expect(desk.making).to_have_count(0)


def test_enter_makes_the_next_shot_in_place_of_what_is_made_and_queued(desk: Any) -> None:
    desk.begin().say("The fox walks left.", chunks=LONG)
    expect(desk.making).to_contain_text("The fox walks left.")
    expect(desk.prompt).to_have_value("")
    desk.say("The fox sleeps.", "Shift+Enter")
    expect(desk.page.locator(".shot.queued")).to_contain_text("The fox sleeps.")
    desk.say("The fox jumps.", chunks=1)
    expect(desk.shots.last).to_contain_text("The fox jumps.")
    expect(desk.page.locator(".shot.queued")).to_have_count(0)
    first, second = desk.tree()["takes"]
    assert (first["chunks"] < LONG, second["text"], second["chunks"]) == (True, "The fox jumps.", 1)
    assert 0 < response_s(desk) < desk.patience_ms / 1000


def test_ctrl_enter_steers_the_shot_in_the_making(desk: Any) -> None:
    desk.begin().say("The fox walks left.", chunks=LONG)
    expect(desk.making).to_contain_text("The fox walks left.")
    desk.say("The fox dances.", "Control+Enter")
    expect(desk.making).to_contain_text("The fox dances.")
    assert 0 < response_s(desk) < desk.patience_ms / 1000
    desk.page.keyboard.press("Escape")
    expect(desk.shots).to_have_count(1)
    assert len(desk.tree()["takes"]) == 1


def test_a_steer_is_seen_from_the_first_chunk_on_that_was_not_shown(desk: Any) -> None:
    """The same shot with and without a steer: the pictures are the same up to the steer, and all others differ."""
    desk.page.add_init_script(RECORD_PICTURES)

    def told(steer_after: int | None = None) -> tuple[list[str], int]:
        """Return the pictures of the shot, and how many had been shown when it was steered."""
        desk.come().begin().page.get_by_label("Seed").fill("41")
        desk.say("The fox walks left.", chunks=5)
        shown = 0
        if steer_after is not None:
            desk.prompt.fill("The fox dances.")
            desk.until(f"window.shown.length >= {steer_after}")
            shown = len(desk.frames())
            desk.prompt.press("Control+Enter")
        desk.until("window.shown.length >= 57")
        return desk.page.evaluate("Array.from({length: 57}, (_, frame) => window.pictures[`0.0.${frame}`])"), shown

    (twin, _), (steered, shown) = told(), told(steer_after=12)
    (steer,) = desk.tree()["takes"][0]["steers"]
    start = 12 * steer["at"] - 3
    assert shown <= start
    assert steered[:start] == twin[:start]
    assert not [frame for frame in range(start, 57) if steered[frame] == twin[frame]]


def test_escape_cuts_the_shot_in_the_making(desk: Any) -> None:
    desk.begin().say("The fox walks left.", chunks=LONG)
    expect(desk.page.get_by_role("progressbar")).not_to_have_attribute("aria-valuenow", "0")
    desk.page.keyboard.press("Escape")
    expect(desk.making).to_have_count(0)
    expect(desk.shots).to_have_count(1)
    (take,) = desk.tree()["takes"]
    assert take["chunks"] < LONG


def test_a_seed_and_a_length_beyond_seven_chunks_are_the_shots_own(desk: Any) -> None:
    desk.begin()
    desk.page.get_by_label("Seed").fill("41")
    desk.say("The fox walks left.", chunks=8)
    expect(desk.making).to_contain_text("5.8 s")
    desk.page.keyboard.press("Escape")
    expect(desk.shots).to_have_count(1)
    assert desk.tree()["takes"][0]["seed"] == 41


def test_what_the_server_refuses_is_said_and_the_words_come_back(desk: Any) -> None:
    desk.begin()
    desk.page.evaluate("document.querySelector('#prompt').maxLength = 3000")
    desk.say("The fox dances. " * 130)
    expect(desk.status).to_have_text("This text has 2079 characters. Shorten it to 2000.")
    expect(desk.prompt).to_have_value(("The fox dances. " * 130).strip())
    desk.page.get_by_label("Seed").fill("seven")
    desk.say("The fox dances.")
    expect(desk.status).to_contain_text("A seed is a whole number")


def test_a_message_covers_neither_the_picture_nor_the_prompt_line(desk: Any) -> None:
    desk.begin().make("The fox waves.")
    desk.page.get_by_label("Seed").fill("seven")
    for width, height in ((1280, 800), (390, 844), (844, 390)):
        desk.page.set_viewport_size({"width": width, "height": height})
        desk.say("The fox dances.")
        desk.until_none(COVERED, (width, height))


def test_a_steer_after_the_end_of_a_shot_is_the_next_shot(desk: Any) -> None:
    desk.begin().make("The fox waves.")
    desk.say("The fox dances.", "Control+Enter", chunks=1)
    expect(desk.shots).to_have_count(2)
    expect(desk.shots.last).to_contain_text("The fox dances.")
    expect(desk.status).to_have_text("The shot was shown to its last part, so this becomes the next shot.")
    expect(desk.prompt).to_have_value("")


def test_a_suggestion_fills_the_prompt_line(new_desk: Any, world_server: Any) -> None:
    desk = new_desk(world_server).begin()
    chip = desk.page.locator(".chip").first
    text = chip.inner_text()
    chip.click()
    expect(desk.prompt).to_have_value(text)
    expect(desk.prompt).to_be_focused()
