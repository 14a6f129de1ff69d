"""Three raters take a study to its end in Chromium: by keyboard, by mouse, and on a phone with a break."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Locator, Page, expect

from chromium import open_browser_or_skip
from shotstream.cli import main
from shotstream.core.sockets import listen
from shotstream.study.app import make_app
from shotstream.study.files import read_study
from shotstream.study.votes import Votes
from study.study_videos import STORIES, write_systems

pytestmark = pytest.mark.browser
BRIGHTNESS = """
() => [...document.querySelectorAll("video")].map((video) => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, video.videoHeight - 1, 1, 1, 0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data[0];
})
"""
"""How bright the lower edge of each video is now, left to right: what a rater sees of two systems."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser_or_skip() as browser:
        yield browser


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    output = tmp_path / "study"
    assert main(["study", "make", *write_systems(tmp_path, "bright", "dark"), "-o", str(output)]) == 0
    return output


@pytest.fixture
def url(directory: Path) -> Iterator[str]:
    """The address of the study, while it is served."""
    study = read_study(directory)
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        make_app(directory, study, Votes(directory, study)), log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run([listening]))
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listening.close()


def begin(page: Page, url: str) -> Page:
    """Open the study and take a link of one's own."""
    page.goto(url)
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_text(f"Story 1 of {len(STORIES)}")).to_be_visible()
    return page


def wait_for_videos(page: Page, condition: str) -> None:
    """Wait until a condition of `video` holds for every video; the page's rules allow no `wait_for_function`."""
    until = time.monotonic() + 30
    ready = f"((videos) => videos.length > 1 && videos.every((video) => {condition}))"
    while not page.evaluate(f"{ready}([...document.querySelectorAll('video')])"):
        assert time.monotonic() < until, condition
        page.wait_for_timeout(30)


def brightest(page: Page) -> int:
    """Return the position of the brighter video, once both show a picture."""
    wait_for_videos(page, "video.readyState >= 2")
    seen = page.evaluate(BRIGHTNESS)
    assert abs(seen[0] - seen[1]) > 100, "the two systems' videos"
    return int(seen[1] > seen[0])


def questions_of(page: Page) -> list[Locator]:
    """Return the three questions, once they are there."""
    expect(page.locator("fieldset")).to_have_count(3)
    return page.locator("fieldset").all()


def at_story(page: Page, number: int) -> None:
    expect(page.get_by_text(f"Story {number} of {len(STORIES)}")).to_be_visible()


def test_three_raters_take_a_study_to_its_end(
    browser: Browser, url: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong: list[str] = []
    keyboard = browser.new_page()
    keyboard.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    begin(keyboard, url)
    for number in range(1, len(STORIES) + 1):
        at_story(keyboard, number)
        key = str(1 + brightest(keyboard))
        for _ in range(3):
            keyboard.keyboard.press(key)
        keyboard.keyboard.press("Enter")
    expect(keyboard.get_by_role("heading", name="Thank you")).to_be_visible()

    mouse = begin(browser.new_page(), url)
    for _ in STORIES:
        expect(mouse.locator("#next")).to_be_disabled()
        letter = "AB"[brightest(mouse)]
        choices = (letter, "AB".replace(letter, ""), "No difference")
        for group, choice in zip(questions_of(mouse), choices, strict=True):
            group.get_by_text(choice, exact=True).click()
        mouse.locator("#next").click()
    expect(mouse.get_by_role("heading", name="Thank you")).to_be_visible()

    context = browser.new_context(viewport={"width": 390, "height": 760}, has_touch=True, is_mobile=True)
    phone = begin(context.new_page(), url)
    link = phone.url
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing runs over the edge"
    for number in range(1, len(STORIES) + 1):
        at_story(phone, number)
        letter = "AB"[brightest(phone)]
        for group in questions_of(phone):
            with phone.expect_response("**/votes/*"):
                group.get_by_text(letter, exact=True).tap()
        expect(phone.locator("#next")).to_be_enabled()
        phone.locator("#next").tap()
        if number == 1:
            phone.close()
            phone = context.new_page()
            phone.goto(link)
    expect(phone.get_by_role("heading", name="Thank you")).to_be_visible()

    assert wrong == []
    capsys.readouterr()
    assert main(["study", "report", str(directory), "--json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["raters"], data["complete_raters"]) == (3, 3)
    questions = data["questions"]
    assert questions["consistency"]["rates"]["bright"]["rate"] == 1
    assert questions["prompt"]["rates"]["bright"]["rate"] == pytest.approx(6 / 9)
    assert questions["quality"]["no_difference"]["rate"] == pytest.approx(3 / 9)
    assert questions["consistency"]["agreement"] == 1


def test_videos_play_in_step_and_by_keys(browser: Browser, url: str) -> None:
    page = begin(browser.new_page(), url)
    wait_for_videos(page, "video.ended")
    times = page.evaluate("[...document.querySelectorAll('video')].map((video) => video.currentTime)")
    assert times[0] == pytest.approx(times[1], abs=0.13)
    expect(page.locator("#captions li.now")).to_contain_text("Close-up")
    page.evaluate("document.querySelectorAll('video').forEach((video) => { video.playbackRate = 0.1; })")
    page.keyboard.press(" ")
    wait_for_videos(page, "!video.paused")
    page.keyboard.press(" ")
    wait_for_videos(page, "video.paused")
    page.keyboard.press("r")
    expect(page.locator("#play")).to_have_text("Pause")
    page.keyboard.press("ArrowDown")
    with page.expect_response("**/votes/prompt"):
        page.keyboard.press("0")
    expect(page.get_by_role("group", name="Prompt adherence").get_by_label("No difference")).to_be_checked()
    page.reload()
    expect(page.get_by_role("group", name="Prompt adherence").get_by_label("No difference")).to_be_checked()


def test_a_study_that_is_gone_is_told_to_the_rater(browser: Browser, url: str, directory: Path, tmp_path: Path) -> None:
    page = begin(browser.new_page(viewport={"width": 1280, "height": 500}), url)
    directory.rename(tmp_path / "elsewhere")
    page.keyboard.press("1")
    expect(page.get_by_role("alert")).to_contain_text("if the study was moved or deleted")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    expect(page.locator("#next")).to_be_disabled()
    page.goto(f"{url}/r/nobody")
    expect(page.get_by_role("alert")).to_be_visible()
