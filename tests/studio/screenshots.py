"""The page's screenshots in docs/, with the embedded model; made again by hand:

PYTHONPATH=tests .venv/bin/python tests/studio/screenshots.py
"""

import tempfile
from pathlib import Path
from typing import Any

import yaml
from example_pictures import EXAMPLES
from playwright.sync_api import Browser, expect

import shotstream
from chromium import find_chromium, open_browser
from conftest import Desk, RunOptions
from shotstream.core.images import write_png
from shotstream.serve.limits import Settings
from shotstream.world.render import render_frames
from shotstream.world.scene import Character, WorldShot, WorldStory

DOCS = Path(__file__).parents[2] / "docs"
DESKTOP, PHONE = (1280, 840), (390, 844)
PATIENCE_MS = 600_000
NEXT = "Close-up: the fox waves."
PLAN = "Close-up: the owl sleeps.\nMedium shot: the foxx jumps.\nWide shot of the fox and the owl: they wave."
CAST = {
    "A red fox": Character("fox", "red", "none", "plain"),
    "A blue owl": Character("owl", "blue", "none", "plain"),
}


def seat(browser: Browser, server: RunOptions, size: tuple[int, int], scale: float) -> Desk:
    """Somebody in front of a screen of that size."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, device_scale_factor=scale)
    page.set_default_timeout(PATIENCE_MS)
    return Desk(page, server, PATIENCE_MS)


def save(desk: Desk, name: str) -> None:
    """A picture of the page, once all that it shows is there and no message stands over it."""
    desk.until("[...document.images].every((image) => image.naturalWidth)")
    expect(desk.status).to_be_empty()
    desk.page.screenshot(path=DOCS / f"{name}.png")


def add_cast(desk: Desk, directory: Path) -> None:
    """Add a close-up of each character to the cast."""
    for count, (caption, character) in enumerate(CAST.items(), start=1):
        shot = WorldShot((0,), "close-up", "still", "wave", 1)
        portrait = WorldStory((character,), "forest", "day", ("pine", "oak", "mushroom"), (shot,))
        path = directory / f"{count}.png"
        write_png(path, render_frames(portrait, 0, [0])[0])
        desk.page.locator(".cast-file").set_input_files(path)
        desk.page.get_by_label("Name").fill(caption)
        desk.page.keyboard.press("Enter")
        expect(desk.page.locator(".prompt .face")).to_have_count(count)


def begin_planned(desk: Desk, example: dict[str, Any]) -> None:
    """Begin an example as a script, whose shots wait until they are told."""
    script = {"global": example["caption"], "seed": example["seed"], "shots": example["shots"]}
    desk.page.get_by_role("button", name="Or write or paste a whole script").click()
    desk.page.get_by_role("dialog").get_by_role("textbox").fill(yaml.safe_dump(script, sort_keys=False))
    desk.page.get_by_role("button", name="Lay it out").click()
    expect(desk.page.locator(".card")).to_have_count(len(example["shots"]))
    desk.page.get_by_role("button", name="Close", exact=True).click()


def take_all(browser: Browser, server: RunOptions, directory: Path) -> None:
    """The start page, a story in the middle with its cast, the same on a phone, and a plan."""
    desk = seat(browser, server, DESKTOP, 1).come()
    save(desk, "studio-start")
    begin_planned(desk, EXAMPLES[0])
    add_cast(desk, directory)
    desk.page.get_by_role("button", name="Plan", exact=True).click()
    desk.page.get_by_role("button", name="Tell all").click()
    expect(desk.status).to_be_empty()
    desk.prompt.fill(NEXT)
    desk.until("window.shown.at(-1)?.[1] >= 2")
    desk.shots.last.hover()
    save(desk, "studio")
    phone = seat(browser, server, PHONE, 2)
    phone.come(f"/#{desk.story}")
    phone.prompt.fill(NEXT)
    phone.until("document.querySelector('.waiting').hidden")
    save(phone, "studio-phone")
    expect(desk.shots).to_have_count(4)
    desk.page.get_by_role("button", name="Plan", exact=True).click()
    plan = desk.page.get_by_role("dialog", name="Plan")
    plan.get_by_label("Write shots").fill(PLAN)
    plan.get_by_role("button", name="Add to the plan").click()
    plan.get_by_role("group", name="Cast of shot 5").get_by_role("button", name="A red fox").click()
    expect(plan.get_by_role("button", name="foxx → fox")).to_be_visible()
    save(desk, "studio-plan")


def main() -> None:
    path = find_chromium()
    assert path is not None, "a Chromium is needed: apt-get install chromium"
    expect.set_options(timeout=PATIENCE_MS)
    model = shotstream.open("storyworld")
    with tempfile.TemporaryDirectory() as data, open_browser(path) as browser:
        server = RunOptions(lambda: model, Settings(Path(data) / "stories", port=0))
        try:
            take_all(browser, server, Path(data))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
