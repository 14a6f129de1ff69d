"""Takes: replayed, tried again, gone back to, chosen among."""

from typing import Any

from playwright.sync_api import expect


def test_a_shot_is_tried_again_with_another_seed_and_branches_are_chosen(desk: Any) -> None:
    desk.begin().make("The fox waves.", "The fox jumps.")
    desk.page.get_by_role("button", name="Try again: shot 1").click()
    takes = desk.page.get_by_role("combobox", name="Take of shot 1")
    expect(takes).to_have_value("1")
    first, _, again = desk.tree()["takes"]
    assert (again["text"], again["chunks"], again["shot"]) == (first["text"], first["chunks"], 0)
    assert again["seed"] != first["seed"]
    takes.select_option("Take 1 of 2")
    desk.page.get_by_role("button", name="Go to: take of shot 1").click()
    expect(desk.shots).to_have_count(2)
    assert desk.tree()["current"] == [0, 0]


def test_arrow_keys_look_through_takes_and_enter_chooses_one(desk: Any) -> None:
    desk.begin().make("The fox waves.")
    desk.page.get_by_role("button", name="Try again: shot 1").click()
    takes = desk.page.get_by_role("combobox", name="Take of shot 1")
    expect(takes).to_have_value("1")
    takes.focus()
    takes.press("ArrowUp")
    expect(takes).to_have_value("0")
    expect(takes).to_be_focused()
    desk.page.wait_for_timeout(300)
    assert desk.tree()["current"] == [1]
    takes.press("Enter")
    desk.until("document.querySelector('.shot select').value === '0'")
    expect(desk.page.locator("[data-take='0.0']")).to_have_count(1)
    expect(takes).to_be_focused()
    assert desk.tree()["current"] == [0]


def test_the_story_goes_back_to_a_shot_and_on_again(desk: Any) -> None:
    desk.begin().make("The fox waves.", "The fox jumps.")
    desk.choose(1, "Back to here")
    expect(desk.shots).to_have_count(1)
    desk.page.get_by_role("combobox", name="Take that was made before").select_option("Take 1 of 1")
    desk.page.get_by_role("button", name="Go to: take that was made before").click()
    expect(desk.shots).to_have_count(2)
    desk.choose(1, "Back to here")
    expect(desk.shots).to_have_count(1)
    desk.make("The fox sleeps.")
    assert desk.tree()["current"] == [0, 1]


def test_a_shot_is_replayed_and_escape_leads_back_to_live(desk: Any) -> None:
    desk.begin().make("The fox waves.")
    desk.page.get_by_role("button", name="Replay shot 1").click()
    desk.until("document.querySelector('.replay video')?.currentTime > 0")
    assert round(desk.page.evaluate("document.querySelector('.replay video').duration") * 16) == 9
    expect(desk.page.get_by_role("button", name="Back to live")).to_be_visible()
    desk.page.keyboard.press("Escape")
    expect(desk.page.locator(".replay video")).to_have_count(0)
    expect(desk.prompt).to_be_focused()


def test_the_label_names_the_shot_of_the_picture_wherever_the_story_goes(desk: Any) -> None:
    desk.begin().make("The fox waves.", "The fox jumps.")
    label, picture = desk.page.locator(".now"), "document.querySelector('canvas.picture').toDataURL()"
    desk.until_shown(1, 0, 8)
    expect(label).to_have_text("Shot 2 The fox jumps.")
    end_of_second = desk.page.evaluate(picture)
    desk.choose(1, "Back to here")
    expect(label).to_have_text("Shot 1 The fox waves.")
    desk.until(f"{picture} !== '{end_of_second}'")
    desk.page.get_by_role("combobox", name="Take that was made before").select_option("Take 1 of 1")
    desk.page.get_by_role("button", name="Go to: take that was made before").click()
    expect(label).to_have_text("Shot 2 The fox jumps.")
    desk.until(f"{picture} === '{end_of_second}'")


def test_the_seed_of_a_take_is_shown_and_copied(desk: Any) -> None:
    desk.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    desk.begin().page.get_by_label("Seed").fill("41")
    desk.make("The fox waves.")
    desk.page.get_by_role("button", name="More: shot 1").click()
    dialog = desk.page.get_by_role("dialog", name="Shot 1")
    expect(dialog.get_by_role("definition").filter(has_text="41")).to_be_visible()
    dialog.get_by_role("button", name="Copy seed").click()
    expect(dialog.get_by_role("button", name="Copied")).to_be_visible()
    assert desk.page.evaluate("navigator.clipboard.readText()") == "41"


def test_every_shot_has_a_thumbnail(desk: Any) -> None:
    desk.begin().make("The fox waves.")
    desk.until("document.querySelector('.shot img')?.naturalWidth === 128")
