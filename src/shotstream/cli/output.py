"""Results of commands: tables for people, and the same as JSON for programs."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shotstream.core.atomic_files import check_target, write_json

if TYPE_CHECKING:
    from rich.console import Console

STANDARD_OUTPUT = Path("-")


def check_outputs(*paths: Path | None) -> None:
    """Raise InputError, before there is work to lose, if one of these files cannot be written."""
    for path in paths:
        if path is not None and path != STANDARD_OUTPUT:
            check_target(path)


def make_console(json_file: Path | None = None, *, wrap: bool = True) -> "Console":
    """Return the console for people: standard output, or standard error if JSON goes to standard output."""
    from rich.console import Console

    return Console(highlight=False, markup=wrap, soft_wrap=not wrap, stderr=json_file == STANDARD_OUTPUT)


def emit_json(path: Path | None, data: Any) -> None:
    """Write the data as JSON to a file or to standard output (`-`); None writes nothing."""
    if path == STANDARD_OUTPUT:
        sys.stdout.write(json.dumps(data) + "\n")
        sys.stdout.flush()
    elif path is not None:
        write_json(path, data)
