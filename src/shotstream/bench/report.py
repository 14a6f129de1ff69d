"""A measurement as one page that needs nothing else: figures, pictures, the machine, and how to measure it again."""

from collections.abc import Iterator
from html import escape

from shotstream.bench.bench import BenchReport
from shotstream.bench.charts import gap_bars, roofline_chart, si, span_bar
from shotstream.bench.timing import Spread
from shotstream.core.spec import FPS

STYLE = """
:root { color-scheme: light dark; --page: #f6f5f1; --ink: #1d2126; --soft: #646a73; --line: #d9d7cf; --roof: #1d2126;
  --text: #3d8a5a; --prefill: #86a7d6; --denoise: #2f5fa8; --commit: #5a86c4; --context: #e0a458; --decode: #c7702e;
  --transfer: #ecc794; --history: #9a9aa6; --other: #c6c6cc; --limit: #b3261e; --on: #fff; }
@media (prefers-color-scheme: dark) { :root { --page: #15171a; --ink: #eceae4; --soft: #9aa0a8; --line: #2e3238;
  --roof: #eceae4; --text: #69b788; --prefill: #54729f; --denoise: #7fa9e8; --commit: #5c84bf; --context: #b98238;
  --decode: #e7955a; --transfer: #7d6440; --history: #6c6f7a; --other: #474b52; --limit: #f2857d; --on: #15171a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 56rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { margin: 0; font-size: 1.1rem; font-weight: 600; }
h2 { margin: 3rem 0 .35rem; font-size: 1.1rem; font-weight: 600; }
p { margin: .2rem 0 1rem; color: var(--soft); max-width: 44rem; }
.speed { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 .75rem; margin: 1.5rem 0 .5rem; }
.speed b { font-size: clamp(3.5rem, 12vw, 5.5rem); font-weight: 650; line-height: 1; letter-spacing: -.03em; }
.speed span { color: var(--soft); }
p.lossy { color: var(--limit); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem 1.5rem;
  margin: 1.25rem 0 0; }
dt { color: var(--soft); font-size: .85rem; }
dd { margin: 0; font-size: 1.15rem; font-weight: 600; }
dd small { display: block; font-size: .8rem; font-weight: 400; color: var(--soft); }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 13px; fill: var(--ink); }
.bar text { fill: var(--on); text-anchor: middle; dominant-baseline: central; font-size: 12px; }
.grid { stroke: var(--line); }
svg .tick, svg .axis { fill: var(--soft); font-size: 12px; }
svg .axis { text-anchor: middle; }
polyline.roof { fill: none; stroke: var(--roof); stroke-width: 2; }
.roofline .part text { dominant-baseline: central; }
.roofline .part tspan { fill: var(--soft); }
.gap { fill: var(--denoise); }
.value { text-anchor: middle; }
svg .inside { fill: var(--on); }
.limit { stroke: var(--limit); stroke-width: 1.5; stroke-dasharray: 5 4; }
.scroll { overflow-x: auto; }
.scroll svg { min-width: 34rem; }
.machine dd { font-size: .95rem; font-weight: 500; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; margin-top: 1rem; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 500; color: var(--soft); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td i { display: inline-block; width: .7em; height: .7em; margin-right: .55em; border-radius: 2px; }
pre { margin: .5rem 0 0; padding: .8rem 1rem; border: 1px solid var(--line); border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .85rem; }
"""
PARTS = ("text", "context", "prefill", "denoise", "commit", "decode", "transfer", "history", "other")
COLOURS = "".join(
    f".part.{part} rect, .part.{part} circle, i.{part} {{ fill: var(--{part}); background: var(--{part}); }}"
    f".part.{part} line {{ stroke: var(--{part}); }}"
    for part in PARTS
)


