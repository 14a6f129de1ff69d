"""Plan, then direct: scripts as cards that are edited, moved, copied and removed, told at once, and undone."""

import json
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

SCRIPT = """
global: A red fox in a forest by day.
shots:
  - text: The fox waves.
    chunks: 1
    seed: 5
  - text: The fox jumps.
    chunks: 2
    steer:
      - {at: 1, text: The fox sleeps.}
"""


def plan(desk: Any, text: str) -> Locator:
    """Opens the plan and adds a script to it."""
    desk.page.get_by_role("button", name="Plan", exact=True).click()
    dialog = desk.page.get_by_role("dialog", name="Plan")
    dialog.get_by_label("Write shots").fill(text)
    dialog.get_by_role("button", name="Add to the plan").click()
    expect(dialog.get_by_label("Write shots")).to_have_value("")
    return dialog


def expect_captions(desk: Any, dialog: Locator, *wanted: str) -> None:
    desk.until(f"document.querySelectorAll('.card').length === {len(wanted)}")
    for at, text in enumerate(wanted):
        expect(dialog.locator(".card textarea").nth(at)).to_have_value(text)


def queue(desk: Any) -> list[str]:
    """The captions on the filmstrip's cards of shots that wait."""
    return desk.page.locator(".shot.queued .caption").all_inner_texts()


def test_a_plan_is_edited_as_cards_told_and_made_in_its_order(desk: Any) -> None:
    dialog = plan(desk.begin(), "1. The fox waves.\n\n- The fox jumps.\nShot 3: The fox sleeps.")
    expect_captions(desk, dialog, "The fox waves.", "The fox jumps.", "The fox sleeps.")
    expect(dialog.get_by_role("status").last).to_have_text("3 shots, 6.2 s, planned.")
    dialog.get_by_role("button", name="Up: shot 3").click()
    expect_captions(desk, dialog, "The fox waves.", "The fox sleeps.", "The fox jumps.")
    dialog.get_by_role("button", name="Duplicate: shot 1").click()
    expect_captions(desk, dialog, "The fox waves.", "The fox waves.", "The fox sleeps.", "The fox jumps.")
    dialog.get_by_role("button", name="Remove: shot 4").click()
    expect_captions(desk, dialog, "The fox waves.", "The fox waves.", "The fox sleeps.")
    for shot, seconds in ((1, "4.7"), (2, "3.2"), (3, "1.7")):
        dialog.get_by_label(f"Length of shot {shot}").fill("1")
        dialog.get_by_label(f"Length of shot {shot}").press("Tab")
        expect(dialog.get_by_role("status").last).to_have_text(f"3 shots, {seconds} s, planned.")
    dialog.get_by_label("Caption of shot 2").fill("The fox eats.")
    dialog.get_by_label("Caption of shot 2").press("Enter")
    expect(dialog.get_by_role("status").last).to_have_text("3 shots, 1.7 s, planned.")
    assert desk.tree()["takes"] == [], "nothing is made before it is told"
    dialog.get_by_role("button", name="Tell all").click()
    expect(desk.shots).to_have_count(3)
    made = [(take["text"], take["chunks"]) for take in desk.tree()["takes"]]
    assert made == [("The fox waves.", 1), ("The fox eats.", 1), ("The fox sleeps.", 1)]
    desk.until_shown(2, 0, 8)


def test_what_is_being_written_on_a_card_is_kept_when_another_card_changes(desk: Any) -> None:
    dialog = plan(desk.begin(), "The fox waves.\nThe fox jumps.")
    dialog.get_by_label("Length of shot 2").fill("2")
    edit = """async ([story, body]) => {
      const headers = { "Content-Type": "application/json" };
      return (await fetch(`api/stories/${story}/commands`, { method: "POST", body, headers })).status;
    }"""
    change = {"type": "edit", "queued": 0, "text": "The fox eats.", "chunks": 1}
    assert desk.page.evaluate(edit, [desk.story, json.dumps(change)]) == 200
    expect_captions(desk, dialog, "The fox eats.", "The fox jumps.")
    dialog.get_by_label("Length of shot 2").press("Tab")
    expect(dialog.get_by_role("status").last).to_have_text("2 shots, 1.9 s, planned.")
    dialog.get_by_label("Length of shot 2").fill("0")
    dialog.get_by_label("Length of shot 2").press("Tab")
    expect(dialog.get_by_label("Length of shot 2")).to_have_value("2")


