"""Compare the scores of several models: a Markdown table with differences, and an SVG bar chart."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from shotstream.bench.charts import WIDTH, svg
from shotstream.core.errors import InputError
from shotstream.scores.intervals import Estimate, Share, in_points, paired_difference
from shotstream.scores.reports import ScoreReport, pool, same_stories

STYLE = """
svg { --ink: #1d2126; --soft: #5c636c; --line: #d0cec6; font: 13px system-ui, sans-serif; }
.s0 { --bar: #2f5fa8; } .s1 { --bar: #c7702e; } .s2 { --bar: #3d8a5a; }
.s3 { --bar: #8455b0; } .s4 { --bar: #b3261e; } .s5 { --bar: #7d8088; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #eceae4; --soft: #9aa0a8; --line: #3a3f46; }
  .s0 { --bar: #6f9fe6; } .s1 { --bar: #e7955a; } .s2 { --bar: #5fb582; }
  .s3 { --bar: #b18ad8; } .s4 { --bar: #f2857d; } .s5 { --bar: #9da1a9; } }
text { fill: var(--ink); } .tick { fill: var(--soft); font-size: 12px; text-anchor: middle; }
.grid { stroke: var(--line); } rect { fill: var(--bar); } .interval { stroke: var(--ink); stroke-width: 1.5; }
"""
MAX_COLUMNS = 6
LEFT, RIGHT, TOP, BAR, GAP = 190, 20, 34, 9, 14
FILE = 'xmlns="http://www.w3.org/2000/svg" '
TICKS = (0, 25, 50, 75, 100)


@dataclass(frozen=True)
class ComparedModel:
    """One model of a comparison: its reports (one for each training seed) and all of them pooled."""

    name: str
    reports: tuple[ScoreReport, ...]
    whole: ScoreReport

    @classmethod
    def of(cls, name: str, reports: Sequence[ScoreReport]) -> "ComparedModel":
        """Return a model with its reports and all of them pooled."""
        return cls(name, tuple(reports), pool(reports))


def compare_models(columns: Sequence[ComparedModel]) -> str:
    """Return a Markdown table: one metric a row with its 95% interval, and differences from the first model in points.

    Where a model has several reports, the least and the greatest of them follow in brackets. Differences of shares are
    paired story by story where both told the same ones; all others take what was told to be independent. More than six
    models have a row each, without differences.

    Raises:
        InputError: fewer than two models, or two of one name.
    """
    _check(columns)
    if len(columns) > MAX_COLUMNS:
        return _model_a_row(columns)
    first, *others = columns
    heads = [one.name for one in columns] + [f"{one.name} less {first.name}" for one in others]
    rows = [f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    rows.append(f"| stories | {' | '.join(_asked(one) for one in columns)} |{' |' * len(others)}")
    metrics = [one.whole.metrics for one in columns]
    for name in metrics[0]:
        cells = [_cell(one, of.get(name), name) for one, of in zip(columns, metrics, strict=True)]
        cells += [_difference(one.whole, first.whole, name) for one in others]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def comparison_chart(columns: Sequence[ComparedModel]) -> str:
    """Return the comparison as an SVG bar chart with intervals, for light and dark pages.

    Raises:
        InputError: fewer than two models, or more than can be told apart.
    """
    _check(columns)
    if len(columns) > MAX_COLUMNS:
        raise InputError(f"expected at most {MAX_COLUMNS} models in a chart, got {len(columns)}; name fewer")
    metrics = [one.whole.metrics for one in columns]
    step = BAR * len(columns) + GAP
    height = TOP + step * len(metrics[0]) + 24
    pieces = [f"<style>{STYLE}</style>", *_legend([one.name for one in columns]), *_grid(height)]
    for row, name in enumerate(metrics[0]):
        top = TOP + step * row + GAP / 2
        middle = top + BAR * len(columns) / 2
        pieces.append(f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end" dy="0.35em">{escape(name)}</text>')
        for index, of in enumerate(metrics):
            if name in of:
                pieces.append(_bar(index, top + BAR * index, of[name], columns[index].name))
    title = f"{', '.join(one.name for one in columns)}: metrics with 95% intervals"
    return svg("comparison", height, title, pieces, FILE)


def _model_a_row(models: Sequence[ComparedModel]) -> str:
    names = list(models[0].whole.metrics)
    rows = [f"| | stories | {' | '.join(names)} |", "|---|" + "---|" * (len(names) + 1)]
    for one in models:
        cells = [_cell(one, one.whole.metrics.get(name), name) for name in names]
        rows.append(f"| {one.name} | {_asked(one)} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _check(columns: Sequence[ComparedModel]) -> None:
    if len(columns) < 2:
        raise InputError(f"expected 2 or more models to compare, got {len(columns)}; name one file for each")
    names = [one.name for one in columns]
    if len(set(names)) < len(names):
        raise InputError(f"expected a name of its own for every model, got {', '.join(names)}; write NAME=FILE")


def _asked(column: ComparedModel) -> str:
    """Describe what was evaluated: number of stories, shots a story, phrasing, runs."""
    asked: Mapping[str, object] = column.whole.asked
    shots = f" of {asked['shots']} shots" if asked.get("shots") else ""
    runs = f", {len(column.reports)} runs" if len(column.reports) > 1 else ""
    phrasing = f", {asked['phrasing']}" if asked.get("phrasing") else ""
    return f"{asked.get('stories')}{shots}{phrasing}{runs}"


def _difference(one: ScoreReport, other: ScoreReport, name: str) -> str:
    """Return the difference of one metric between two reports, in percentage points."""
    if name not in one.metrics:
        return ""
    paired = None
    if same_stories(one, other) and any(name in story for story in one.by_story):
        none = Share(0, 0)
        paired = paired_difference(*([story.get(name, none) for story in of.by_story] for of in (one, other)))
    return in_points(paired or one.metrics[name].minus(other.metrics[name]))


def _cell(column: ComparedModel, figure: Estimate | None, name: str) -> str:
    if figure is None:
        return ""
    values = [of[name].value for one in column.reports if name in (of := one.metrics)]
    spread = f" [{min(values):.1%}, {max(values):.1%}]" if len(values) > 1 else ""
    return f"{figure}{spread}"


def _legend(names: Sequence[str]) -> Iterator[str]:
    step = (WIDTH - LEFT - RIGHT) / len(names)
    for index, name in enumerate(names):
        x = LEFT + index * step
        yield f'<g class="s{index}"><rect x="{x:.1f}" y="8" width="11" height="11" rx="2"/>'
        yield f'<text x="{x + 16:.1f}" y="18">{escape(name)}</text></g>'


def _grid(height: float) -> Iterator[str]:
    for percent in TICKS:
        x = f"{_place(percent / 100):.1f}"
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{height - 20:g}"/>'
        yield f'<text class="tick" x="{x}" y="{height - 4:g}">{percent}%</text>'


def _bar(index: int, top: float, figure: Estimate, name: str) -> str:
    low, value, high = (_place(one) for one in (figure.low, figure.value, figure.high))
    middle = top + BAR / 2
    return (
        f'<g class="s{index}"><title>{escape(name)}: {figure}</title>'
        f'<rect x="{LEFT}" y="{top:.1f}" width="{value - LEFT:.1f}" height="{BAR - 1}"/>'
        f'<line class="interval" x1="{low:.1f}" x2="{high:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/></g>'
    )


def _place(share: float) -> float:
    """Return the x coordinate of a share, clipped to [0, 1]."""
    return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)
