"""A server with a tiny model of random weights, at a port of this machine, and a person in front of a real browser."""

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

from chromium import open_browser_or_skip
from shotstream.api import Model
from shotstream.serve.http.app import make_app
from shotstream.serve.http.run import open_listener
from shotstream.serve.limits import Limits, Settings
from shotstream.train.presets import PRESETS
from shotstream.weights.build import random_components

PATIENCE_MS = 40_000
LEFT_EARLY = "closed before the connection is established"
"""What Chromium says of whoever leaves a story, or the page, while its socket is being opened."""
DESKTOP = (1280, 800)
RECORD_SHOWN = """
const set = Storage.prototype.setItem;
window.shown = [];
window.before = Object.values({...sessionStorage});
Storage.prototype.setItem = function (key, value) {
  if (key.startsWith("shotstream-seen-")) {
    window.shown.push([document.timeline.currentTime, ...value.split(".").map(Number)]);
  }
  return set.call(this, key, value);
};
"""
"""Records every frame that the page shows: the time of the animation frame (ms), shot, take, frame."""
expect.set_options(timeout=PATIENCE_MS)


class RunOptions:
    """A server that runs in a thread; it can be ended, and begun again at the same address with the same stories."""

    def __init__(self, open_model: Callable[[], Model], settings: Settings) -> None:
        self._open_model, self._settings = open_model, settings
        self._start()

    def _start(self) -> None:
        listening = open_listener(self._settings)
        self.port = listening.getsockname()[1]
        self._settings = Settings(
            self._settings.data, "127.0.0.1", self.port, self._settings.token, self._settings.limits
        )
        app = make_app(self._open_model, self._settings)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve([listening])))
        self._thread.start()
        while self.get("/api/health", token=False)["status"] == "opening":
            time.sleep(0.02)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Ends it."""
        self._server.should_exit = True
        self._thread.join()

    def again(self) -> None:
        """Begins it again."""
        self._start()

    def get(self, path: str, token: bool = True) -> Any:
        """What it answers."""
        given = {"Authorization": f"Bearer {self._settings.token}"} if token and self._settings.token else {}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=given), timeout=30) as reply:
            return json.load(reply)


Serve = Callable[..., RunOptions]


@contextmanager
def running(model: Model, data: Path, token: str | None = None, **limits: Any) -> Iterator[RunOptions]:
    """A server on a directory."""
    server = RunOptions(lambda: model, Settings(data, port=0, token=token, limits=Limits(**limits)))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def model() -> Model:
    return Model(random_components(PRESETS["tiny"].model))


@pytest.fixture(scope="package")
def server(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunOptions]:
    with running(model, tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture(scope="package")
def world_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunOptions]:
    """A server with a model that is said to have learnt StoryWorld."""
    model = Model(random_components(replace(PRESETS["tiny"].model, name="storyworld")))
    with running(model, tmp_path_factory.mktemp("world")) as server:
        yield server


@pytest.fixture(scope="package")
def locked_server(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunOptions]:
    """A server whose token is `a-long-secret`."""
    with running(model, tmp_path_factory.mktemp("locked"), token="a-long-secret") as server:
        yield server


@pytest.fixture
def serve(model: Model, tmp_path: Path) -> Iterator[Serve]:
    """Starts a server of the test's own; a model, a token and limits can be given."""
    with ExitStack() as stack:
        yield lambda of=model, **options: stack.enter_context(running(of, tmp_path / "data", **options))


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with open_browser_or_skip() as browser:
        yield browser


