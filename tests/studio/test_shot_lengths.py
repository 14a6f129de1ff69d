"""The page counts in the chunks of the server's model, and has no lengths of its own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from playwright.sync_api import expect

from shotstream.api import Model
from shotstream.core.spec import ShotShape
from shotstream.train.presets import TINY
from shotstream.weights.build import random_components

SHAPE = ShotShape(chunk_latents=4, context_latents=4, max_chunks=2)


def test_lengths_are_those_of_the_servers_model(serve: Callable[..., Any], new_desk: Callable[..., Any]) -> None:
    network = replace(TINY.model.transformer, shot=SHAPE)
    at = serve(Model(random_components(replace(TINY.model, transformer=network))), chunks=9)
    desk = new_desk(at).begin()
    length = desk.page.get_by_label("Length")
    expect(length).to_have_value("2")
    expect(length).to_have_attribute("max", "9")
    expect(desk.page.locator("output[for=chunks]")).to_have_text("1.8 s")
    desk.say("The fox walks left.", chunks=10)
    expect(desk.status).to_contain_text("A shot has 1 to 9 parts of about 1.0 s.")
    desk.say("The fox walks left.", chunks=3)
    expect(desk.shots).to_have_count(1)
    [take] = desk.tree()["takes"]
    assert (take["chunks"], take["frames"]) == (3, 1 + 4 * 11), "longer than in training, which the page asked for"
