"""The page of a measurement: it stands alone, shows what was measured, and its pictures are drawn to scale."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from shotstream.bench.bench import BenchPlan, BenchReport, Memory, NetworkSize, Subject
from shotstream.bench.charts import gap_bars, roofline_chart, si, span_bar
from shotstream.bench.flops import OpCost
from shotstream.bench.machine import Machine
from shotstream.bench.report import page
from shotstream.bench.roofline import Floor, Roofline, ShotBreakdown, SpanCost
from shotstream.bench.timing import Percentiles, ShotTiming, Spread, Viewing
from shotstream.cli import main
from shotstream.core.profiling import Span
from shotstream.core.spec import VideoSize
from shotstream.model.config import SamplerConfig

ROOFLINE = Roofline(8192, 790e12, 4.3e12)
SHOT = ShotTiming((1.0, 2.0, 4.0), (9, 12, 12), 5.0)
PARTS: dict[Span, SpanCost] = {
    "text": SpanCost.of(0.5, OpCost(20 * 10**12, 10**11), ROOFLINE),
    "denoise": SpanCost.of(2.5, OpCost(10**15, 10**12), ROOFLINE),
    "commit": SpanCost.of(0.5, OpCost(2 * 10**14, 2 * 10**11), ROOFLINE),
    "transfer": SpanCost.of(1.0, OpCost(), ROOFLINE),
}
BREAKDOWN = ShotBreakdown(PARTS, 0.5, 5.0, 8.0, 9.0, Floor(30.0, 25.0))
REPORT = BenchReport(
    subject=Subject(
        "a <model>",
        "a & b",
        VideoSize(480, 832),
        SamplerConfig(),
        "cuda:0",
        "cpu",
        "bfloat16",
        {"x": NetworkSize(1, 2)},
    ),
    machine=Machine("a processor", 16, 8, "a card", "Linux", "3.11", "2.11", "0.1"),
    plan=BenchPlan(shots=2, chunks=3),
    load_s=1.0,
    warmup=(SHOT,),
    shots=(SHOT, SHOT),
    fps=Spread(6.6, 6.5, 6.7),
    steady_fps=Spread(8.0, 8.0, 8.0),
    full_window_fps=None,
    first_frames_s=Spread(1.0, 0.9, 1.1),
    chunk_gap_s=Percentiles.of([SHOT]),
    real_time_factor=0.41,
    viewing=Viewing(2, 1.5),
    roofline=ROOFLINE,
    breakdown=BREAKDOWN,
    memory=Memory(2**30, None),
)


def texts(svg: str, kind: str) -> list[str]:
    root = ET.fromstring(svg)
    return ["".join(found.itertext()) for found in root.iter("text") if kind in found.get("class", "").split()]


def test_numbers_have_three_digits_and_a_prefix() -> None:
    found = [si(value, "FLOP/s") for value in (0, 0.5, 12, 1234, 7.9e14, 1e21)]
    assert found == ["0 FLOP/s", "0.5 FLOP/s", "12 FLOP/s", "1.23 kFLOP/s", "790 TFLOP/s", "1e+03 EFLOP/s"]


def test_the_bar_is_the_whole_shot() -> None:
    bars = list(ET.fromstring(span_bar(BREAKDOWN)).iter("rect"))
    assert [float(bar.get("x", "")) for bar in bars] == [0, 76, 456, 532, 684], "of 760, as the seconds are of 5"
    assert float(bars[-1].get("x", "")) + float(bars[-1].get("width", "")) == 759


def test_dots_lie_as_far_below_the_roof_as_their_speed() -> None:
    root = ET.fromstring(roofline_chart(BREAKDOWN, ROOFLINE))
    dots = {g.get("class"): g.find("circle") for g in root.iter("g")}
    assert list(dots) == ["part text", "part denoise", "part commit"], "a part without arithmetic has no place"
    line = root.find("polyline")
    assert line is not None
    (foot_x, foot_y), (ridge_x, ridge_y), (end_x, end_y) = (
        tuple(map(float, corner.split(","))) for corner in line.get("points", "").split()
    )
    assert ridge_y == end_y < foot_y
    assert foot_x < ridge_x < end_x
    down = [float(dot.get("cy", "")) for dot in dots.values() if dot is not None]
    assert down[1] == down[2] > ridge_y, "the same speed, 40 and 400 TFLOP/s below 790"
    assert down[0] > down[1]


def test_labels_do_not_cover_each_other() -> None:
    root = ET.fromstring(roofline_chart(BREAKDOWN, ROOFLINE))
    labels = [(float(text.get("x", "")), float(text.get("y", ""))) for g in root.iter("g") for text in g.iter("text")]
    denoise, commit = labels[1:]
    assert abs(denoise[1] - commit[1]) > 15, "their dots are in the same place"


def test_gaps_are_held_against_what_is_shown() -> None:
    gaps = Percentiles.of([SHOT])
    assert gaps is not None
    svg = gap_bars(gaps, 12)
    assert texts(svg, "value") == ["1 s", "2 s"]
    assert "0.75 s shown" in texts(svg, "tick")
    lower, higher = (float(bar.get("height", "")) for bar in ET.fromstring(svg).iter("rect"))
    assert higher == pytest.approx(2 * lower, abs=0.2)
    short = Percentiles.of([replace(SHOT, arrivals_s=(1.0, 1.01, 1.02))])
    assert short is not None
    assert texts(gap_bars(short, 12), "inside") == [], "where a bar is too low its value stands above it"


class Seen(HTMLParser):
    """What a page asks a browser to fetch, and whether every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str | None] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_stands_alone_and_says_everything() -> None:
    made = page(REPORT, "shotstream bench --model 'a b'")
    seen = Seen()
    seen.feed(made)
    assert (seen.links, seen.open) == ([], [])
    assert not re.search(r"url\(|@import|<script|https?:", made)
    for words in (
        "a &lt;model&gt;",
        "a &amp; b",
        "6.6",
        "790 TFLOP/s",
        "a card",
        "1 PFLOP",
        "400 TFLOP/s",
        "prefers-color",
    ):
        assert words in made
    assert "--model &#39;a b&#39;</pre>" in made
    assert "With a full window" not in made, "these shots are too short for one"


def test_a_shot_of_one_chunk_has_no_picture_of_gaps() -> None:
    assert "The wait for each chunk" in page(REPORT, "")
    assert "The wait for each chunk" not in page(replace(REPORT, chunk_gap_s=None), "")


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    words = [
        "bench",
        "--model",
        "tiny",
        "--random-weights",
        "--device",
        "cpu",
        "--shots",
        "1",
        "--chunks",
        "2",
        "--warmup",
        "0",
    ]
    assert main([*words, "--html", str(tmp_path / "speed.html")]) == 0
    made = (tmp_path / "speed.html").read_text()
    assert made.startswith("<!doctype html>")
    assert made.count("<svg") == 3
    assert main([*words, "--html", str(tmp_path / "missing" / "speed.html")]) == 2
