"""What is taken away: the story, one shot or a still, in a size, with cross-fades and a soundtrack."""

import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
from playwright.sync_api import expect

from shotstream.core.video import Frames, read_video


def save(desk: Any, kind: str, to: Path, **choices: str) -> Path:
    """Exports with these choices of the dialog's fields."""
    dialog = desk.page.get_by_role("dialog", name="Export")
    for field, option in choices.items():
        dialog.get_by_label(field).select_option(label=option)
    with desk.page.expect_download() as download:
        dialog.get_by_role("button", name=f".{kind}").click()
    path = to / download.value.suggested_filename
    download.value.save_as(path)
    return path


def on_the_stage(desk: Any) -> Frames:
    """The picture that the page shows, `[h, w, 3]`."""
    script = """() => { const canvas = document.querySelector("canvas.picture");
      return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]; }"""
    return np.array(desk.page.evaluate(script), np.uint8).reshape(80, 128, 4)[..., :3]


def test_one_shot_a_still_and_the_story_with_fades_and_a_sound(desk: Any, tmp_path: Path) -> None:
    desk.begin().make("The fox waves.", "The fox jumps.")
    desk.until_shown(1, 0, 8)
    opener = desk.page.get_by_role("button", name="Export", exact=True)

    desk.choose(1, "Export")
    expect(desk.page.get_by_role("dialog", name="Export").get_by_label("What")).to_have_value("0")
    shot = read_video(save(desk, "mp4", tmp_path, Size="2×, 256 × 160"))
    assert shot.shape == (9, 160, 256, 3)

    opener.click()
    (still,) = read_video(save(desk, "png", tmp_path))
    assert np.abs(still.astype(float) - on_the_stage(desk)).mean() < 12, "the picture that is shown"

    sound = tmp_path / "tone.wav"
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((8000 * np.sin(np.arange(16000) * 0.3)).astype(np.int16).tobytes())
    opener.click()
    desk.page.get_by_label("Soundtrack").set_input_files(sound)
    story = save(desk, "mp4", tmp_path, Cuts="Cross-fade of 0.1 s")
    with av.open(str(story)) as video:
        assert len(video.streams.audio) == 1
        assert sum(1 for _ in video.decode(video=0)) == 16, "two frames of one shot lie over two of the other"


def test_pixel_art_stays_sharp_and_larger_pictures_are_smooth(desk: Any) -> None:
    desk.begin().make("The fox waves.")
    scaling = "getComputedStyle(document.querySelector('.shot .thumb img')).imageRendering"
    desk.until("document.querySelector('.shot .thumb img') !== null")
    assert desk.page.evaluate(scaling) == "pixelated"
    opener, dialog = desk.page.get_by_role("button", name="Export", exact=True), desk.page.get_by_role("dialog")
    opener.click()
    expect(dialog.get_by_label("Enlarged as")).to_have_value("nearest")
    desk.page.keyboard.press("Escape")
    story = desk.server.get(f"/api/stories/{desk.story}")
    large = story | {"width": 832, "height": 480}
    desk.page.route(f"**/api/stories/{desk.story}", lambda route: route.fulfill(json=large))
    opener.click()
    expect(dialog.get_by_label("Enlarged as")).to_have_value("lanczos")
    desk.page.keyboard.press("Escape")
    desk.page.route("**/api/stories", lambda route: route.fulfill(json=[large]))
    desk.page.get_by_role("button", name="Stories").click()
    expect(desk.page.locator(".stories .thumb img")).not_to_have_count(0)
    desk.until("getComputedStyle(document.querySelector('.stories .thumb img')).imageRendering === 'auto'")
