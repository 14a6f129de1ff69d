"""`shotstream verify`: compare this installation's results with recorded tensors."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shotstream.cli.options import JsonFile, examples
from shotstream.cli.output import check_outputs, emit_json, make_console

if TYPE_CHECKING:
    from shotstream.parity.case import CaseResult

NAME_COLUMNS = 42

app = typer.Typer()


@app.command("verify", epilog=examples("shotstream verify tests/golden", "shotstream verify tests/golden --json -"))
def run(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Recorded tensors, laid out like tests/golden.")],
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to run.")] = "auto",
    dtype: Annotated[Literal["float32", "bfloat16"], typer.Option(help="Precision of the networks.")] = "float32",
    json_file: JsonFile = None,
) -> int:
    """Compare the installed engine with recorded tensors, one line for each case; exit with 1 if a case fails."""
    from shotstream.core.config import to_dict
    from shotstream.model.device import pick_device, pick_dtype
    from shotstream.parity.verify import verify

    check_outputs(json_file)
    console = make_console(json_file, wrap=False)
    where = pick_device(device)
    results = []
    for result in verify(directory, where, pick_dtype(where, dtype)):
        results.append(result)
        console.print(format_line(result))
    passed = sum(result.passed for result in results)
    failed = len(results) - passed
    console.print(f"{passed} passed, {failed} failed")
    emit_json(json_file, {"passed": passed, "failed": failed, "cases": [to_dict(result) for result in results]})
    return int(failed > 0)


def format_line(result: "CaseResult") -> str:
    """Return one case as a line: name, relative error, tolerance, pass or fail, and a note."""
    error, tolerance = ("-" if value is None else f"{value:.1e}" for value in (result.error, result.tolerance))
    verdict = "pass" if result.passed else "fail"
    return f"{result.name:<{NAME_COLUMNS}} {error:>8} {tolerance:>8}  {verdict}  {result.note}".rstrip()
