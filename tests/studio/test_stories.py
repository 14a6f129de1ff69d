"""Stories on the server, files in and out, and the director."""

import json
import zipfile
from pathlib import Path
from typing import Any

import av
from playwright.sync_api import expect

from shotstream.story.record import add_checksum


def save(desk: Any, kind: str, to: Path) -> Path:
    """Exports the story."""
    desk.page.get_by_role("button", name="Export", exact=True).click()
    with desk.page.expect_download() as download:
        desk.page.get_by_role("button", name=f".{kind}").click()
    path = to / f"story.{kind}"
    download.value.save_as(path)
    return path


def test_an_exported_video_has_every_frame(desk: Any, tmp_path: Path) -> None:
    desk.begin().make("The fox waves.", "The fox jumps.")
    with av.open(str(save(desk, "mp4", tmp_path))) as video:
        assert sum(1 for _ in video.decode(video=0)) == 18


def test_a_story_is_taken_away_as_a_zip_removed_and_brought_back(desk: Any, tmp_path: Path) -> None:
    desk.begin("A green frog by a mountain lake by day.").make("The frog waves.")
    story, path = desk.story, save(desk, "zip", tmp_path)
    desk.page.get_by_role("button", name="Stories").click()
    row = desk.page.locator(f"li:has(a[href='#{story}'])")
    for answer in ("Keep it", "Remove it"):
        row.get_by_role("button", name="More").click()
        desk.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        desk.page.get_by_role("button", name=answer).click()
    expect(row).to_have_count(0)
    desk.page.locator(".zip-file").set_input_files(path)
    expect(desk.shots).to_have_count(1)
    assert desk.story != story


def test_a_story_by_another_model_is_watched_and_exported_from_the_list(desk: Any, tmp_path: Path) -> None:
    desk.begin("A red owl in a desert at night.").make("The owl waves.")
    path, other = save(desk, "zip", tmp_path), tmp_path / "other.zip"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "story.json":
                record = json.loads(content)
                other_model = record | {"identity": record["identity"] | {"model": "0" * 32}}
                content = json.dumps(add_checksum(other_model)).encode()
            new.writestr(name, content)
    desk.page.get_by_role("button", name="Stories").click()
    desk.page.locator(".zip-file").set_input_files(other)
    expect(desk.status).to_contain_text("another model made it")
    row = desk.page.get_by_role("listitem").filter(has_text="made by another model")
    row.get_by_role("button", name="Watch").click()
    desk.until("document.querySelector('dialog video')?.currentTime > 0")
    desk.page.keyboard.press("Escape")
    row.get_by_role("button", name="More").click()
    desk.page.get_by_role("dialog").get_by_role("button", name="Export").click()
    with desk.page.expect_download():
        desk.page.get_by_role("button", name=".mp4").click()


def test_a_story_of_the_list_is_opened_with_a_still_of_its_end(desk: Any) -> None:
    story = desk.begin("A white robot in a desert at dusk.").make("The robot waves.").story
    desk.page.get_by_role("button", name="Stories").click()
    desk.page.locator(f"a[href='#{story}']").click()
    expect(desk.shots).to_have_count(1)
    expect(desk.page.locator(".waiting")).to_be_hidden()


def test_a_story_has_a_title_on_its_page_and_in_the_list_and_is_duplicated(desk: Any) -> None:
    story = desk.begin("A green frog on a beach at dusk.").make("The frog waves.").story
    desk.page.get_by_role("button", name="A green frog on a beach at dusk.").click()
    desk.page.get_by_label("Title").fill("Low tide")
    desk.page.keyboard.press("Enter")
    expect(desk.page.get_by_role("heading", level=1)).to_have_text("Low tide")
    desk.page.reload()
    expect(desk.page.get_by_role("heading", level=1)).to_have_text("Low tide")
    expect(desk.page).to_have_title("Low tide – ShotStream")
    desk.page.get_by_role("button", name="Stories").click()
    row = desk.page.locator(f"li:has(a[href='#{story}'])")
    row.get_by_role("button", name="More: Low tide").click()
    desk.page.get_by_role("dialog", name="Low tide").get_by_role("button", name="Duplicate").click()
    expect(desk.status).to_have_text("The copy is called “Low tide (copy)”.")
    desk.page.get_by_role("link", name="Low tide (copy)").click()
    expect(desk.page.get_by_role("heading", level=1)).to_have_text("Low tide (copy)")
    expect(desk.shots).to_have_count(1)
    desk.make("The frog jumps.")
    assert desk.story != story
    assert len(desk.server.get(f"/api/stories/{story}/tree")["takes"]) == 1


