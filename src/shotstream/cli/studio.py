"""`shotstream studio`: the server, and a browser in front of it."""

import argparse
import threading
import webbrowser
from typing import Any
from urllib.parse import quote

from shotstream.cli.opening import open_asked
from shotstream.cli.serve import add_arguments, settings_of
from shotstream.core.log import show_warnings


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds `studio`."""
    parser = subparsers.add_parser("studio", help="direct stories in the browser")
    add_arguments(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from shotstream.serve.http.run import serve

    show_warnings()
    settings = settings_of(args)

    def show(url: str) -> None:
        print(f"The studio is at {url}", flush=True)
        page = url if settings.token is None else f"{url}?token={quote(settings.token)}"
        # beside the server, since a browser for text stays until it is left
        threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()

    serve(lambda: open_asked(args), settings, show)
    return 0
