"""The browser of the tests: Chromium without a window, where this machine has one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """Return the path of this machine's Chromium, or None if it has none."""
    named = os.environ.get("SHOTSTREAM_CHROMIUM")
    return named or next((path for name in CHROMIUMS if (path := shutil.which(name))), None)


@contextmanager
def open_browser(path: str) -> Iterator[Browser]:
    """Open a browser, and close it at the end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_browser_or_skip() -> Iterator[Browser]:
    """Open this machine's Chromium, or skip the test if it has none."""
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium, or name one in SHOTSTREAM_CHROMIUM")
    with open_browser(path) as browser:
        yield browser
