"""The page's pure modules, in the browser that they are for."""

import itertools
from typing import Any

import pytest

from shotstream.serve.packets import FrameKey, FramePacket

PLAYOUT = """async () => {
  const { Playout } = await import("/web/playout.js");
  const playout = new Playout(10);
  const taken = [];
  const at = (ms) => { const frame = playout.take(ms); if (frame) taken.push([ms, frame.n]); };
  const push = (...numbers) => numbers.forEach((n) => playout.push({ n }));
  %s
  return taken;
}"""


def play(desk: Any, script: str) -> list[list[int]]:
    """When which frame left a playout of 10 frames a second, which begins with 4."""
    return list(desk.come().page.evaluate(PLAYOUT % script))


def test_playback_begins_with_some_frames_and_keeps_its_pace(desk: Any) -> None:
    script = "push(0, 1, 2); at(0); push(3); for (let ms = 50; ms < 500; ms += 30) at(ms);"
    assert play(desk, script) == [[50, 0], [170, 1], [260, 2], [350, 3]]


@pytest.mark.parametrize("every_ms", [1000 / 60, 1000 / 144, 40])
def test_the_pace_is_kept_whatever_the_screen_does(desk: Any, every_ms: float) -> None:
    script = """let n = 0;
      for (let tick = 0; tick * EVERY < 11000; tick++) {
        const ms = tick * EVERY + (tick % 7 === 3 ? 6 : 0);
        if (n < 96 && ms >= 75 * n) for (let end = n + 12; n < end; n++) push(n);
        at(ms);
      }"""
    shown = play(desk, script.replace("EVERY", str(every_ms)))
    assert [number for _, number in shown] == list(range(96))
    assert abs(1000 * 95 / (shown[-1][0] - shown[0][0]) - 10) < 0.1
    assert max(later - sooner for (sooner, _), (later, _) in itertools.pairwise(shown)) < 100 + every_ms + 6.1


def test_playback_that_ran_dry_waits_until_there_is_some_again(desk: Any) -> None:
    dry = "push(0, 1, 2, 3); [0, 100, 200, 300, 400].forEach(at);"
    refilled = "push(4, 5, 6); at(500); push(7); [510, 610].forEach(at);"
    assert play(desk, dry + refilled)[4:] == [[510, 4], [610, 5]]


def test_the_end_is_played_however_little_it_is(desk: Any) -> None:
    assert play(desk, "playout.expect(false); push(0, 1); [5, 105].forEach(at);") == [[5, 0], [105, 1]]


def test_after_a_flush_the_next_frame_shows_at_once(desk: Any) -> None:
    script = "push(0, 1, 2, 3, 4); at(0); playout.flush(); at(100); push(9); at(130);"
    assert play(desk, script) == [[0, 0], [130, 9]]


def test_a_short_delay_is_caught_up_and_a_long_one_is_not(desk: Any) -> None:
    script = "push(0, 1, 2, 3, 4, 5, 6); [0, 250, 260, 270, 300, 900, 910, 1000].forEach(at);"
    assert play(desk, script) == [[0, 0], [250, 1], [260, 2], [300, 3], [900, 4], [1000, 5]]


def test_a_page_that_was_out_of_sight_comes_back_to_the_present(desk: Any) -> None:
    assert play(desk, "for (let n = 0; n < 50; n++) push(n); playout.toPresent(); at(0);") == [[0, 46]]


def test_a_packet_is_read_as_it_was_packed(desk: Any) -> None:
    data = FramePacket("00112233aabbccdd", FrameKey(3, 2**31 - 1, 80), 123_456, b"jpeg").packed
    script = """async (bytes) => {
      const { readPacket } = await import("/web/packet.js");
      const frame = readPacket(new Uint8Array(bytes).buffer);
      return [frame.shot, frame.take, frame.frame, frame.timeMs, ...frame.bytes];
    }"""
    assert desk.come().page.evaluate(script, list(data)) == [3, 2**31 - 1, 80, 123_456, *b"jpeg"]


def test_other_bytes_are_no_packet(desk: Any) -> None:
    script = """async () => {
      const { readPacket } = await import("/web/packet.js");
      try { readPacket(new ArrayBuffer(40)); } catch (error) { return error.name; }
    }"""
    assert desk.come().page.evaluate(script) == "RangeError"