def page(report: BenchReport, command: str) -> str:
    """The page of a measurement that was made with a command."""
    subject, shot = report.subject, report.breakdown
    title = f"{escape(subject.name)} at {subject.video.width}x{subject.video.height}"
    gaps = report.chunk_gap_s
    sections = [
        f"<h1>{title}, {escape(subject.dtype)}, {escape(report.machine.gpu or report.machine.processor)}</h1>",
        _head(report),
        "<h2>Where the time of a shot goes</h2><p>One more shot, with the device waited for at every step. The floor "
        "of a part is its arithmetic and its memory traffic at the best speed that this device was measured at.</p>",
        span_bar(shot),
        _table(report),
        "<h2>Roofline</h2><p>The line is what the device reached: "
        f"{si(report.roofline.flop_per_s, 'FLOP/s')} in a matrix product of {report.roofline.side}, "
        f"{si(report.roofline.bytes_per_s, 'B/s')} in a copy. Beside each part, how "
        "much of its floor it reaches.</p>",
        f'<div class="scroll">{roofline_chart(shot, report.roofline)}</div>',
        *([] if gaps is None else _gaps(report)),
        "<h2>How to measure this again</h2>",
        _machine(report),
        f"<pre>{escape(command)}</pre>",
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}{COLOURS}</style></head>\n<body>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def _head(report: BenchReport) -> str:
    shot, fps = report.breakdown, report.fps
    figures = [
        ("With a full window", _spread(report.full_window_fps, "FPS", digits=1)),
        ("Without VAE and transfer", _fps(shot.fps_without_vae, shot.full_window_fps_without_vae)),
        ("At this device's floor", _fps(shot.floor.fps, shot.floor.full_window_fps)),
        ("First frames", _spread(report.first_frames_s, "s", digits=3)),
        (f"Stalls at {FPS} FPS", f"{report.viewing.stalls}<small>{report.viewing.stalled_s:.2f} s in all</small>"),
    ]
    if (gap := report.chunk_gap_s) is not None:
        worst = f"p99 over p50: {gap.p99_over_p50:.2f}"
        figures.append(("Wait for a chunk, p50", f"{gap.p50:.3g} s<small>{worst}</small>"))
    plan = report.plan
    return (
        f'<div class="speed"><b>{fps.median:.1f}</b><span>frames a second, {report.real_time_factor:.2f} times real '
        f"time</span></div><p>{plan.shots} whole shots of {plan.chunks} chunks after {plan.warmup} to warm up "
        f"({fps.min:.1f} to {fps.max:.1f}), everything counted: text, context, clean passes, decoding, writing the "
        f"history.</p>{_lossy(report)}<dl>{''.join(_figure(name, value) for name, value in figures if value)}</dl>"
    )


def _lossy(report: BenchReport) -> str:
    return f'<p class="lossy">Lossy: {escape("; ".join(report.lossy))}.</p>' if report.lossy else ""


def _spread(spread: Spread | None, unit: str, digits: int) -> str:
    if spread is None:
        return ""
    median, low, high = (f"{value:.{digits}f}" for value in (spread.median, spread.min, spread.max))
    return f"{median} {unit}<small>{low} to {high}</small>"


def _fps(whole: float, full_window: float | None) -> str:
    return f"{whole:.1f} FPS" + ("" if full_window is None else f"<small>{full_window:.1f} with a full window</small>")


def _figure(name: str, value: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>"


def _table(report: BenchReport) -> str:
    head = "".join(
        f"<th>{name}</th>" for name in ("part", "seconds", "share", "work", "speed", "floor", "of the floor")
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(_rows(report))}</table></div>'


def _rows(report: BenchReport) -> Iterator[str]:
    shot = report.breakdown
    for name, part in shot.parts.items():
        cells = [si(part.work.flop, "FLOP"), si(part.flop_per_s, "FLOP/s"), f"{part.floor_s:.3g} s"]
        efficiency = "" if part.efficiency is None else f"{part.efficiency:.0%}"
        yield _row(name, part.seconds, shot.total_s, [*(cells if part.work.flop else [""] * 3), efficiency])
    yield _row("other", shot.other_s, shot.total_s, [""] * 4)
    yield _row("whole", shot.total_s, shot.total_s, [""] * 4)


def _row(name: str, seconds: float, total_s: float, cells: list[str]) -> str:
    values = [f"{seconds:.3f}", f"{seconds / total_s:.1%}", *cells]
    return f'<tr><td><i class="{name}"></i>{name}</td>' + "".join(f"<td>{value}</td>" for value in values) + "</tr>"


def _gaps(report: BenchReport) -> Iterator[str]:
    assert report.chunk_gap_s is not None, "asked for only where there are gaps"
    yield "<h2>The wait for each chunk</h2><p>Later chunks see more of the shot. Above the line a viewer waits.</p>"
    yield f'<div class="scroll">{gap_bars(report.chunk_gap_s, report.shots[0].frames[-1])}</div>'


def _machine(report: BenchReport) -> str:
    machine, memory = report.machine, report.memory
    peaks = (("resident", memory.peak_resident_bytes), ("on the device", memory.peak_device_bytes))
    figures = [
        ("Processor", f"{escape(machine.processor)}<small>{machine.threads} of {machine.cores} cores</small>"),
        ("Accelerator", escape(machine.gpu or "none")),
        ("System", escape(machine.system)),
        (
            "Versions",
            f"torch {escape(machine.torch)}<small>Python {machine.python}, shotstream {machine.shotstream}</small>",
        ),
        *((f"Peak memory, {name}", f"{peak / 2**20:.0f} MiB") for name, peak in peaks if peak is not None),
        ("Model", escape(report.subject.source)),
        ("Attention", escape(report.subject.attention)),
    ]
    return f'<dl class="machine">{"".join(_figure(name, value) for name, value in figures)}</dl>'
