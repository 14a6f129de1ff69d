"""The bench: figures worked out by hand, a clock that adds up, and a report of a tiny model through the command."""

import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import torch

from shotstream.bench.bench import SHAPES, BenchPlan, open_subject, read_captions
from shotstream.bench.flops import OpCost, ShotCost
from shotstream.bench.machine import processor_name
from shotstream.bench.roofline import Roofline, ShotBreakdown, fastest_run_s, measure_roofline
from shotstream.bench.timing import Percentiles, ShotTiming, Spread, Viewing
from shotstream.cli import main
from shotstream.core.errors import InputError
from shotstream.core.profiling import Span, SpanProfiler, no_profiler
from shotstream.engine.story import Story
from shotstream.model.config import SamplerConfig
from shotstream.model.transformer import Transformer
from shotstream.weights.build import random_components

SHOT = ShotTiming(arrivals_s=(1.0, 2.0, 4.0), frames=(9, 12, 12), total_s=5.0)


def test_figures_of_a_shot_worked_out_by_hand() -> None:
    assert SHOT.fps == 33 / 5
    assert SHOT.steady_fps == 24 / 3
    assert SHOT.first_frames_s == 1.0
    assert SHOT.gaps_s == (1.0, 2.0)


def test_a_shot_of_one_chunk_has_nothing_steady() -> None:
    single = ShotTiming((0.5,), (9,), 1.0)
    assert single.fps == 9
    assert single.steady_fps is None
    assert Percentiles.of([single, single]) is None


def test_spread_and_percentiles() -> None:
    assert Spread.of([3.0, 1.0, 8.0]) == Spread(3.0, 1.0, 8.0)
    assert Spread.of([]) is None
    slower = ShotTiming((1.0, 3.0, 7.0), (9, 12, 12), 8.0)
    gaps = Percentiles.of([SHOT, slower])
    assert gaps is not None
    assert gaps.p50 == 2.0
    assert gaps.p50 < gaps.p95 < gaps.p99 < 4.0
    assert gaps.p99_over_p50 == gaps.p99 / 2.0
    assert gaps.by_chunk == (1.5, 3.0)


def test_only_a_shot_of_full_length_has_a_full_window() -> None:
    assert SHOT.full_window_fps is None
    full = ShotTiming((1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0), (9, *[12] * 6), 9.0)
    assert full.full_window_fps == 12 / 2.0


def test_a_viewer_waits_for_what_is_late() -> None:
    in_time = ShotTiming((1.0, 1.5), (16, 16), 1.5)  # shown from 1 to 3 s
    late = ShotTiming((2.0, 4.0), (16, 16), 4.0)  # asked for at 1.5: there at 3.5 and 5.5 s
    assert Viewing.of([in_time], fps=16) == Viewing(0, 0.0)
    assert Viewing.of([in_time, late], fps=16) == Viewing(2, 0.5 + 1.0)


def test_a_clock_adds_up_while_it_runs() -> None:
    waits: list[str] = []
    clock = SpanProfiler(lambda: waits.append("device"))
    for _ in range(2):
        with clock("decode"):
            time.sleep(0.01)
    clock.running = False
    with clock("commit"):
        pass
    assert set(clock.seconds) == {"decode"}
    assert clock.seconds["decode"] >= 0.02
    assert len(waits) == 4


def test_parts_do_not_contain_each_other_and_a_failure_ends_one() -> None:
    clock = SpanProfiler()
    with clock("text"), pytest.raises(AssertionError, match="'context' inside"), clock("context"):
        pass
    with pytest.raises(ValueError, match="broken"), clock("denoise"):
        raise ValueError("broken")
    with clock("denoise"):
        pass
    with no_profiler("text"), no_profiler("context"):
        pass


WORK = ShotCost(
    begin={("text", "linear"): OpCost(100, 1), ("context", "convolution"): OpCost(200, 1)},
    chunks=(
        {
            ("denoise", "linear"): OpCost(300, 1),
            ("denoise", "attention"): OpCost(100, 1000),
            ("decode", "linear"): OpCost(9, 9),
        },
        *[
            {
                ("commit", "linear"): OpCost(50, 1),
                ("denoise", "linear"): OpCost(200, 1),
                ("decode", "linear"): OpCost(9, 9),
            }
        ]
        * 6,
    ),
)
ROOFLINE = Roofline(side=1, flop_per_s=100.0, bytes_per_s=10.0)
FULL = ShotTiming(tuple(float(second) for second in range(10, 17)), (9, *[12] * 6), 100.0)
CALLS: dict[Span, list[float]] = {
    "text": [2.0],
    "context": [4.0],
    "denoise": [3.0] * 6 + [5.0],
    "commit": [1.0] * 6,
    "decode": [1.0] * 7,
    "transfer": [0.5] * 7,
}


