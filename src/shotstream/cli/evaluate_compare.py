"""`shotstream evaluate compare`: the scores of several models side by side, of StoryWorld or of `evaluate videos`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from shotstream.cli.options import examples
from shotstream.cli.output import check_outputs
from shotstream.core.atomic_files import write_bytes
from shotstream.core.errors import InputError

app = typer.Typer()


@app.command(
    "compare",
    epilog=examples(
        "shotstream evaluate compare before.json after.json",
        "shotstream evaluate compare ours=a/results.json theirs=b/results.json --page compare.html",
        "shotstream evaluate compare base=a-0.json,a-1.json tuned=b-0.json,b-1.json -o table.md --chart table.svg",
    ),
)
def run(
    scores: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]FILE[,FILE]...",
            help="JSON of evaluate --json, where files of one model are pooled; or results.json of evaluate videos.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", show_default="standard output", help="Write the table."),
    ] = None,
    chart: Annotated[Path | None, typer.Option(metavar="SVG", help="Write a chart of StoryWorld's scores.")] = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="HTML", help="Write a page that plays videos in step, for evaluate videos' results."),
    ] = None,
) -> None:
    """Compare several scores side by side, with differences."""
    from shotstream.metrics.evaluation import holds_evaluation

    check_outputs(output, chart, page)
    named = [split_name(word) for word in scores]
    of_videos = [holds_evaluation(Path(files)) for _, files in named]
    if any(of_videos):
        if not all(of_videos):
            raise InputError("expected scores of one kind, got some of evaluate --json and some of evaluate videos")
        if chart:
            raise InputError("expected --chart with StoryWorld's scores only; --page is for evaluate videos' results")
        _compare_videos(named, output, page)
    elif page:
        raise InputError(
            "expected --page with results.json of evaluate videos only; --chart is for StoryWorld's scores"
        )
    else:
        _compare_scores(named, output, chart)


def _compare_scores(named: list[tuple[str, str]], output: Path | None, chart: Path | None) -> None:
    from shotstream.scores.compare import ComparedModel, compare_models, comparison_chart
    from shotstream.scores.reports import read_report

    columns = []
    for name, files in named:
        paths = [Path(path) for path in files.split(",")]
        columns.append(ComparedModel.of(name or paths[0].stem, [read_report(path) for path in paths]))
    _emit(compare_models(columns), output)
    if chart:
        write_bytes(chart, comparison_chart(columns).encode())


def _compare_videos(named: list[tuple[str, str]], output: Path | None, page: Path | None) -> None:
    from shotstream.metrics.compare import compare_evaluations, comparison_markdown, comparison_page
    from shotstream.metrics.evaluation import read_evaluation

    evaluations = {name or Path(file).resolve().parent.name: read_evaluation(Path(file)) for name, file in named}
    if len(evaluations) < len(named):
        raise InputError("expected a name of its own for every evaluation; write NAME=FILE")
    comparison = compare_evaluations(evaluations)
    _emit(comparison_markdown(comparison), output)
    if page:
        write_bytes(page, comparison_page(comparison, page).encode())


def _emit(table: str, output: Path | None) -> None:
    if output:
        write_bytes(output, table.encode())
    else:
        sys.stdout.write(table)


def split_name(word: str) -> tuple[str, str]:
    """Split [NAME=]REST into NAME, or "", and REST; a name has no slash, because paths may have "=" in them."""
    name, equals, rest = word.partition("=")
    return (name, rest) if equals and "/" not in name else ("", word)
