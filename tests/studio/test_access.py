"""The page without a mouse, on a phone, for screen readers, and for those who want no motion."""

import time
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

PHONE, PHONE_ON_ITS_SIDE = (390, 844), (844, 390)
SERIOUS = ("serious", "critical")
AXE_OPTIONS = {"resultTypes": ["violations"], "rules": {"label-content-name-mismatch": {"enabled": True}}}
SMALL_TARGETS = """() => [...document.querySelectorAll("button, select, textarea, a, summary, input")]
  .filter((one) => one.checkVisibility() && !one.closest("[hidden]"))
  .map((one) => [one.getAttribute("aria-label") ?? one.textContent, one.getBoundingClientRect()])
  .filter(([, box]) => Math.min(box.width, box.height) < 43.5)
  .map(([name, box]) => `${name}: ${box.width} x ${box.height}`)"""
IN_VIEW = """(selector) => {
  const box = document.querySelector(selector).getBoundingClientRect();
  return box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth && box.height > 150;
}"""
CUT_OFF = """() => [...document.querySelectorAll("dialog[open], dialog[open] *")]
  .filter((one) => one.checkVisibility() && !one.closest(".segments, .map, option"))
  .filter((one) => { const box = one.getBoundingClientRect(); return box.left < -1 || box.right > innerWidth + 1; })
  .map((one) => one.outerHTML.slice(0, 90))"""
"""What of an open dialog stands beyond the sides of the screen."""
FOCUSED = """() => {
  const one = document.activeElement;
  const style = getComputedStyle(one.matches("textarea") ? one.parentElement : one);
  const name = one.getAttribute("aria-label") ?? one.labels?.[0]?.textContent ??
    [...one.childNodes].filter((node) => node.nodeName !== "KBD").map((node) => node.textContent).join("");
  const marked = style.outlineStyle !== "none" || style.borderColor === "rgb(244, 189, 108)";
  return { name, marked };
}"""
CONTRAST = """() => {
  const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const rgba = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return [...n.slice(0, 3), n[3] ?? 1]; };
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0.8) return colour;
    }
    return [13, 12, 11];
  };
  const texts = [...document.querySelectorAll("#app *")].filter((one) => one.checkVisibility() &&
    [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
  return texts.map((one) => {
    const [a, b] = [light(rgba(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), one.textContent];
  }).filter(([ratio]) => ratio < 4.5);
}"""


def test_every_control_is_reached_by_the_tab_key_and_seen_when_it_is(desk: Any) -> None:
    desk.begin().make("The fox waves.", "The fox jumps.")
    desk.until_shown(1, 0, 8)
    reached = []
    for _ in range(36):
        desk.page.keyboard.press("Tab")
        reached.append(desk.page.evaluate(FOCUSED))
    names = [one["name"].strip() for one in reached]
    order = ["Stories", "Add to the cast", "Plan", "Undo", "Play all", "Export", "Replay shot 1, 0.6 s: The fox waves."]
    order += ["Try again: shot 1", "More: shot 1", "Try again: shot 2", "What happens next?", "Next shot"]
    order += ["Steer", "Queue", "Length", "Seed"]
    places = [names.index(name) for name in order]
    start = places.index(min(places))
    assert places[start:] + places[:start] == sorted(places)
    assert [one["name"] for one in reached if not one["marked"] and one["name"].strip() in order] == []


def test_a_story_is_begun_and_left_without_a_mouse(desk: Any) -> None:
    desk.come()
    expect(desk.page.get_by_label("Who is it about, and where?")).to_be_focused()
    desk.page.keyboard.type("A red fox in a city at night.")
    desk.page.keyboard.press("Enter")
    expect(desk.prompt).to_be_focused()
    desk.page.get_by_role("button", name="Stories").focus()
    desk.page.keyboard.press("Enter")
    expect(desk.page.get_by_label("Who is it about, and where?")).to_be_focused()


