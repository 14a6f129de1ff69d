"""Simulated viewers see what a server really does."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from shotstream.api import Model, with_policy
from shotstream.cli import main
from shotstream.serve.load_test import LoadTestPlan, frames_before, play, run_load_test
from shotstream.serve.packets import FrameKey
from shotstream.weights.build import random_components
from tiny import live_model


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


def test_a_steer_is_seen_after_the_frames_before_it_whatever_the_length_of_its_shot() -> None:
    came = [FrameKey(2, 1, frame) for frame in range(24)]
    assert frames_before(FrameKey(2, 1, 12), came) == 12
    assert frames_before(FrameKey(3, 0, 0), [*came, FrameKey(3, 0, 0)]) == 24


def test_viewers_of_a_policy_that_decodes_one_stream_lose_no_frame(listen: Any) -> None:
    streamed = Model(with_policy(random_components(live_model()), "self_forcing"))
    assert streamed.policy.decode == "video"
    with listen(streamed) as address:
        (viewer,) = asyncio.run(run_load_test(address, LoadTestPlan(shots=1))).viewers
    assert (viewer.playback.frames, viewer.playback.lost) == (36, 0)
    assert viewer.steer_s[0] > 0


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
        (["--chunks", "2"], "at least 3 chunks"),
        (["--model", "nowhere"], "could not open its model"),
    ],
)
def test_what_cannot_be_load_tested_is_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["load-test", *words]) == 2
    assert says in capsys.readouterr().err
