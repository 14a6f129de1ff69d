"""`shotstream serve`: stories told live to browsers."""

import argparse
import os
from pathlib import Path
from typing import Any

from shotstream.cli.opening import add_model_arguments, open_asked
from shotstream.core.log import show_warnings
from shotstream.serve.limits import DEFAULT_PORT, Limits, Settings

TOKEN_VARIABLE = "SHOTSTREAM_TOKEN"
GIB = 2**30


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds `serve`."""
    parser = subparsers.add_parser("serve", help="tell stories live to browsers")
    add_arguments(parser)
    parser.set_defaults(run=_run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What a server is told."""
    limits = Limits()
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="address to listen at (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, metavar="P", help=f"(default {DEFAULT_PORT})")
    parser.add_argument(
        "--data", type=Path, default=Path("shotstream-data"), metavar="DIR", help="stories (default shotstream-data)"
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--token",
        default=os.environ.get(TOKEN_VARIABLE),
        metavar="T",
        help=f"what clients must know; needed for any address but this machine's (default ${TOKEN_VARIABLE})",
    )
    parser.add_argument(
        "--sessions", type=int, default=limits.sessions, metavar="N", help=f"open stories ({limits.sessions})"
    )
    parser.add_argument("--viewers", type=int, default=limits.viewers, metavar="N", help=f"({limits.viewers})")
    parser.add_argument("--shots", type=int, default=limits.shots, metavar="N", help=f"of a story ({limits.shots})")
    parser.add_argument(
        "--disk-gib", type=float, default=limits.disk_bytes / GIB, metavar="G", help="for all stories (20)"
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings that the command line asks for.

    Raises:
        InputError: they cannot be used.
    """
    limits = Limits(
        sessions=args.sessions, viewers=args.viewers, shots=args.shots, disk_bytes=round(args.disk_gib * GIB)
    )
    return Settings(args.data, args.host, args.port, args.token, limits)


def _run(args: argparse.Namespace) -> int:
    from shotstream.serve.http.run import serve

    show_warnings()
    settings = settings_of(args)
    serve(lambda: open_asked(args), settings, lambda url: print(f"ShotStream is at {url}", flush=True))
    return 0