def test_escape_closes_a_dialog_and_cuts_nothing(desk: Any) -> None:
    desk.begin().make("The fox waves.").say("The fox walks left.", chunks=60)
    expect(desk.making).to_have_count(1)
    opener = desk.page.get_by_role("button", name="Export")
    opener.press("Enter")
    expect(desk.page.get_by_role("dialog", name="Export")).to_be_visible()
    desk.page.keyboard.press("Escape")
    expect(desk.page.get_by_role("dialog")).to_have_count(0)
    expect(opener).to_be_focused()
    expect(desk.making).to_have_count(1)
    desk.page.keyboard.press("Escape")
    expect(desk.making).to_have_count(0)


def check_targets(desk: Any) -> None:
    """Check that nothing is too small for a finger and no dialog is cut off, whichever way the phone is held."""
    for width, height in (PHONE_ON_ITS_SIDE, PHONE):
        desk.page.set_viewport_size({"width": width, "height": height})
        desk.until_none(SMALL_TARGETS, (width, height))
        desk.until_none(CUT_OFF, (width, height))


def test_every_target_on_a_phone_is_as_large_as_a_finger(new_desk: Any) -> None:
    desk = new_desk(size=PHONE, has_touch=True, is_mobile=True)
    desk.come()
    expect(desk.page.get_by_role("button", name="The fox and the owl")).to_be_visible()
    check_targets(desk)
    desk.begin("A red fox and a blue owl in a forest by day, a long way from home.").make("The fox waves.")
    desk.page.get_by_role("button", name="Replay shot 1").click()
    desk.page.get_by_role("button", name="More: this shot").click()
    check_targets(desk)
    desk.page.get_by_role("dialog").get_by_role("button", name="Try again").first.click()
    expect(desk.page.locator("[data-take='0.1']")).to_have_count(1)
    check_targets(desk)
    for opener in ("Plan", "Play all", "Branches", "Export", "Memory", "Details"):
        desk.page.get_by_role("button", name=opener, exact=True).click()
        expect(desk.page.get_by_role("dialog")).to_be_visible()
        if opener == "Plan":
            desk.page.get_by_label("Write shots").fill("The fox jumps.")
            desk.page.get_by_role("button", name="Add to the plan").click()
            expect(desk.page.locator(".card")).to_have_count(1)
        check_targets(desk)
        desk.page.get_by_role("button", name="Close", exact=True).click()


def test_a_phone_shows_the_whole_picture_and_the_prompt_line_and_never_scrolls_sideways(new_desk: Any) -> None:
    desk = new_desk(size=PHONE, has_touch=True, is_mobile=True)
    desk.come()
    expect(desk.page.get_by_role("button", name="The fox and the owl")).to_be_visible()
    assert not desk.scrolls_sideways()
    desk.begin().make("The fox waves.", "The fox jumps.", "The fox sleeps.")
    for width, height in (PHONE, PHONE_ON_ITS_SIDE):
        desk.page.set_viewport_size({"width": width, "height": height})
        desk.until(f"({IN_VIEW})('.frame')")
        expect(desk.prompt).to_be_in_viewport(ratio=1)
        assert not desk.scrolls_sideways()


def findings(desk: Any) -> list[str]:
    """What axe-core finds wrong with the page as it stands, serious or worse."""
    found = Axe().run(desk.page, options=AXE_OPTIONS).response["violations"]
    return [f"{one['id']}: {node['html']}" for one in found if one["impact"] in SERIOUS for node in one["nodes"]]


def test_axe_finds_nothing_serious(new_desk: Any) -> None:
    desk = new_desk(reduced_motion="reduce")
    desk.come()
    expect(desk.page.get_by_role("button", name="The fox and the owl")).to_be_visible()
    assert findings(desk) == []
    desk.begin().make("The fox waves.").choose(1, "Try again")
    expect(desk.page.get_by_role("combobox", name="Take of shot 1")).to_have_value("1")
    desk.say("The fox walks left.", chunks=60)
    desk.say("The fox jumps.", "Shift+Enter")
    expect(desk.page.locator(".shot.queued")).to_have_count(1)
    assert findings(desk) == []
    for opener in ("More: shot 1", "Play all", "Export", "Plan", "Branches", "Memory", "Details"):
        desk.page.get_by_role("button", name=opener, exact=True).click()
        expect(desk.page.get_by_role("dialog")).to_be_visible()
        assert findings(desk) == [], opener
        desk.page.keyboard.press("Escape")
    desk.page.keyboard.press("Escape")


