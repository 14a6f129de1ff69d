"""Policies timed side by side on a tiny model: one table, at several lengths of a story."""

import json
from pathlib import Path

import pytest
import torch

from shotstream.bench.machine import watch_peak
from shotstream.bench.policies import time_policies
from shotstream.cli import main
from shotstream.weights.build import random_components
from tiny import live_model


@pytest.mark.slow
def test_policies_are_timed_at_every_length_and_what_cannot_be_made_is_named() -> None:
    refused: dict[str, str] = {}
    parts = random_components(live_model(text_len=240))
    timings = list(time_policies(parts, ("longlive", "echoshot", "full"), (1, 5), 1, refused=refused.__setitem__))
    assert [(timing.policy, timing.shots) for timing in timings] == [
        ("longlive", 1),
        ("longlive", 5),
        ("echoshot", 1),
        ("echoshot", 5),
        ("full", 1),
    ]
    assert refused.keys() == {"full"}
    assert refused["full"].startswith("policy full describes all shots in one text of at most 240 tokens, got ")
    assert [timing.frames for timing in timings[:2]] == [9, 9 + 4 * 12]
    assert all(timing.fps > 0 and timing.first_frame_s > 0 and timing.growth > 0 for timing in timings)
    assert [timing.cache_bytes > 0 for timing in timings] == [True] * 2 + [False] * 3


@pytest.mark.slow
def test_full_windows_are_those_of_shots_of_full_length() -> None:
    parts = random_components(live_model())
    timings = list(time_policies(parts, ("shotstream", "mask2dit"), (2,), 7))
    assert [timing.full_window_fps is not None for timing in timings] == [True, False]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone restarts its count")
def test_the_peak_is_of_what_came_after_the_watch() -> None:
    megabyte = 2**20
    before = torch.ones(64 * megabyte, dtype=torch.uint8)
    peak = watch_peak(torch.device("cpu"))
    inside = torch.ones(32 * megabyte, dtype=torch.uint8)
    del inside
    found = peak()
    assert found is not None
    assert 30 * megabyte < found < 60 * megabyte
    assert len(before)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux alone restarts its count")
def test_memory_that_was_used_before_counts_again() -> None:
    def use() -> None:
        blocks = [torch.ones(2**16, dtype=torch.uint8) for _ in range(512)]
        assert len(blocks) == 512

    use()
    peak = watch_peak(torch.device("cpu"))
    use()
    found = peak()
    assert found is not None
    assert found > 24 * 2**20


def test_growth_is_a_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "speed.json"
    words = ["--random-weights", "--model", "tiny", "--policies", "self_forcing", "--growth", "1,3", "--chunks", "1"]
    assert main(["bench", *words, "--json", str(file)]) == 0
    found = json.loads(file.read_text())["policies"]
    assert [(row["policy"], row["shots"]) for row in found] == [("self_forcing", 1), ("self_forcing", 3)]
    assert "self_forcing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--growth", "1,2"], "expected --growth beside --policies, got it alone; name policies, or all"),
        (["--policies", "all", "--growth", "1,x"], "expected --growth as numbers of shots such as 1,5,20, got '1,x'"),
        (["--policies", "all", "--growth", "0"], "expected --growth as numbers of shots such as 1,5,20, got '0'"),
        (
            ["--policies", "all", "--steps", "1"],
            "expected --policies without --policy, --steps and --sampler, which each policy has its own of; leave them "
            "out",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["bench", "--random-weights", "--model", "tiny", *words]) == 2
    assert capsys.readouterr().err == f"shotstream: {message}\n"
