"""The `shotstream` command: one module a subcommand, errors as one clear line."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from shotstream import __version__
from shotstream.core.errors import InputError

COMMANDS = (
    "generate", "studio", "serve", "load-test", "evaluate", "verify", "bench", "warmup", "train", "weights", "world",
)  # fmt: skip
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def build_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The command line with those commands; only their modules are imported."""
    parser = argparse.ArgumentParser(prog="shotstream", description="Live multi-shot video, directed while it plays.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in commands:
        import_module(f"shotstream.cli.{name.replace('-', '_')}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns the exit code: 0 done, 1 the command found something wrong, 2 the input cannot be used, 130 interrupted,
    141 nobody reads on.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    asked = [word for word in words[:1] if word in COMMANDS]
    args = build_parser(asked or COMMANDS).parse_args(words)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever was reading has seen enough, and nothing more can be said there
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except InputError as error:
        sys.stderr.write(f"shotstream: {error}\n")
        return EXIT_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("shotstream: interrupted\n")
        return EXIT_INTERRUPTED
