"""Compare evaluations of two or more systems: differences paired by story, and a page that plays both in step."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from shotstream.core.errors import InputError
from shotstream.core.html import render_html
from shotstream.metrics.backbones import BACKBONES
from shotstream.metrics.columns import COLUMNS, Column
from shotstream.metrics.evaluation import Evaluation, StoryResult
from shotstream.metrics.tables import format_mean, format_value
from shotstream.scores.intervals import Estimate, bootstrap_mean

IN_STEP = Path(__file__).parent / "in_step.js"
MAX_SYSTEMS = 6


@dataclass(frozen=True)
class ComparedColumn:
    """One column of the paper over the stories that all systems have.

    `differences` are those from the first system, paired by story; None where no story has a value in both.
    """

    title: str
    means: tuple[Estimate | None, ...]
    differences: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class Comparison:
    """Systems side by side.

    `stories` are compared; `left_out` says why the others are not; `warnings` which columns cannot be compared.
    """

    names: tuple[str, ...]
    rows: tuple[ComparedColumn, ...]
    stories: tuple[tuple[StoryResult, ...], ...]
    left_out: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def compare_evaluations(evaluations: Mapping[str, Evaluation]) -> Comparison:
    """Compare evaluations of the same scripts; the first is what the others are compared with.

    Raises:
        InputError: fewer than two evaluations, too many, or no story that all have with the same captions.
    """
    if not 2 <= len(evaluations) <= MAX_SYSTEMS:
        raise InputError(f"expected 2 to {MAX_SYSTEMS} evaluations to compare, got {len(evaluations)}")
    names = tuple(evaluations)
    found = [{story.name: story for story in one.stories} for one in evaluations.values()]
    reasons = {name: _why_not(name, names, found) for name in sorted(set().union(*found))}
    shared = [name for name, reason in reasons.items() if not reason]
    left_out = {name: reason for name, reason in reasons.items() if reason}
    if not shared:
        told = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:3])
        raise InputError(f"expected stories that all evaluations have, found none of {len(left_out)} ({told})")
    stories = tuple(tuple(of[name] for of in found) for name in shared)
    keys = [column for column in COLUMNS if any(column.key in one.means for one in evaluations.values())]
    rows = tuple(_row(column.title, column.key, stories) for column in keys)
    return Comparison(names, rows, stories, left_out, tuple(_find_differences(list(evaluations.values()))))


def _find_differences(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """Yield what was measured in different ways, so that its columns cannot be compared."""
    if len({one.settings for one in evaluations}) > 1:
        yield "The evaluations scored cuts with different settings: their cut columns cannot be compared."
    for name in BACKBONES:
        used = {one.networks[name] for one in evaluations if name in one.networks}
        if len(used) > 1:
            yield f"The evaluations used different networks for {name}: {'; '.join(sorted(used))}. Evaluate with one."
    judges = {(one.judge["model"], one.judge["url"], one.judge["rubric"]) for one in evaluations if one.judge}
    if len(judges) > 1:
        yield "The evaluations asked different judges: their ratings cannot be compared."


def _why_not(story: str, names: Sequence[str], found: Sequence[Mapping[str, StoryResult]]) -> str:
    missing = [name for name, of in zip(names, found, strict=True) if story not in of]
    if missing:
        return f"not in {', '.join(missing)}"
    return "" if len({of[story].captions for of in found}) == 1 else "the captions differ"


def _row(title: str, key: str, stories: Sequence[Sequence[StoryResult]]) -> ComparedColumn:
    by_system = [[story.values.get(key) for story in of] for of in zip(*stories, strict=True)]
    means = [bootstrap_mean(known) if (known := [v for v in values if v is not None]) else None for values in by_system]
    return ComparedColumn(title, tuple(means), tuple(_paired(by_system[0], other) for other in by_system[1:]))


def _paired(first: Sequence[float | None], other: Sequence[float | None]) -> Estimate | None:
    pairs = zip(first, other, strict=True)
    differences = [b - a for a, b in pairs if a is not None and b is not None]
    return bootstrap_mean(differences) if differences else None


def format_difference(difference: Estimate | None) -> str:
    """Format a difference with its interval: +0.021 (-0.003 to +0.044)."""
    if difference is None:
        return ""

    def signed(value: float) -> str:
        return ("+" if value > 0 else "") + format_value(value)

    interval = difference.low == difference.low
    return signed(difference.value) + (f" ({signed(difference.low)} to {signed(difference.high)})" if interval else "")


def comparison_markdown(comparison: Comparison) -> str:
    """Return a Markdown table: a metric a row, the systems' means, and the differences from the first."""
    first, *others = comparison.names
    heads = [*comparison.names, *(f"{name} less {first}" for name in others)]
    lines = [f"| | {' | '.join(heads)} | stories |", "|---" * (len(heads) + 2) + "|"]
    for row in comparison.rows:
        cells = [*map(format_mean, row.means), *map(format_difference, row.differences)]
        cases = min((one.cases for one in row.differences if one), default=0)
        lines.append(f"| {row.title} | {' | '.join(cells)} | {cases} |")
    lines += ["", f"{len(comparison.stories)} stories; differences are paired by story, with bootstrap 95% intervals."]
    lines += [f"\n{warning}" for warning in comparison.warnings]
    lines += [f"\n{name}: left out, {reason}" for name, reason in comparison.left_out.items()]
    return "\n".join(lines) + "\n"


def comparison_page(comparison: Comparison, page: Path) -> str:
    """Return an HTML page that plays the systems' videos of each story in step; `page` is where it will be written.

    Videos are not copied: the page names them relative to itself. One that is gone is said to be.
    """
    return render_html(
        "metrics/compare.html.jinja",
        comparison=comparison,
        columns_of=_columns_of,
        urls={story.video: _url(Path(story.video), page) for of in comparison.stories for story in of},
        in_step=Markup(IN_STEP.read_text(encoding="utf8").replace("export ", "")),
        format_mean=format_mean,
        format_value=format_value,
        format_difference=format_difference,
    )


def _columns_of(story: Sequence[StoryResult]) -> list[Column]:
    """Return the columns of which some system has a value for this story."""
    return [column for column in COLUMNS if any(one.values.get(column.key) is not None for one in story)]


def _url(video: Path, page: Path) -> str | None:
    """Return the address of a video as the page sees it; None where it is gone."""
    if not video.is_file():
        return None
    relative = os.path.relpath(video.resolve(), page.resolve().parent)
    return Path(relative).as_posix().replace("%", "%25").replace("#", "%23").replace("?", "%3F")
