"""`shotstream study`: compare systems by a blind user study: make it, serve it to raters, report the votes."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from shotstream.cli.evaluate_compare import split_name
from shotstream.cli.options import JsonFile, examples
from shotstream.cli.output import check_outputs, emit_json, make_console
from shotstream.core.errors import InputError
from shotstream.core.extras import EXTRAS, require_packages

STUDY_PORT = 8770
StudyDirectory = Annotated[Path, typer.Argument(metavar="STUDY", help="Directory of 'study make'.")]

app = typer.Typer(name="study", help="Compare systems by a blind user study.", no_args_is_help=True)


@app.command("make", epilog=examples("shotstream study make ours=a/ baseline=b/ -o study/"))
def run_make(
    systems: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]DIR...", help="Videos with scripts of each system, as for evaluate videos."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="STUDY", help="New directory of the study.")],
) -> None:
    """Copy the videos of the stories that all systems show into one directory."""
    from shotstream.study.files import make_study

    directories: dict[str, Path] = {}
    for word in systems:
        name, path = split_name(word)
        name = name or Path(path).resolve().name
        if name in directories:
            raise InputError(f"two systems are called '{name}'; expected NAME=DIR with another name for one")
        directories[name] = Path(path)
    study = make_study(directories, output)
    console = make_console(wrap=False)
    for one in study.left_out:
        console.print(f"left out: {one.name}: {one.reason}")
    count = len(study.stories)
    stories = f"{count} {'story' if count == 1 else 'stories'}"
    shown = f"{stories} of {len(study.systems)} systems, {len(study.left_out)} left out"
    console.print(f"{output}: {shown}; run: shotstream study serve {output}")


@app.command("serve", epilog=examples("shotstream study serve study/", "shotstream study serve study/ --host 0.0.0.0"))
def run_serve(
    directory: StudyDirectory,
    host: Annotated[str, typer.Option(metavar="H", help="Address to listen at; 0.0.0.0 lets others in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="P", help="Port to listen at; 0 takes a free one.")] = STUDY_PORT,
) -> None:
    """Serve the page on which raters vote; each gets a link of their own to come back to."""
    require_packages("shotstream study serve", *EXTRAS["serve"])
    import uvicorn

    from shotstream.core.sockets import listen
    from shotstream.study.app import make_app
    from shotstream.study.files import read_study
    from shotstream.study.votes import Votes

    study = read_study(directory)
    app_ = make_app(directory, study, Votes(directory, study))
    with listen(host, port) as listening:
        print(f"The study is at http://{host}:{listening.getsockname()[1]}/", flush=True)
        uvicorn.Server(uvicorn.Config(app_, log_level="warning", access_log=False)).run([listening])


@app.command("report", epilog=examples("shotstream study report study/ -o study.md --json study-report.json"))
def run_report(
    directory: StudyDirectory,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", show_default="standard output", help="Write the table as Markdown."
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Report preference rates with intervals, and how far raters agree."""
    from shotstream.core.atomic_files import write_bytes
    from shotstream.study.files import read_study
    from shotstream.study.report import make_report, report_data, to_markdown
    from shotstream.study.votes import Votes

    check_outputs(output, json_file)
    study = read_study(directory)
    report = make_report(study, Votes(directory, study).all())
    if output:
        write_bytes(output, to_markdown(report).encode())
    elif json_file != Path("-"):
        sys.stdout.write(to_markdown(report))
    emit_json(json_file, report_data(report))
