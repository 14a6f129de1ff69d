"""Words that the model knows are chosen from a dialog; what of a text it will not follow is named while one writes."""

from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from shotstream.world.words import vocabulary


@pytest.fixture
def world(new_desk: Any, world_server: Any) -> Any:
    """Somebody who has begun a story with a model that learnt StoryWorld."""
    return new_desk(world_server).begin()


def opener(desk: Any) -> Locator:
    """The button that shows the words."""
    return desk.page.get_by_role("button", name="Words it knows")


def test_a_word_is_chosen_from_the_dialog_and_stands_where_the_caret_was(world: Any) -> None:
    world.prompt.fill("The fox.")
    world.prompt.press("ArrowLeft")
    opener(world).press("Enter")
    dialog = world.page.get_by_role("dialog", name="Words it knows")
    expect(dialog).to_be_visible()
    for trait, values in vocabulary().items():
        section = dialog.get_by_role("region", name=trait, exact=True)
        phrases = [phrase for said in values.values() for phrase in said]
        assert section.get_by_role("button").all_inner_texts() == phrases
    world.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener(world)).to_be_focused()
    expect(world.prompt).to_have_value("The fox.")
    opener(world).press("Enter")
    dialog.get_by_role("button", name="jumps", exact=True).press("Enter")
    expect(world.prompt).to_have_value("The fox jumps.")
    expect(world.prompt).to_be_focused()
    world.page.keyboard.type(" high")
    expect(world.prompt).to_have_value("The fox jumps high.")


def test_unknown_words_are_named_in_a_line_that_screen_readers_read(world: Any) -> None:
    line = world.page.locator(".prompt [role=status][aria-live=polite].unknown")
    expect(line).to_be_empty()
    world.prompt.press_sequentially("A <b>spaceship</b> and the purple fox dance, sway and beam.")
    expect(line).to_have_text("It does not know: b, spaceship, beam")
    world.prompt.fill("The purple fox dances.")
    expect(line).to_be_empty()
    world.prompt.fill("A spaceship.")
    expect(line).to_have_text("It does not know: spaceship")
    assert not world.scrolls_sideways()
    world.prompt.press("Enter")
    expect(line).to_be_empty()


def test_who_presses_the_key_at_once_is_told_all_the_same(world: Any) -> None:
    world.page.get_by_role("button", name="Stories").click()
    world.page.get_by_label("Who is it about, and where?").fill("A red robott.")
    world.page.keyboard.press("Enter")
    expect(world.status).to_have_text('The model does not know "robott" (near: "robot"). Use other words.')
    world.prompt.fill("A spaceship.")
    world.prompt.press("Enter")
    expect(world.status).to_have_text('The model does not know "spaceship". Use other words.')
    expect(world.page.locator(".prompt .unknown")).to_be_empty()


def test_an_unknown_word_is_replaced_by_the_nearest_known_one(world: Any) -> None:
    world.prompt.fill("Foxx and foxxy: the foxx sings.")
    line = world.page.locator(".prompt .unknown")
    expect(line).to_contain_text("It does not know: foxx, foxxy, sings")
    world.page.get_by_role("button", name="foxx → fox", exact=True).click()
    expect(world.prompt).to_have_value("Fox and foxxy: the fox sings.")
    expect(world.prompt).to_be_focused()
    expect(line).to_have_text("It does not know: foxxy, sings")
    world.page.get_by_role("button", name="Stories").click()
    own = world.page.get_by_label("Who is it about, and where?")
    own.fill("A red foxx.")
    world.page.get_by_role("button", name="foxx → fox").click()
    expect(own).to_have_value("A red fox.")
    expect(world.page.locator("#own-form .unknown")).to_be_empty()


def test_what_is_too_long_to_be_read_is_shown_under_the_prompt(desk: Any) -> None:
    """The global caption gives way first, at a sentence; where that is not enough, the end of the shot is named."""
    desk.begin("A red fox. It has a long way to go.")
    line = desk.page.locator(".prompt .unread")
    desk.prompt.fill("The fox waves" + " and waves" * 3)
    expect(line).to_have_text(
        "This part of the story’s own caption will not be read, to make room: “It has a long way to go.”"
    )
    desk.prompt.fill("The fox waves" + " and waves" * 60)
    expect(line).to_contain_text("This is too long, its end will not be read: “")
    desk.prompt.fill("It waves.")
    expect(line).to_be_empty()


def test_planned_shots_and_pasted_scripts_are_checked_like_the_prompt(world: Any) -> None:
    world.page.get_by_role("button", name="Plan", exact=True).click()
    dialog = world.page.get_by_role("dialog", name="Plan")
    field = dialog.get_by_label("Write shots")
    field.fill("The foxx waves.\nThe fox beams.")
    expect(dialog.locator("form .unknown")).to_have_text("It does not know: foxx, beams")
    dialog.get_by_role("button", name="foxx → fox").click()
    expect(field).to_have_value("The fox waves.\nThe fox beams.")
    shots = "- {text: The fox waves., steer: [{at: 1, text: The foxx jumps.}]}\n- text: It beams."
    field.fill(f"global: A fox.\nshots:\n{shots}")
    expect(dialog.locator("form .unknown")).to_have_text("It does not know: foxx, beams")
    dialog.get_by_role("button", name="Add to the plan").click()
    cards = dialog.locator(".card")
    expect(dialog.locator("form .unknown")).to_be_empty()
    expect(cards.last.locator(".unknown")).to_have_text("It does not know: beams")
    steer = cards.first.get_by_label("Steer 1 of shot 1")
    cards.first.get_by_role("button", name="foxx → fox").click()
    expect(steer).to_have_value("The fox jumps.")
    expect(cards.first.locator(".steers .unknown")).to_be_empty()
    world.until("document.querySelector('.steers textarea').dataset.kept === 'The fox jumps.'")
    dialog.get_by_role("button", name="Undo").click()
    expect(steer).to_have_value("The foxx jumps.")


def test_what_is_too_long_to_be_read_is_shown_on_its_card(desk: Any) -> None:
    desk.begin("A red fox. It has a long way to go.").page.get_by_role("button", name="Plan", exact=True).click()
    dialog = desk.page.get_by_role("dialog", name="Plan")
    dialog.get_by_label("Write shots").fill("The fox waves.")
    dialog.get_by_role("button", name="Add to the plan").click()
    caption = dialog.get_by_label("Caption of shot 1")
    caption.fill("The fox waves" + " and waves" * 60)
    expect(dialog.locator(".card .unread")).to_contain_text("This is too long, its end will not be read: “")
    caption.fill("It waves.")
    expect(dialog.locator(".card .unread")).to_be_empty()


def test_of_a_model_that_learnt_from_other_videos_nothing_is_said(desk: Any) -> None:
    desk.begin()
    expect(opener(desk)).to_be_hidden()
    with desk.page.expect_response("**/api/caption/check") as checked:
        desk.prompt.fill("A spaceship.")
    assert checked.value.json()["unknown"] == []
    expect(desk.page.locator(".prompt .unknown")).to_be_empty()
    expect(desk.page.locator(".chip")).to_have_count(0)