def test_a_story_begins_with_guidance_and_a_negative_prompt_and_so_does_its_script(
    new_desk: Any, tmp_path: Path
) -> None:
    def guided() -> tuple[float | None, str]:
        story = desk.server.get(f"/api/stories/{desk.story}")
        return story["guidance"], story["negative_prompt"]

    desk = new_desk(size=(390, 844))
    desk.come()
    scale, avoid = desk.page.get_by_label("Guidance"), desk.page.get_by_label("What to avoid")
    expect(scale).to_have_attribute("placeholder", "2")
    opener = desk.page.get_by_text("Guidance, and what to avoid")
    opener.click()
    assert not desk.scrolls_sideways()
    scale.fill("31")
    opener.click()
    desk.page.get_by_role("button", name="The fox and the owl").click()
    expect(desk.status).to_have_text("Guidance is a number from 1 to 30. Correct it, or leave it empty.")
    expect(scale).to_be_focused()
    desk.page.get_by_label("Who is it about, and where?").fill("A red fox in a city at night.")
    scale.fill("4.5")
    scale.press("Tab")
    desk.page.keyboard.type("An owl.")
    desk.page.keyboard.press("Enter")
    expect(desk.prompt).to_be_focused()
    assert guided() == (4.5, "An owl.")
    expect(desk.page.locator(".guided")).to_have_text("Guidance 4.5Avoids: An owl.")
    desk.page.get_by_role("button", name="Details").click()
    details = desk.page.get_by_role("dialog", name="Details")
    for fact in ("A red fox in a city at night.", "4.5", "An owl."):
        expect(details.get_by_role("definition").filter(has_text=fact)).to_be_visible()
    desk.page.keyboard.press("Escape")
    first, script = desk.make("The fox waves.").story, save(desk, "yaml", tmp_path).read_text()
    desk.come()
    desk.page.reload()
    expect(avoid).to_have_value("")
    desk.page.get_by_role("button", name="Or write or paste a whole script").click()
    desk.page.get_by_role("dialog").get_by_role("textbox").fill(script)
    desk.page.get_by_role("button", name="Lay it out").click()
    expect(desk.page.get_by_role("dialog", name="Plan")).to_be_visible()
    expect(desk.page.locator(".guided")).to_have_text("Guidance 4.5Avoids: An owl.")
    assert desk.story != first
    assert guided() == (4.5, "An owl.")


def test_what_the_model_does_not_know_of_a_directors_story_is_said(new_desk: Any, world_server: Any) -> None:
    desk = new_desk(world_server)
    desk.page.route("**/api/models", lambda route: route.fulfill(json=[{"director": True}]))
    outline = {"global_caption": "A red robott.", "shots": ["The robott sings."]}
    desk.page.route("**/api/outline", lambda route: route.fulfill(json=outline))
    desk.come().page.get_by_label("Or give only an idea").fill("a robot that sings")
    desk.page.keyboard.press("Enter")
    plan = desk.page.get_by_role("dialog", name="Plan")
    expect(desk.status).to_have_text('The model does not know "robott" (near: "robot"). Use other words.')
    expect(plan.get_by_label("Caption of shot 1")).to_have_value("The robott sings.")
    expect(plan.locator(".card .unknown")).to_have_text("It does not know: robott, sings")


def test_only_a_server_with_a_director_is_asked_for_ideas(desk: Any) -> None:
    desk.come()
    expect(desk.page.get_by_label("Or give only an idea")).to_be_hidden()
    desk.page.route("**/api/models", lambda route: route.fulfill(json=[{"director": True}]))
    outline = {"global_caption": "A blue owl in a city at night.", "shots": ["The owl waves.", "The owl sleeps."]}
    desk.page.route("**/api/outline", lambda route: route.fulfill(json=outline))
    desk.page.reload()
    expect(desk.page.get_by_label("Or give only an idea")).to_be_visible()
    expect(desk.page.get_by_label("What to avoid")).to_be_hidden()
    desk.page.get_by_label("Or give only an idea").fill("an owl who cannot sleep")
    desk.page.keyboard.press("Enter")
    expect(desk.page.get_by_role("heading", level=1)).to_have_text("A blue owl in a city at night.")
    plan = desk.page.get_by_role("dialog", name="Plan")
    expect(plan.get_by_label("Caption of shot 1")).to_have_value("The owl waves.")
    expect(plan.get_by_label("Caption of shot 2")).to_have_value("The owl sleeps.")
