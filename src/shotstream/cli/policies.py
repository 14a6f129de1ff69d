"""`shotstream policies`: the systems that `--policy` takes, and what each can do."""

from dataclasses import fields
from typing import Any

import typer

from shotstream.cli.options import JsonFile, examples
from shotstream.cli.output import check_outputs, emit_json, make_console

app = typer.Typer()


@app.command("policies", epilog=examples("shotstream policies", "shotstream policies --json -"))
def run(json_file: JsonFile = None) -> None:
    """List the systems that can make a video, with what each can do and which weights it was trained with."""
    from rich.table import Table

    from shotstream.engine.policies import SYSTEMS

    check_outputs(json_file)
    specs = [system.spec for system in SYSTEMS.values()]
    table = Table("policy", "live", "streams", "steers", "shots", "chunks a shot")
    for spec in specs:
        fewest, most = spec.shots
        table.add_row(
            spec.name,
            _yes(spec.live),
            _yes(spec.streams),
            _yes(spec.steers),
            f"{fewest} to {most}" if most else f"{fewest} or more",
            "1 or more" if spec.extends else "as in training",
        )
    console = make_console(json_file)
    console.print(table)
    console.print("live: shots may be asked for one by one. streams: frames come before the whole video is made.")
    for spec in specs:
        console.print(f"\n{spec.name}: {spec.summary} {spec.source}.")
        console.print(f"  weights: {spec.weights}; licence: {spec.licence}", soft_wrap=True)
    emit_json(json_file, {"policies": [_plain(spec) for spec in specs]})


def _yes(can: bool) -> str:
    return "yes" if can else "no"


def _plain(spec: Any) -> dict[str, Any]:
    """Return a policy's fields as plain data, without those of the engine."""
    inner = ("sampler", "keys", "capacity", "sink")
    return {field.name: getattr(spec, field.name) for field in fields(spec) if field.name not in inner}