def test_a_whole_script_is_pasted_with_seeds_lengths_and_steers(desk: Any) -> None:
    dialog = plan(desk.begin(), SCRIPT)
    card = dialog.locator(".card").last
    expect(card).to_contain_text("From 0.6 s on")
    expect(card.get_by_label("Steer 1 of shot 2")).to_have_value("The fox sleeps.")
    dialog.get_by_role("button", name="Tell all").click()
    expect(desk.shots).to_have_count(2)
    first, second = desk.tree()["takes"]
    assert (first["seed"], first["chunks"], second["steers"]) == (5, 1, [{"at": 1, "text": "The fox sleeps."}])


def test_a_planned_shots_steers_are_removed_on_its_card_to_the_last_one(desk: Any) -> None:
    dialog = plan(desk.begin(), SCRIPT)
    steer = dialog.get_by_label("Steer 1 of shot 2")
    dialog.get_by_role("button", name="Remove the steer from 0.6 s on: shot 2").click()
    expect(steer).to_have_count(0)
    dialog.get_by_role("button", name="Undo").click()
    expect(steer).to_have_value("The fox sleeps.")
    steer.fill("")
    steer.press("Enter")
    expect(steer).to_have_count(0)
    dialog.get_by_role("button", name="Tell all").click()
    expect(desk.shots).to_have_count(2)
    assert [take["steers"] for take in desk.tree()["takes"]] == [[], []]


def test_what_is_wrong_with_a_script_is_said_beside_it(desk: Any) -> None:
    desk.expected = ("422",)
    desk.begin().page.get_by_role("button", name="Plan", exact=True).click()
    dialog = desk.page.get_by_role("dialog", name="Plan")
    field = dialog.get_by_label("Write shots")
    field.fill("global: A fox.\nshots:\n  - txt: It waves.\n")
    dialog.get_by_role("button", name="Add to the plan").click()
    expect(dialog.get_by_role("status").first).to_contain_text("line 3")
    expect(field).to_have_value("global: A fox.\nshots:\n  - txt: It waves.\n")
    for text, said in (
        ("global: A fox.\nshots:\n- Wide shot: it waves.\n", "The colon makes 'Wide shot' a key"),
        ("global: A fox.\nshots:\n- {text: It waves., chunks: 9}\n", "This needs a shot of 1 to 7 chunks. It was 9."),
        ("-", "Write at least one line for a shot."),
    ):
        field.fill(text)
        dialog.get_by_role("button", name="Add to the plan").click()
        expect(dialog.get_by_role("status").first).to_contain_text(said, ignore_case=True)
    field.fill("A blue owl. | The owl waves.")
    dialog.get_by_role("button", name="Add to the plan").click()
    expect(dialog.get_by_role("status").first).to_contain_text('this story has "A red fox in a forest by day."')


def test_what_a_story_that_has_begun_does_not_take_over_of_a_script_is_said(desk: Any) -> None:
    head = "global: A red fox in a forest by day.\nguidance: 4\nnegative_prompt: An owl.\nseed: 7\n"
    cast = "cast:\n- {image: fox.png, caption: a red fox}\n"
    dialog = plan(desk.begin(), f"{head}{cast}shots:\n- {{text: The fox waves., cast: [0]}}\n")
    seed = desk.server.get(f"/api/stories/{desk.story}")["seed"]
    line = "The script's {} is not used: this story has {}, which holds from its first shot on. "
    line += "Begin a new story for the script's."
    settings = ("seed", seed), ("guidance", 2), ("negative prompt", "none")
    cast = "The pictures of the script's cast are not read. Add them to the cast of the story."
    said = ["Its shots are planned.", *(line.format(*setting) for setting in settings), cast]
    expect(dialog.get_by_role("status").first).to_have_text(" ".join(said))
    expect_captions(desk, dialog, "The fox waves.")


