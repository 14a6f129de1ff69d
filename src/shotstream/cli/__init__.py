"""The `shotstream` command: one module a command, every error as one clear line."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from shotstream import __version__
from shotstream.cli import (
    bench,
    evaluate,
    generate,
    load_test,
    policies,
    script,
    serve,
    studio,
    study,
    train,
    verify,
    warmup,
    weights,
    world,
)
from shotstream.cli.usage import usage_message
from shotstream.core.errors import InputError

EXIT_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
COMPLETION_VARIABLE = "_SHOTSTREAM_COMPLETE"

app = typer.Typer(
    name="shotstream",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    generate,
    studio,
    serve,
    load_test,
    evaluate,
    verify,
    bench,
    warmup,
    train,
    weights,
    world,
    script,
    study,
    policies,
):
    app.add_typer(module.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"{__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Live multi-shot video, directed while it plays."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    The code is 0 for success, 1 if the command found something wrong, 2 if the input cannot be used, 130 if it was
    interrupted, and 141 if the reader of its output has left.
    """
    if COMPLETION_VARIABLE in os.environ:
        app(prog_name="shotstream")
    try:
        code = run_command(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except typer.Exit as left:
        return left.exit_code
    except BrokenPipeError:  # nothing more can be written to standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except typer.TyperException as error:
        sys.stderr.write(usage_message(error))
        return EXIT_INPUT
    except InputError as error:
        sys.stderr.write(f"shotstream: {error}\n")
        return EXIT_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("shotstream: interrupted\n")
        return EXIT_INTERRUPTED


def run_command(words: list[str]) -> int:
    """Run one command and return its exit code; what is wrong is raised.

    Raises:
        InputError: the input cannot be used.
        typer.TyperException: there is no such command or option, or a value has the wrong form.
        typer.Exit: help or version was shown.
    """
    command = get_command(app)
    with command.make_context("shotstream", words) as context:
        return int(command.invoke(context) or 0)
