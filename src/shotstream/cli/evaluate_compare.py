"""`shotstream evaluate compare`: the scores of several models side by side."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from shotstream.cli.options import examples
from shotstream.cli.output import check_outputs
from shotstream.core.atomic_files import write_bytes

app = typer.Typer()


@app.command(
    "compare",
    epilog=examples(
        "shotstream evaluate compare before.json after.json",
        "shotstream evaluate compare base=a-0.json,a-1.json tuned=b-0.json,b-1.json -o table.md --chart table.svg",
    ),
)
def run(
    scores: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]FILE[,FILE]...", help="JSON of evaluate --json; files of one model are pooled."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", show_default="standard output", help="Write the table."),
    ] = None,
    chart: Annotated[Path | None, typer.Option(metavar="SVG", help="Write a chart of it.")] = None,
) -> None:
    """Compare several scores side by side, with differences."""
    from shotstream.scores.compare import Column, compare, comparison_chart
    from shotstream.scores.reports import read_report

    check_outputs(output, chart)
    columns = []
    for word in scores:
        name, files = split_name(word)
        paths = [Path(path) for path in files.split(",")]
        columns.append(Column.of(name or paths[0].stem, [read_report(path) for path in paths]))
    table = compare(columns)
    if output:
        write_bytes(output, table.encode())
    else:
        sys.stdout.write(table)
    if chart:
        write_bytes(chart, comparison_chart(columns).encode())


def split_name(word: str) -> tuple[str, str]:
    """Split [NAME=]REST into NAME, or "", and REST; a name has no slash, because paths may have "=" in them."""
    name, equals, rest = word.partition("=")
    return (name, rest) if equals and "/" not in name else ("", word)
