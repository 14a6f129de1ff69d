"""The page of an evaluation in Chromium: it needs nothing but itself, shows its pictures, and fits a phone."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from chromium import open_browser_or_skip
from shotstream.metrics.columns import COLUMNS, CutSettings
from shotstream.metrics.evaluation import Evaluation, StoryResult
from shotstream.metrics.features import StoryFeatures
from shotstream.metrics.tables import to_html
from shotstream.metrics.videos import ScoredVideo, UnreadableVideo

SHOTS = 5
RANGES = tuple((9 * shot, 9 * shot + 9) for shot in range(SHOTS))
CAPTIONS = tuple(f"Wide shot {shot}: the fox with the red coat walks over the bridge." for shot in range(SHOTS))
NAMES = ("harbour-letter", "fog-ferry", "robot-gardener")


def write_page(path: Path) -> Path:
    """Write the report of three stories with values of every column, one network missing and one video left out."""
    shown = [column.key for column in COLUMNS if not column.key.startswith(("judge", "aesthetic"))]
    stories = [
        StoryResult(
            name,
            f"/videos/{name}.mp4",
            CAPTIONS,
            RANGES,
            {key: 66.7 if key == "dynamic_degree" else 0.3 + 0.2 * number for key in shown},
            notes=("24 frames a second, not 16",) if number == 0 else (),
        )
        for number, name in enumerate(NAMES)
    ]
    missing = {"aesthetic": "run: hf download shunk031/aesthetics-predictor-v1-vit-large-patch14"}
    evaluation = Evaluation(
        "outputs/ours",
        tuple(stories),
        (UnreadableVideo("paper-boats", "no script beside it: expected paper-boats.json or paper-boats.yaml"),),
        missing,
        {"dino": "facebook/dino-vitb16 at 0f1e", "detector": "PekingU/rtdetr_r50vd at 9a8b", "transformers": "5.24.0"},
        CutSettings(),
    )
    pictures = np.random.default_rng(0).integers(0, 255, (SHOTS, 108, 192, 3), np.uint8)
    features = {
        name: StoryFeatures(
            ScoredVideo(name, Path(f"{name}.mp4"), "A fox.", CAPTIONS, RANGES, 16, "csv"),
            108,
            192,
            {"thumbnails": pictures},
        )
        for name in NAMES
    }
    path.write_text(to_html(evaluation, features), encoding="utf8")
    return path


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1100])
def test_the_report_stands_alone_and_fits_the_window(width: int, tmp_path: Path) -> None:
    file = write_page(tmp_path / "results.html")
    asked: list[str] = []
    with open_browser_or_skip() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing runs over the edge"
        pictures = "[...document.images].map((image) => image.complete && image.naturalWidth)"
        assert page.evaluate(pictures) == [192] * SHOTS * len(NAMES)
        expect(page.get_by_text("3 stories, 1 left out")).to_be_visible()
        expect(page.get_by_text("paper-boats: no script beside it")).to_be_visible()
        expect(page.get_by_text("hf download shunk031/aesthetics")).to_be_visible()
        expect(page.get_by_text("detector replaces YOLO")).to_be_visible()
        lowest = page.locator("h2", has_text="Lowest stories").locator("xpath=following-sibling::div[1]//tr[1]//a[1]")
        assert lowest.first.inner_text() == NAMES[0]
        lowest.first.click()
        expect(page.locator(f"h3#{NAMES[0]}")).to_be_in_viewport()
        page.screenshot(path=tmp_path / "page.png", full_page=True)
