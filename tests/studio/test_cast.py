"""The cast: pictures join it, are renamed and removed, and each shot chooses whom it remembers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, expect

from shotstream.core.images import write_png

FOX, OWL = {"number": 0, "caption": "A red fox"}, {"number": 1, "caption": "A blue owl"}
PICTURE = "document.querySelector('canvas.picture').toDataURL()"


def join(desk: Any, tmp_path: Path, *members: dict[str, Any]) -> None:
    """Adds pictures to the cast by the page's button."""
    for member in members:
        image = tmp_path / f"{member['number']}.png"
        write_png(image, np.full((300, 200, 3), (200 - 150 * member["number"], 60, 30), np.uint8))
        desk.page.locator(".cast-file").set_input_files(image)
        desk.page.get_by_label("Name").fill(member["caption"])
        desk.page.keyboard.press("Enter")
        expect(faces(desk.page.locator(".prompt"))).to_have_count(member["number"] + 1)


def row(desk: Any) -> Locator:
    return desk.page.get_by_role("list", name="Cast").get_by_role("listitem")


def faces(place: Locator) -> Locator:
    return place.locator(".face")


def make(desk: Any, take: int) -> str:
    """Makes the first shot again; its last picture on the screen."""
    desk.make("The fox waves.")
    desk.until_shown(0, take, 8)
    picture = desk.page.evaluate(PICTURE)
    desk.page.get_by_role("button", name="Undo").click()
    expect(desk.shots).to_have_count(0)
    return str(picture)


@pytest.fixture
def told(desk: Any, tmp_path: Path) -> Any:
    """A story with a cast of two."""
    join(desk.begin(), tmp_path, FOX, OWL)
    return desk


def test_an_image_joins_the_cast_and_is_renamed_removed_and_brought_back(told: Any) -> None:
    expect(row(told)).to_have_text(["A red fox", "A blue owl"])
    told.until("document.querySelector('.member img')?.naturalWidth === 128")
    told.page.get_by_role("button", name="A red fox", exact=True).first.click()
    dialog = told.page.get_by_role("dialog", name="A red fox")
    dialog.get_by_label("Name").fill("Rusty")
    dialog.get_by_label("Name").press("Enter")
    expect(row(told)).to_have_text(["Rusty", "A blue owl"])
    told.page.get_by_role("button", name="A blue owl", exact=True).first.click()
    told.page.get_by_role("button", name="Remove from the cast").click()
    expect(row(told)).to_have_text(["Rusty"])
    assert told.tree()["cast"] == [{"number": 0, "caption": "Rusty"}]
    told.page.get_by_role("button", name="Undo").click()
    expect(row(told)).to_have_text(["Rusty", "A blue owl"])
    told.page.reload()
    expect(row(told)).to_have_text(["Rusty", "A blue owl"])


def test_each_shot_chooses_whom_it_remembers_and_it_is_seen(desk: Any, tmp_path: Path) -> None:
    nobody = make(desk.begin(), 0)
    join(desk, tmp_path, FOX, OWL)
    everyone = make(desk, 1)
    choice = desk.page.get_by_role("group", name="Cast of the shot")
    choice.get_by_role("button", name="A red fox").click()
    owl = make(desk, 2)
    choice.get_by_role("button", name="A blue owl").click()
    assert make(desk, 3) == nobody, "a shot that knows nobody is the one that was made before there was a cast"
    assert len({nobody, everyone, owl}) == 3
    assert [take["cast"] for take in desk.tree()["takes"]] == [[], [FOX, OWL], [OWL], []]


def test_planned_shots_choose_their_cast_and_a_finished_one_shows_whom_it_knew(told: Any) -> None:
    told.page.get_by_role("button", name="Plan", exact=True).click()
    plan = told.page.get_by_role("dialog", name="Plan")
    plan.get_by_label("Write shots").fill("The fox waves.\nThe owl sleeps.")
    plan.get_by_role("button", name="Add to the plan").click()
    for shot in (1, 2):
        plan.get_by_label(f"Length of shot {shot}").fill("1")
    plan.get_by_role("group", name="Cast of shot 2").get_by_role("button", name="A red fox").click()
    expect(faces(plan).nth(2)).to_have_attribute("aria-pressed", "false")
    told.until("document.querySelectorAll('.card')[1].querySelector('input').dataset.kept === '1'")
    plan.get_by_role("button", name="Undo").click()
    expect(faces(plan).nth(2)).to_have_attribute("aria-pressed", "true")
    plan.get_by_role("group", name="Cast of shot 2").get_by_role("button", name="A red fox").click()
    plan.get_by_role("button", name="Tell all").click()
    expect(told.shots).to_have_count(2)
    assert [take["cast"] for take in told.tree()["takes"]] == [[FOX, OWL], [OWL]]
    told.page.get_by_role("button", name="More: shot 2").click()
    facts = told.page.get_by_role("dialog", name="Shot 2")
    expect(facts.locator(".known-member")).to_have_text(["A blue owl"])


def test_a_file_that_is_no_image_is_refused_in_words(desk: Any, tmp_path: Path) -> None:
    desk.begin()
    wrong = tmp_path / "notes.png"
    wrong.write_text("no picture")
    desk.page.locator(".cast-file").set_input_files(wrong)
    expect(desk.status).to_have_text("Notes.png is no image that this browser can read.")


def test_what_the_model_remembers_is_shown(told: Any) -> None:
    told.make("The fox waves.", "The fox jumps.")
    told.page.get_by_role("button", name="Memory").click()
    dialog = told.page.get_by_role("dialog", name="What shot 3 remembers")
    expect(dialog.get_by_role("listitem")).to_have_count(6)
    told.until("[...document.querySelectorAll('.memory img')].every((image) => image.naturalWidth === 128)")
    names = [one.get_attribute("alt") for one in dialog.get_by_role("img").all()]
    assert names[:2] == ["Cast: A red fox", "Cast: A blue owl"]
    assert {name.partition(",")[0] for name in names[2:]} == {"Shot 1", "Shot 2"}
