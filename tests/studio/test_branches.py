"""The map of branches, two takes side by side, and making the rest again after another take."""

from typing import Any

from playwright.sync_api import expect

PICTURE = "document.querySelector('canvas.picture').toDataURL()"
PAIR = """() => [...document.querySelectorAll(".pair video")].map((video) => {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.toDataURL();
})"""
"""The pictures of two takes that play side by side."""


def test_what_followed_is_made_again_and_the_map_leads_back(desk: Any) -> None:
    desk.begin().make("The fox waves.", "The fox jumps.")
    desk.until_shown(1, 0, 8)
    before = desk.page.evaluate(PICTURE)
    desk.choose(1, "Try again, keep the rest")
    expect(desk.page.locator("[data-take='1.1']")).to_have_count(1)
    desk.until_shown(1, 1, 8)
    assert desk.page.evaluate(PICTURE) != before, "the same caption and seed after another first shot"
    first, second, again, rest = desk.tree()["takes"]
    assert again["seed"] != first["seed"]
    assert (rest["text"], rest["seed"], rest["parent"]) == (second["text"], second["seed"], 1)
    desk.page.get_by_role("button", name="Branches").click()
    rows = desk.page.get_by_role("list", name="Branches").get_by_role("listitem")
    expect(rows).to_have_count(2)
    expect(desk.page.locator(".node img")).not_to_have_count(0)
    desk.until("[...document.querySelectorAll('.node img')].every((image) => image.naturalWidth === 128)")
    rows.first.get_by_role("button").last.click()
    desk.page.get_by_role("button", name="Go to this take").click()
    expect(desk.page.locator("[data-take='1.0']")).to_have_count(1)
    assert desk.tree()["current"] == [0, 0]
    desk.until(f"{PICTURE} === '{before}'")


def test_two_takes_play_side_by_side_and_one_is_kept(desk: Any) -> None:
    desk.begin().make("The fox waves.")
    desk.choose(1, "Try again")
    expect(desk.page.locator("[data-take='0.1']")).to_have_count(1)
    desk.choose(1, "Compare takes")
    expect(desk.page.locator(".pair video")).to_have_count(2)
    desk.until("[...document.querySelectorAll('.pair video')].every((video) => video.currentTime > 0)")
    first, second = desk.page.evaluate(PAIR)
    assert first != second
    desk.page.get_by_role("button", name="Go to this take: Shot 1, take 1").click()
    expect(desk.page.locator("[data-take='0.0']")).to_have_count(1)
    assert desk.tree()["current"] == [0]