def test_text_stands_out(desk: Any) -> None:
    desk.come()
    expect(desk.page.get_by_role("button", name="The fox and the owl")).to_be_visible()
    desk.until_none(CONTRAST)
    desk.begin().make("The fox waves.").say("The fox walks left.", chunks=60)
    expect(desk.making).to_have_count(1)
    desk.until_none(f"({CONTRAST})().filter(([, text]) => !['Ctrl', 'Enter', 'Esc'].includes(text))")
    desk.page.keyboard.press("Escape")


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_motion_is_left_out_for_those_who_want_none(new_desk: Any, motion: str) -> None:
    desk = new_desk(reduced_motion=motion)
    desk.begin().say("The fox walks left.", chunks=60)
    name = "getComputedStyle(document.querySelector('.progress i:not(.done)')).animationName"
    desk.until("document.querySelector('.progress i:not(.done)') !== null")
    assert (desk.page.evaluate(name) == "none") == (motion == "reduce")
    desk.page.keyboard.press("Escape")


def press(desk: Any, name: str, key: str = "Enter") -> None:
    """Press Tab until the focus is on the control of that name, which may still be on its way, then the key."""
    until_s = time.monotonic() + desk.patience_ms / 1000
    while desk.page.evaluate(FOCUSED)["name"].strip() != name:
        assert time.monotonic() < until_s, f"the Tab key does not lead to {name}"
        desk.page.keyboard.press("Tab")
    desk.page.keyboard.press(key)


def test_a_story_is_planned_told_played_renamed_and_exported_by_the_keys_alone(desk: Any) -> None:
    keys = desk.page.keyboard
    desk.begin()
    press(desk, "Plan")
    keys.type("The fox waves.")
    press(desk, "Add to the plan")
    expect(desk.page.locator(".card")).to_have_count(1)
    press(desk, "Length of shot 1, in parts", "1")
    press(desk, "Tell all")
    expect(desk.shots).to_have_count(1)
    press(desk, "Play all")
    expect(desk.page.get_by_role("slider", name="Position in the story")).to_be_visible()
    keys.press("Escape")
    expect(desk.page.get_by_role("button", name="Play all")).to_be_focused()
    press(desk, "A red fox in a forest by day.")
    keys.type("By the keys")
    keys.press("Enter")
    expect(desk.page.get_by_role("heading", level=1)).to_have_text("By the keys")
    press(desk, "Export")
    expect(desk.page.get_by_role("dialog", name="Export")).to_be_visible()
    with desk.page.expect_download() as download:
        press(desk, ".yamlScriptthe captions and the cast; tells the story again")
    assert download.value.suggested_filename.endswith(".yaml")


def test_takes_are_tried_again_compared_and_chosen_by_the_keys_alone(desk: Any) -> None:
    desk.begin().make("The fox waves.")
    press(desk, "Try again: shot 1")
    expect(desk.page.get_by_role("combobox", name="Take of shot 1")).to_have_value("1")
    expect(desk.prompt).to_be_focused()  # the card that had the focus is gone
    press(desk, "Branches")
    for take, on in (("1", ""), ("2", ", on the current branch")):
        press(desk, f"Shot 1, take {take}{on}: The fox waves.", "Space")
    press(desk, "Compare the two")
    press(desk, "Go to this take: Shot 1, take 1")
    expect(desk.page.locator("[data-take='0.0']")).to_have_count(1)
    desk.prompt.press("Control+z")
    expect(desk.page.locator("[data-take='0.1']")).to_have_count(1)
    assert desk.tree()["current"] == [1]
