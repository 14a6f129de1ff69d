"""Render a measurement as one self-contained HTML page."""

from typing import get_args

from markupsafe import Markup

from shotstream.bench.bench import BenchReport
from shotstream.bench.charts import gap_bars, roofline_chart, si, span_bar
from shotstream.core.html import render_html
from shotstream.core.profiling import Span
from shotstream.core.spec import FPS


def page(report: BenchReport, command: str) -> str:
    """Return the HTML page of a measurement; `command` is shown as the way to repeat it."""
    subject, gaps = report.subject, report.chunk_gap_s
    return render_html(
        "bench/report.html.jinja",
        report=report,
        shot=report.breakdown,
        gaps=gaps,
        command=command,
        title=f"{subject.name} at {subject.video.width}x{subject.video.height}",
        spans=(*get_args(Span), "other"),
        shown_fps=FPS,
        si=si,
        span_bar=Markup(span_bar(report.breakdown)),
        roofline=Markup(roofline_chart(report.breakdown, report.roofline)),
        gap_bars=Markup(gap_bars(gaps, report.shots[0].frames[-1])) if gaps else "",
    )
