"""Simulated viewers see what a server really does."""

import json
from pathlib import Path

import pytest

from shotstream.cli import main
from shotstream.serve.load_test import play
from shotstream.serve.packets import FrameKey


def arrivals(*chunks: tuple[float, int]) -> list[tuple[float, FrameKey]]:
    """Frames that come together: (when, how many)."""
    times = [when for when, count in chunks for _ in range(count)]
    return [(when, FrameKey(0, 0, index)) for index, when in enumerate(times)]


def test_a_frame_that_comes_in_time_is_no_stall_and_a_late_one_is() -> None:
    smooth = play(arrivals((10.0, 9), (10.5, 12), (11.2, 12)), 33)
    assert (smooth.stalls, smooth.stalled_s, smooth.frames, smooth.lost) == (0, 0.0, 33, 0)
    assert smooth.fps == pytest.approx(32 / 1.2)
    late = play(arrivals((10.0, 9), (10.8125, 12)), 33)
    assert (late.stalls, late.lost) == (1, 12)
    assert late.stalled_s == pytest.approx(10.8125 - (10.0 + 9 / 16))
    slow_start = play(arrivals((10.0, 1), (10.4, 12)), 13)
    assert slow_start.stalls == 0, "shown only once half a second has come"


@pytest.mark.slow
def test_viewers_direct_and_watch_a_server_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = tmp_path / "seen.json"
    assert main(["load-test", "--viewers", "2", "--shots", "1", "--chunks", "3", "--json", str(where)]) == 0
    told = capsys.readouterr().out
    assert "steer to be seen" in told
    assert "fair share" in told
    assert "steers seen within 1 s: " in told
    seen = json.loads(where.read_text())
    assert len(seen["viewers"]) == 2
    for viewer in seen["viewers"]:
        assert (viewer["playback"]["frames"], viewer["playback"]["lost"]) == (33, 0)
        assert len(viewer["picture_s"]) == len(viewer["steer_s"]) == 1
    assert 0 < seen["picture_s"]["min"] <= seen["picture_s"]["max"]
    assert 0 < seen["fair_share"] <= 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["http://127.0.0.1:9"], "is a server there?"),
        (["foo"], "http://HOST:PORT"),
        (["ftp://host"], "http://HOST:PORT"),
        (["--viewers", "0"], "at least one viewer"),
        (["--chunks", "2"], "3 to 7 chunks"),
        (["--model", "nowhere"], "could not open its model"),
    ],
)
def test_what_cannot_be_load_tested_is_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["load-test", *words]) == 2
    assert says in capsys.readouterr().err
