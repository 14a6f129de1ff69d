"""The page's screenshots in docs/, with the embedded model; made again by hand:

PYTHONPATH=tests .venv/bin/python tests/studio/screenshots.py
"""

import tempfile
from pathlib import Path

from playwright.sync_api import Browser, expect

import shotstream
from chromium import find_chromium, open_browser
from conftest import Desk, RunOptions
from shotstream.serve.limits import Settings

DOCS = Path(__file__).parents[2] / "docs"
DESKTOP, PHONE = (1280, 840), (390, 844)
PATIENCE_MS = 600_000
NEXT = "Close-up: the fox waves."


def seat(browser: Browser, server: RunOptions, size: tuple[int, int], scale: float) -> Desk:
    """Somebody in front of a screen of that size."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, device_scale_factor=scale)
    page.set_default_timeout(PATIENCE_MS)
    return Desk(page, server, PATIENCE_MS)


def save(desk: Desk, name: str) -> None:
    """A picture of the page, once all that it shows is there."""
    desk.until("[...document.images].every((image) => image.naturalWidth)")
    desk.page.screenshot(path=DOCS / f"{name}.png")


def take_all(browser: Browser, server: RunOptions) -> None:
    """The start page, a story in the middle, and the same on a phone."""
    desk = seat(browser, server, DESKTOP, 1).come()
    save(desk, "studio-start")
    desk.page.get_by_role("button", name="The fox and the owl").click()
    expect(desk.shots).to_have_count(2)
    desk.until("window.shown.at(-1)?.[1] === 2")
    phone = seat(browser, server, PHONE, 2)
    phone.come(f"/#{desk.story}")
    phone.until("window.shown.length > 3")
    desk.shots.last.hover()
    for one, name in ((desk, "studio"), (phone, "studio-phone")):
        one.prompt.fill(NEXT)
        save(one, name)


def main() -> None:
    path = find_chromium()
    assert path is not None, "a Chromium is needed: apt-get install chromium"
    expect.set_options(timeout=PATIENCE_MS)
    model = shotstream.open("storyworld")
    with tempfile.TemporaryDirectory() as data, open_browser(path) as browser:
        server = RunOptions(lambda: model, Settings(Path(data), port=0))
        try:
            take_all(browser, server)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
