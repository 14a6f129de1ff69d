"""Write an evaluation as CSV (a story a row), as a Markdown table, and as one self-contained HTML page."""

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shotstream.core.html import render_html
from shotstream.core.images import encode_png
from shotstream.metrics.backbones import BACKBONES
from shotstream.metrics.columns import Column
from shotstream.metrics.evaluation import Evaluation
from shotstream.metrics.features import StoryFeatures
from shotstream.scores.intervals import Estimate

NOT_AVAILABLE = "not available"
NOTHING = "nothing to measure"
"""Shown where the networks are there and no story has a value: no cut was found, no characters are named."""


def format_value(value: float | None) -> str:
    """Format a value with three digits behind the point below 10, and with two from there on."""
    if value is None or value != value:
        return ""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"


def format_mean(mean: Estimate | None) -> str:
    """Format a mean with its interval: 0.825 (0.811 to 0.838); empty without one."""
    if mean is None:
        return ""
    interval = f" ({format_value(mean.low)} to {format_value(mean.high)})" if mean.low == mean.low else ""
    return f"{format_value(mean.value)}{interval}"


def show_mean(evaluation: Evaluation, column: Column) -> str:
    """Format a column's mean, or say that its network is not available, or that there is nothing to measure."""
    mean = evaluation.means.get(column.key)
    if mean is None:
        return NOT_AVAILABLE if column.key in evaluation.missing else NOTHING
    return format_mean(mean)


def count_stories(evaluation: Evaluation) -> str:
    """Return how many stories were scored, and how many videos were left out: 12 stories, 1 left out."""
    stories, failed = len(evaluation.stories), len(evaluation.failed)
    return f"{stories} {'story' if stories == 1 else 'stories'}" + (f", {failed} left out" if failed else "")


def to_csv(evaluation: Evaluation) -> str:
    """Return a row for each story, a column for each metric; empty where a story has no value."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["story", *(column.key for column in evaluation.columns), "notes"])
    for story in evaluation.stories:
        values = [story.values.get(column.key) for column in evaluation.columns]
        table.writerow([story.name, *("" if value is None else value for value in values), "; ".join(story.notes)])
    return out.getvalue()


def to_markdown(evaluation: Evaluation) -> str:
    """Return the means with their intervals, what was not available, the videos that failed, and the notes."""
    means = evaluation.means
    rows = [f"| metric | {evaluation.source} | stories |", "|---|---|---|"]
    for column in evaluation.columns:
        mean = means.get(column.key)
        rows.append(f"| {column.title} | {show_mean(evaluation, column)} | {mean.cases if mean else 0} |")
    rows.append(f"\n{count_stories(evaluation)}")
    rows += [f"\n{', '.join(of)}: {NOT_AVAILABLE}; {reason}" for reason, of in missing_networks(evaluation).items()]
    rows += [f"\n{video.name}: left out, {video.reason}" for video in evaluation.failed]
    rows += [f"\n{story.name}: {note}" for story in evaluation.stories for note in story.notes]
    return "\n".join(rows) + "\n"


def missing_networks(evaluation: Evaluation) -> dict[str, list[str]]:
    """Return the titles of the columns that lack something, by the reason, or the command that fetches it."""
    found: dict[str, list[str]] = {}
    for column in evaluation.columns:
        if column.key in evaluation.missing:
            found.setdefault(evaluation.missing[column.key], []).append(column.title)
    return found


def to_html(evaluation: Evaluation, features: Mapping[str, StoryFeatures]) -> str:
    """Return the page of an evaluation: means, a plot of every metric, filmstrips, the worst stories.

    Args:
        evaluation: the results.
        features: by the name of the story, for its filmstrip.
    """
    strips = {name: filmstrip(story.arrays["thumbnails"]) for name, story in features.items()}
    return render_html(
        "metrics/report.html.jinja",
        evaluation=evaluation,
        columns=evaluation.columns,
        means=evaluation.means,
        missing=missing_networks(evaluation),
        plots={column.key: plot(column, evaluation) for column in evaluation.columns if evaluation.values(column.key)},
        strips=strips,
        replaced={
            name: one.replaces for name, one in BACKBONES.items() if one.replaces and name in evaluation.networks
        },
        count=count_stories(evaluation),
        format_value=format_value,
        show_mean=lambda column: show_mean(evaluation, column),
    )


def filmstrip(thumbnails: NDArray[np.uint8]) -> list[str]:
    """Return a data URL of a PNG for each shot's middle frame."""
    return ["data:image/png;base64," + base64.b64encode(encode_png(frame)).decode() for frame in thumbnails]


def plot(column: Column, evaluation: Evaluation) -> dict[str, Any]:
    """Return the positions, in percent of the axis, of a metric's stories, mean and interval."""
    stories = [story for story in evaluation.stories if story.values.get(column.key) is not None]
    values = [float(story.values[column.key] or 0.0) for story in stories]
    low, high = axis(values)
    mean = evaluation.means[column.key]

    def place(value: float) -> float:
        return 100 * (value - low) / (high - low)

    interval = None if mean.low != mean.low else (place(mean.low), place(mean.high))
    dots = [(story.name, place(value), value) for story, value in zip(stories, values, strict=True)]
    return {"low": low, "high": high, "dots": dots, "mean": place(mean.value), "interval": interval}


def axis(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis: 0 and 1, 0 and 100, or what the values need."""
    least, greatest = min(values), max(values)
    if least >= 0 and greatest <= 1:
        return 0.0, 1.0
    return min(0.0, least), 100.0 if 1 < greatest <= 100 and least >= 0 and greatest > 20 else greatest