def test_a_part_is_held_against_the_roof_that_limits_it() -> None:
    assert ROOFLINE.floor_s(OpCost(flop=200, bytes=10)) == 2.0, "arithmetic"
    assert ROOFLINE.floor_s(OpCost(flop=200, bytes=30)) == 3.0, "memory"
    shot = ShotBreakdown.of(FULL, CALLS, WORK, ROOFLINE, windowed=True)
    text, transfer, commit = (shot.parts[part] for part in ("text", "transfer", "commit"))
    assert (text.seconds, text.flop_per_s, text.floor_s, text.efficiency) == (2.0, 50.0, 1.0, 0.5)
    assert (transfer.seconds, transfer.flop_per_s, transfer.efficiency) == (3.5, 0.0, None)
    assert (commit.seconds, commit.work) == (6.0, OpCost(300, 6))
    assert shot.other_s == 100 - (2 + 4 + 23 + 6 + 7 + 3.5)


def test_speeds_of_a_dissected_shot_worked_out_by_hand() -> None:
    shot = ShotBreakdown.of(FULL, CALLS, WORK, ROOFLINE, windowed=True)
    assert shot.fps_without_vae == 81 / (100 - 4 - 7 - 3.5)
    assert shot.full_window_fps_without_vae == 12 / (1.0 + 5.0)
    denoise_s, decode_s = 1007 / 10, 63 / 10
    assert shot.floor.fps == pytest.approx(81 / (1 + 2 + denoise_s + 3 + decode_s))
    assert shot.floor.full_window_fps == pytest.approx(12 / (0.5 + 2 + 0.9))
    whole = ShotBreakdown.of(FULL, CALLS, WORK, ROOFLINE, windowed=False)
    assert (whole.full_window_fps_without_vae, whole.floor.full_window_fps) == (None, None)


def test_a_probe_takes_the_best_run() -> None:
    waits = iter([0.02, 0.03, 0.01, 0.03])
    assert 0.01 <= fastest_run_s(lambda: time.sleep(next(waits, 0.03)), torch.device("cpu"), 0.06) < 0.02
    found = measure_roofline(torch.device("cpu"), torch.float32, seconds=0.0)
    assert found.flop_per_s > 1e9
    assert found.bytes_per_s > 1e8


def test_the_captions_that_are_counted_are_those_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = random_components(replace(SHAPES["tiny"], sampler=SamplerConfig(steps=(1000.0,))))
    encode, read_text = parts.text_encoder.encode, parts.transformer.project_text
    encoded: list[str] = []
    read: list[int] = []
    monkeypatch.setattr(parts.text_encoder, "encode", lambda captions: encoded.extend(captions) or encode(captions))
    monkeypatch.setattr(parts.transformer, "project_text", lambda text: read.append(text.shape[1]) or read_text(text))
    with Story(parts, "G. ") as story:
        for caption in ("a", "b", "c"):
            expected = read_captions(parts, story, "G. ", caption)
            read.clear()
            list(story.shot(caption, 1))
            assert (encoded[-1], sum(read)) == (expected[-1], max(2, len(expected))), (
                "a first context reads the shot's own"
            )
    assert expected == encoded == ["G. shot0:a", "G. shot1:b", "G. shot2:c"], "each is encoded once"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 0}, "at least one shot"),
        ({"chunks": 0}, "at least 1 chunk"),
        ({"warmup": -1}, "0 or more shots"),
    ],
)
def test_plans_that_measure_nothing_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BenchPlan(**options)


def test_a_shape_that_is_unknown_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"did you mean 'wan-1\.3b'"):
        open_subject("wan-1.3", torch.device("cpu"), torch.float32, random_weights=True)


def test_the_full_size_shape_is_the_published_one() -> None:
    with torch.device("meta"):
        transformer = Transformer(SHAPES["wan-1.3b"].transformer)
    assert round(sum(p.numel() for p in transformer.parameters()) / 1e9, 3) == 1.419
    size = SHAPES["wan-1.3b"].video
    assert (size.width, size.height, size.tokens_per_latent) == (832, 480, 1560)


