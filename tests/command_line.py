"""Reads a command line as `shotstream` would, without running it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from typer.main import get_command

from shotstream.cli import app


@dataclass(frozen=True)
class Asked:
    """The names of a command and its subcommand, and the values of its options by their parameters' names."""

    names: tuple[str, ...]
    values: dict[str, Any]


def read_command(words: Sequence[str]) -> Asked:
    """Parse the words that follow `shotstream`.

    Raises:
        typer.TyperException: there is no such command or option, or a value has the wrong form.
    """
    command: Any = get_command(app)
    context = command.make_context("shotstream", list(words))
    names = []
    while rest := [*getattr(context, "_protected_args", ()), *context.args]:
        name, command, rest = command.resolve_command(context, rest)
        names.append(name)
        context = command.make_context(name, rest, parent=context)
    return Asked(tuple(names), context.params)
