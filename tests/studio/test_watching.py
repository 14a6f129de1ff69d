"""Playback: its clock, a reload in the middle of a shot, a server that goes and comes back, a line of viewers."""

import itertools
from typing import Any

from playwright.sync_api import expect

SHOWN = "window.shown.length >= {}"
CATCH_UP_MS = 300
"""A first frame that is drawn late by at most this (`LATE_MS` of playout.js) is caught up with by those after it."""


def test_every_frame_is_shown_once_and_in_order(desk: Any) -> None:
    desk.begin().make("The fox waves.")
    desk.until(SHOWN.format(9))  # a new instruction would drop what is not shown yet
    desk.say("The fox walks left.", chunks=3)
    desk.until(SHOWN.format(9 + 33))
    assert desk.frames() == [(0, 0, frame) for frame in range(9)] + [(1, 0, frame) for frame in range(33)]
    times_ms = [time_ms for time_ms, *_ in desk.page.evaluate("window.shown")][9:]
    assert times_ms[-1] - times_ms[0] >= 1000 * 32 / 16 - CATCH_UP_MS, "never ahead of the story's pace"


def test_after_a_reload_the_shot_goes_on_where_it_was(desk: Any) -> None:
    desk.begin().say("The fox walks left.", chunks=40)
    desk.until(SHOWN.format(20))
    desk.page.reload()
    desk.until(SHOWN.format(30))
    (before,) = desk.page.evaluate("window.before.filter((value) => /^\\d+\\.\\d+\\.\\d+$/.test(value))")
    last = int(before.split(".")[2])
    assert [frame for _, _, frame in desk.frames()][:30] == list(range(last, last + 30)), "the last one is shown again"
    desk.page.keyboard.press("Escape")
    expect(desk.making).to_have_count(0)


def test_a_server_that_goes_and_comes_back_is_met_again(new_desk: Any, serve: Any) -> None:
    server = serve()
    desk = new_desk(server)
    desk.expected = ("ERR_CONNECTION_REFUSED", "503", "WebSocket")
    desk.begin().make("The fox waves.")
    server.stop()
    expect(desk.page.locator(".bar")).to_contain_text("trying again")
    server.again()
    expect(desk.page.locator(".bar")).to_be_hidden()
    desk.make("The fox jumps.")
    desk.until(SHOWN.format(18))
    assert desk.frames() == [(shot, 0, frame) for shot, frame in itertools.product((0, 1), range(9))]


def test_who_comes_to_a_full_server_waits_in_line(new_desk: Any, serve: Any) -> None:
    server = serve(sessions=1)
    first, second = new_desk(server), new_desk(server)
    first.begin()
    second.come()
    second.page.get_by_label("Who is it about, and where?").fill("A blue owl on a beach at dusk.")
    second.page.keyboard.press("Enter")
    expect(second.page.locator(".bar")).to_contain_text("You are number 1 in line")
    first.page.get_by_role("button", name="Stories").click()
    expect(second.page.locator(".bar")).to_be_hidden()
    second.make("The owl waves.")


def test_while_the_model_is_opened_the_page_says_so(desk: Any) -> None:
    answers = iter(['{"status": "opening", "version": "1"}'] * 2)

    def health(route: Any) -> None:
        body = next(answers, None)
        route.continue_() if body is None else route.fulfill(body=body, content_type="application/json")

    desk.page.route("**/api/health", health)
    desk.come()
    expect(desk.page.locator(".bar")).to_have_text("The model is being opened; a moment.")
    expect(desk.page.locator(".bar")).to_be_hidden()


def test_the_token_leaves_the_address_and_goes_with_every_call(new_desk: Any, locked_server: Any) -> None:
    desk = new_desk(locked_server)
    desk.come("/?token=a-long-secret")
    assert "token" not in desk.page.url
    desk.begin().make("The fox waves.")
    desk.until("document.querySelector('.shot img')?.naturalWidth === 128")
    desk.page.get_by_role("button", name="Replay shot 1").click()
    desk.until("document.querySelector('.replay video')?.currentTime > 0")


def test_a_tab_of_its_own_finds_the_token_again(new_desk: Any, locked_server: Any) -> None:
    desk = new_desk(locked_server)
    desk.come("/?token=a-long-secret").begin().make("The fox waves.")
    with desk.page.context.expect_page() as opened:
        desk.page.evaluate("open(location.href, '_blank', 'noopener')")
    expect(opened.value.locator(".shot:has(button.take)")).to_have_count(1)


def test_without_its_token_the_server_asks_for_it_and_the_story_opens(new_desk: Any, locked_server: Any) -> None:
    desk, stranger = new_desk(locked_server), new_desk(locked_server)
    desk.come("/?token=a-long-secret").begin().make("The fox waves.")
    stranger.expected = ("401",)
    stranger.come(f"/#{desk.story}")
    field, problem = stranger.page.get_by_role("textbox", name="Token"), stranger.page.get_by_role("alert")
    for token in ("wrong", "a-long-secret"):
        expect(field).to_have_value("")
        expect(field).to_be_focused()
        expect(problem).to_have_count(int(token != "wrong"))
        field.fill(token)
        field.press("Enter")
    expect(stranger.shots).to_have_count(1)
    stranger.page.evaluate("localStorage.setItem('shotstream-token', 'old')")
    stranger.page.reload()
    expect(problem).to_have_text("The token that this browser kept is not the server's any more.")
    stranger.page.get_by_role("button", name="Cancel").click()
    expect(stranger.status).to_have_text("This server needs its token. Reload the page to enter it.")


def test_after_a_reload_the_picture_is_there_before_the_next_chunk_is(desk: Any) -> None:
    desk.begin().say("The fox walks left.", chunks=60)
    desk.until(SHOWN.format(20))
    desk.page.reload()
    desk.until(SHOWN.format(1))
    colours = "new Set(new Uint32Array(document.querySelector('canvas.picture').getContext('2d')"
    colours += ".getImageData(0, 0, 128, 80).data.buffer)).size"
    assert desk.page.evaluate(colours) > 50
    desk.page.keyboard.press("Escape")
    expect(desk.making).to_have_count(0)


def test_who_joins_in_the_middle_of_a_shot_sees_a_picture_at_once(new_desk: Any) -> None:
    first, second = new_desk(), new_desk()
    first.begin().say("The fox walks left.", chunks=60)
    first.until(SHOWN.format(20))
    second.come(f"/#{first.story}")
    second.until(SHOWN.format(1))
    assert second.frames()[0][2] >= 8, "the last frame that was made"
    first.page.keyboard.press("Escape")
    expect(first.making).to_have_count(0)


def test_the_address_of_a_story_that_is_gone_says_so(desk: Any) -> None:
    desk.come("/#0123456789abcdef")
    expect(desk.status).to_have_text(
        "This story is not on the server: it was removed, or its address is mistyped. Choose another one."
    )
    expect(desk.page.get_by_label("Who is it about, and where?")).to_be_visible()
    desk.come("/#my-story")
    expect(desk.status).to_have_text("This address names no story. Choose one from the list.")