def test_every_change_of_a_card_is_undone_one_by_one(desk: Any) -> None:
    dialog = plan(desk.begin(), "The fox waves.")
    dialog.get_by_label("Caption of shot 1").fill("The fox eats.")
    dialog.get_by_label("Caption of shot 1").press("Enter")
    desk.until("document.querySelector('.card textarea').dataset.kept === 'The fox eats.'")
    dialog.get_by_role("button", name="Duplicate: shot 1").click()
    expect_captions(desk, dialog, "The fox eats.", "The fox eats.")
    desk.page.keyboard.press("Escape")
    for left in (["The fox eats."], ["The fox waves."], []):
        desk.prompt.press("Control+z")
        desk.until(f"document.querySelectorAll('.shot.queued').length === {len(left)}")
        for caption in left:
            expect(desk.page.locator(".shot.queued .caption")).to_have_text(caption)


def test_every_change_is_undone_with_the_keys(desk: Any) -> None:
    dialog = plan(desk.begin(), "The fox waves.\nThe fox jumps.")
    dialog.get_by_role("button", name="Remove: shot 1").press("Enter")
    expect_captions(desk, dialog, "The fox jumps.")
    expect(dialog.get_by_label("Caption of shot 1")).to_be_focused()
    desk.page.keyboard.press("Alt+ArrowUp")
    desk.page.keyboard.press("Control+z")
    expect_captions(desk, dialog, "The fox waves.", "The fox jumps.")
    dialog.get_by_label("Caption of shot 1").press("Alt+ArrowDown")
    expect_captions(desk, dialog, "The fox jumps.", "The fox waves.")
    expect(dialog.get_by_label("Caption of shot 2")).to_be_focused()
    desk.page.keyboard.press("Control+z")
    expect_captions(desk, dialog, "The fox waves.", "The fox jumps.")
    desk.page.keyboard.press("Escape")
    expect(desk.page.locator(".shot.queued")).to_have_count(2)
    desk.prompt.press("Control+z")
    expect(desk.page.locator(".shot.queued")).to_have_count(0)
    expect(desk.page.get_by_role("button", name="Undo")).to_be_disabled()


@pytest.mark.parametrize("change", ["Try again", "Back to here"])
def test_what_was_done_to_the_shots_is_undone_and_the_picture_goes_back(desk: Any, change: str) -> None:
    desk.begin().make("The fox waves.", "The fox jumps.")
    desk.until_shown(1, 0, 8)
    picture = "document.querySelector('canvas.picture').toDataURL()"
    before = desk.page.evaluate(picture)
    desk.choose(1, change)
    expect(desk.shots).to_have_count(1)
    desk.until(f"{picture} !== '{before}'")
    desk.page.get_by_role("button", name="Undo").click()
    expect(desk.shots).to_have_count(2)
    expect(desk.status).to_have_text(f"Undone: {change.lower()}.")
    desk.until(f"{picture} === '{before}'")
    assert desk.tree()["current"] == [0, 0]


def test_a_queued_card_is_edited_and_removed_from_the_filmstrip(desk: Any) -> None:
    plan(desk.begin(), "The fox waves.\nThe fox jumps.")
    desk.page.keyboard.press("Escape")
    desk.page.get_by_role("button", name="Edit: shot 2").click()
    caption = desk.page.get_by_label("Caption of shot 2")
    expect(caption).to_be_focused()
    caption.fill("The fox eats.")
    desk.page.keyboard.press("Escape")
    expect(desk.page.locator(".shot.queued").last).to_contain_text("The fox eats.")
    desk.page.get_by_role("button", name="Remove: shot 1").click()
    expect(desk.page.locator(".shot.queued")).to_have_count(1)
    assert queue(desk) == ["The fox eats."]
    expect(desk.page.locator(".waiting")).to_have_text("The shots are planned. Open the plan to tell them.")


def test_a_story_begins_with_a_script_and_opens_as_its_plan(desk: Any) -> None:
    desk.come().page.get_by_role("button", name="Or write or paste a whole script").click()
    field, go = (
        desk.page.get_by_role("dialog").get_by_role("textbox"),
        desk.page.get_by_role("button", name="Lay it out"),
    )
    field.fill("A blue owl in a city at night.")
    go.click()
    expect(desk.page.get_by_role("alert")).to_contain_text("at least one line for a shot")
    field.fill("A blue owl in a city at night.\n- The owl waves.\n- The owl sleeps.")
    go.click()
    expect(desk.page.get_by_role("heading", level=1)).to_have_text("A blue owl in a city at night.")
    expect_captions(desk, desk.page.get_by_role("dialog", name="Plan"), "The owl waves.", "The owl sleeps.")
    assert desk.tree()["takes"] == []