class Desk:
    """A person in front of the page: what they do, and what they see."""

    def __init__(self, page: Page, server: RunOptions, patience_ms: int = PATIENCE_MS) -> None:
        self.page, self.server, self.patience_ms = page, server, patience_ms
        self.wrong: list[str] = []
        self.expected: tuple[str, ...] = ()
        """Parts of what the console may say, in tests that break something on purpose."""
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.add_init_script(RECORD_SHOWN)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.text} {message.location.get('url', '')}")

    def check_console(self) -> None:
        """The console said nothing that was not expected."""
        known = (*self.expected, LEFT_EARLY)
        assert [line for line in self.wrong if not any(part in line for part in known)] == []

    @property
    def story(self) -> str:
        return self.page.url.partition("#")[2]

    @property
    def prompt(self) -> Locator:
        return self.page.get_by_role("textbox", name="What happens next?")

    @property
    def shots(self) -> Locator:
        """The finished shots of the filmstrip."""
        return self.page.locator(".shot:has(button.take)")

    @property
    def making(self) -> Locator:
        """The shot in the making."""
        return self.page.locator(".shot.making")

    @property
    def status(self) -> Locator:
        return self.page.locator(".says")

    def come(self, path: str = "/") -> "Desk":
        """Opens the page."""
        self.page.goto(self.server.url + path)
        return self

    def begin(self, caption: str = "A red fox in a forest by day.") -> "Desk":
        """Begins a story."""
        self.come()
        self.page.get_by_label("Who is it about, and where?").fill(caption)
        self.page.keyboard.press("Enter")
        expect(self.prompt).to_be_focused()
        expect(self.page.get_by_text("What does the first shot show?")).to_be_visible()
        return self

    def say(self, text: str, key: str = "Enter", chunks: int | None = None) -> None:
        """Writes in the prompt line and presses a key."""
        if chunks is not None:
            self.page.get_by_label("Length").fill(str(chunks))
        self.prompt.fill(text)
        self.prompt.press(key)

    def make(self, *texts: str) -> "Desk":
        """Makes shots of one chunk."""
        for text in texts:
            count = self.shots.count()
            self.say(text, chunks=1)
            expect(self.shots).to_have_count(count + 1)
        return self

    def choose(self, shot: int, action: str) -> None:
        """Choose what to do with a finished shot (from 1), in the dialog that its card opens."""
        self.page.get_by_role("button", name=f"More: shot {shot}").click()
        self.page.get_by_role("dialog", name=f"Shot {shot}").get_by_role("button", name=action).first.click()

    def until(self, condition: str) -> None:
        """Waits until an expression holds; asked again and again, since the page's policy lets it evaluate nothing."""
        until_s = time.monotonic() + self.patience_ms / 1000
        while not self.page.evaluate(condition):
            assert time.monotonic() < until_s, f"never: {condition}"
            self.page.wait_for_timeout(20)

    def until_shown(self, shot: int, take: int, frame: int) -> None:
        """Waits until that frame is the last that was shown."""
        self.until(f"window.shown.at(-1)?.slice(1).join() === '{shot},{take},{frame}'")

    def until_none(self, finding: str, where: object = "") -> None:
        """Waits until a script finds nothing: after a click or in another size, transitions take their time."""
        until_s = time.monotonic() + self.patience_ms / 1000
        while found := self.page.evaluate(finding):
            assert time.monotonic() < until_s, f"{where} {found}"
            self.page.wait_for_timeout(20)

    def tree(self) -> Any:
        """All takes, by the server."""
        return self.server.get(f"/api/stories/{self.story}/tree")

    def frames(self) -> list[tuple[int, int, int]]:
        """Shot, take and frame of all that was shown since the page was loaded."""
        return [tuple(place) for _, *place in self.page.evaluate("window.shown")]

    def scrolls_sideways(self) -> bool:
        """Whether the page is wider than the screen."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))


NewDesk = Callable[..., Desk]


@pytest.fixture
def new_desk(browser: Browser, server: RunOptions, serve: Serve) -> Iterator[NewDesk]:  # noqa: ARG001
    """Seats people in front of browsers of their own; afterwards no console may have said anything wrong.

    They leave before the servers of the test do.
    """
    contexts: list[BrowserContext] = []
    desks: list[Desk] = []

    def seat(at: RunOptions = server, size: tuple[int, int] = DESKTOP, **options: Any) -> Desk:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        desks.append(Desk(context.new_page(), at))
        return desks[-1]

    yield seat
    for context in contexts:
        context.close()
    for desk in desks:
        desk.check_console()


@pytest.fixture
def desk(new_desk: NewDesk) -> Desk:
    return new_desk()
