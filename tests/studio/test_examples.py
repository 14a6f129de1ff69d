"""The start page's examples: their pictures are what the embedded model makes of them."""

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

import shotstream
from shotstream.core.video import read_video
from studio.example_pictures import EXAMPLES, PICTURES, first_shot

NEAR = 3.0
"""Mean difference of two pictures, of 255, that arithmetic on another processor may make."""
COUNT_PLAYS = """
const play = HTMLMediaElement.prototype.play;
window.plays = 0;
HTMLMediaElement.prototype.play = function () {
  window.plays += 1;
  return play.call(this);
};
"""
"""Counts how often the page has told a video to play."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
def test_a_card_shows_the_first_shot_that_the_model_makes(example: dict[str, Any]) -> None:
    frames = first_shot(shotstream.open("storyworld"), example)
    shown = read_video(PICTURES / f"{example['name']}.png")[0].astype(float)
    difference = np.abs(shown - frames[len(frames) // 2]).mean()
    assert difference < NEAR, "other weights: run tests/studio/example_pictures.py again"


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_a_card_plays_while_it_is_pointed_at(new_desk: Any, motion: str) -> None:
    desk = new_desk(reduced_motion=motion)
    desk.page.add_init_script(COUNT_PLAYS)
    desk.come()
    card = desk.page.get_by_role("button", name="The fox and the owl")
    card.hover()
    if motion == "reduce":
        desk.page.get_by_role("heading", level=1).hover()  # so that the page has heard of both
        assert desk.page.evaluate("window.plays") == 0
        return
    desk.until("document.querySelector('.example video').currentTime > 0.2")
    assert desk.page.evaluate("window.plays") == 1
    desk.page.get_by_role("heading", level=1).hover()
    desk.until("document.querySelector('.example video').currentTime === 0")
    expect(card).to_be_visible()