def test_the_processor_has_a_name(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A Fast One @ 3 GHz\n")
    assert processor_name(info) == "A Fast One @ 3 GHz"
    assert processor_name(tmp_path / "none")


def bench(path: Path, *options: str) -> int:
    words = ["bench", "--model", "tiny", "--random-weights", "--device", "cpu", "--dtype", "float32"]
    return main([*words, "--json", str(path), *options])


def test_the_command_measures_and_writes_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bench.json"
    monkeypatch.setattr("sys.argv", ["/usr/bin/shotstream", "bench", "--shots", "2"])
    assert bench(path, "--shots", "2", "--chunks", "3", "--warmup", "1", "--threads", "1") == 0
    shown = capsys.readouterr().out
    for words in ("whole shot, FPS", "time to first frames", "warm-up", "denoise", "random weights"):
        assert words in shown
    report = json.loads(path.read_text())
    assert report["command"] == "shotstream bench --shots 2"
    assert report["machine"]["threads"] == 1
    assert report["subject"]["dtype"] == "float32"
    assert report["subject"]["attention"] == "torch"
    assert report["subject"]["networks"]["codec"]["bytes"] == 4 * report["subject"]["networks"]["codec"]["parameters"]
    assert [len(report[name]) for name in ("warmup", "shots")] == [1, 2]
    for shot in report["shots"]:
        assert shot["frames"] == [9, 12, 12]
        assert all(a < b for a, b in pairwise([0.0, *shot["arrivals_s"], shot["total_s"]]))
    speeds = [33 / shot["total_s"] for shot in report["shots"]]
    assert (report["fps"]["min"], report["fps"]["max"]) == (min(speeds), max(speeds))
    assert report["real_time_factor"] == report["fps"]["median"] / 16
    shot = report["breakdown"]
    assert set(shot["parts"]) == set(get_args(Span))
    assert all(part["seconds"] > 0 for part in shot["parts"].values()), "every part of a later shot was timed"
    assert 0 <= shot["other_s"] < shot["total_s"], "parts are not counted twice"
    for part in ("text", "context", "prefill", "denoise", "commit", "decode"):
        figures = shot["parts"][part]
        assert figures["flop_per_s"] == figures["work"]["flop"] / figures["seconds"]
        assert figures["efficiency"] == figures["floor_s"] / figures["seconds"]
    assert shot["floor"]["fps"] > report["fps"]["median"], "nothing is faster than the device"
    assert report["memory"]["peak_resident_bytes"] > 50 * 2**20
    assert report["memory"]["peak_device_bytes"] is None


def test_eight_bits_are_said_to_be_lossy_with_their_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shotstream.runtime.fp8.cuda_capability", lambda _: (8, 9))
    options = ("--dtype", "bfloat16", "--fp8", "--shots", "1", "--chunks", "1", "--warmup", "0")
    assert bench(tmp_path / "b.json", *options, "--html", str(tmp_path / "b.html")) == 0
    report = json.loads((tmp_path / "b.json").read_text())
    assert 0.001 < report["velocity_error"] < 0.1
    said = f"relative error {report['velocity_error']:.2%} of a first step"
    for shown in (capsys.readouterr().out, (tmp_path / "b.html").read_text()):
        assert "8-bit floats" in shown
        assert said in shown


def test_one_chunk_without_warm_up(tmp_path: Path) -> None:
    assert bench(tmp_path / "b.json", "--shots", "1", "--chunks", "1", "--warmup", "0") == 0
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["warmup"] == []
    assert [report[name] for name in ("steady_fps", "chunk_gap_s", "full_window_fps")] == [None, None, None]
    commit = report["breakdown"]["parts"]["commit"]
    assert (commit["seconds"], commit["work"]["flop"]) == (0, 0), "the last chunk's clean pass is never made"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--threads", "0"), "1 or more threads"),
        (("--shots", "0"), "at least one shot"),
        (("--dtype", "float8"), "float8"),
        (("--attention", "cudnn"), "'cudnn'; use auto or torch"),
        (("--device", "tpu"), "tpu"),
    ],
)
def test_bad_options_are_one_line(
    tmp_path: Path, options: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(tmp_path / "b.json", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "b.json").exists()


def test_an_unwritable_file_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(tmp_path / "missing" / "b.json") == 2
    assert "does not exist" in capsys.readouterr().err


def test_fewer_steps_are_said_to_be_lossy_with_their_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--steps", "1", "--shots", "1", "--chunks", "1", "--warmup", "0")
    assert bench(tmp_path / "b.json", *options) == 0
    report = json.loads((tmp_path / "b.json").read_text())
    assert report["chunk_error"] > 0.01
    shown = capsys.readouterr().out
    assert "1 of 2 steps" in shown
    assert f"relative error {report['chunk_error']:.2%} of a first chunk" in shown
