"""`shotstream load-test`: simulated viewers in front of a server, and what they see."""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from shotstream.cli.serve import TOKEN_VARIABLE
from shotstream.core.atomic_files import check_target, write_json
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError

if TYPE_CHECKING:
    from shotstream.serve.load_test import LoadTestResult

ADDRESS_LINE = "ShotStream is at "


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds `run_load_test`."""
    parser = subparsers.add_parser("load-test", help="let simulated viewers direct stories on a server, and time it")
    parser.add_argument("url", nargs="?", metavar="URL", help="of a running server (default: one of its own)")
    parser.add_argument("--viewers", type=int, default=1, metavar="N", help="viewers at once, a story each (default 1)")
    parser.add_argument("--shots", type=int, default=5, metavar="N", help="shots to direct, and to play (default 5)")
    parser.add_argument("--chunks", type=int, default=3, metavar="C", help="length of a shot, 3 to 7 (default 3)")
    parser.add_argument("--model", default="storyworld", metavar="M", help="of a server of its own")
    parser.add_argument("--device", default="auto", metavar="D", help="of a server of its own")
    parser.add_argument("--token", default=os.environ.get(TOKEN_VARIABLE), metavar="T", help="what the server asks for")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from shotstream.serve.load_test import LoadTestPlan, run_load_test

    plan = LoadTestPlan(args.viewers, args.shots, args.chunks)
    if args.json:
        check_target(args.json)
    if args.url:
        found = asyncio.run(run_load_test(args.url, plan, args.token))
    else:
        with _own_server(args) as url:
            found = asyncio.run(run_load_test(url, plan))
    _show(found, Console(highlight=False))
    if args.json:
        write_json(args.json, to_dict(found))
    return 0


@contextmanager
def _own_server(args: argparse.Namespace) -> Iterator[str]:
    """The address of a server in a process of its own, once its model is open."""
    with tempfile.TemporaryDirectory(prefix="shotstream-") as data:
        command = [sys.executable, "-c", "from shotstream.cli import main; raise SystemExit(main())", "serve"]
        asked = ["--port", "0", "--data", data, "--model", args.model, "--device", args.device]
        more = ["--sessions", str(args.viewers)]
        environment = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
        with subprocess.Popen([*command, *asked, *more], stdout=subprocess.PIPE, text=True, env=environment) as server:
            try:
                assert server.stdout is not None
                line = server.stdout.readline()
                if not line.startswith(ADDRESS_LINE):
                    raise InputError("the server did not start; what it says stands above")
                url = line.removeprefix(ADDRESS_LINE).strip()
                while server.poll() is None and not _ready(url):
                    time.sleep(0.1)
                if server.poll() is not None:
                    raise InputError("the server could not open its model; what it says stands above")
                yield url
            finally:
                server.terminate()


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}api/health", timeout=10) as reply:
            return bool(json.load(reply)["status"] == "ready")
    except OSError:
        return False


def _show(found: "LoadTestResult", console: Console) -> None:
    table = Table("", "median", "least", "most")
    for name, spread in (("first picture of a shot, s", found.picture_s), ("steer to be seen, s", found.steer_s)):
        table.add_row(name, f"{spread.median:.2f}", f"{spread.min:.2f}", f"{spread.max:.2f}")
    console.print(table)
    played = Table("viewer", "stalls", "waited, s", "frames", "lost", "FPS")
    for number, one in enumerate(found.viewers, start=1):
        shown = one.playback
        played.add_row(
            str(number),
            str(shown.stalls),
            f"{shown.stalled_s:.2f}",
            str(shown.frames),
            str(shown.lost),
            f"{shown.fps:.1f}",
        )
    console.print(played)
    if found.plan.viewers > 1:
        console.print(f"fair share: the slowest viewer has {found.fair_share:.0%} of the fastest one's speed")
