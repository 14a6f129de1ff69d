"""`shotstream load-test`: simulated viewers in front of a server, and what they see."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json import loads
from typing import TYPE_CHECKING, Annotated

import typer

from shotstream.cli.options import DEFAULT_MODEL, Device, JsonFile, ModelName, examples, flat_options
from shotstream.cli.output import check_outputs, emit_json, make_console
from shotstream.cli.serve import TOKEN_VARIABLE
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.core.extras import EXTRAS, require_packages

if TYPE_CHECKING:
    from rich.console import Console

    from shotstream.serve.load_test import LoadTestResult

ADDRESS_LINE = "ShotStream is at "


app = typer.Typer()


@dataclass(frozen=True)
class OwnServer:
    """Options of the server that the command starts if it is given no address."""

    model: ModelName = DEFAULT_MODEL
    device: Device = "auto"


@app.command("load-test", epilog=examples("shotstream load-test", "shotstream load-test http://host:7860 --viewers 4"))
@flat_options
def run(
    own: OwnServer,
    url: Annotated[
        str | None,
        typer.Argument(metavar="URL", show_default="one of its own", help="Address of a running server."),
    ] = None,
    viewers: Annotated[int, typer.Option(metavar="N", help="Viewers at once, a story each.")] = 1,
    shots: Annotated[int, typer.Option(metavar="N", help="Shots to direct, and to play.")] = 5,
    chunks: Annotated[int, typer.Option(metavar="C", help="Length of a shot in chunks, at least 3.")] = 3,
    token: Annotated[
        str | None, typer.Option(metavar="T", envvar=TOKEN_VARIABLE, help="What the server asks for.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Let simulated viewers direct stories on a server, and measure what they see."""
    require_packages("shotstream load-test", *EXTRAS["serve"])
    from shotstream.serve.load_test import LoadTestPlan, run_load_test

    plan = LoadTestPlan(viewers, shots, chunks)
    check_outputs(json_file)
    if url:
        found = asyncio.run(run_load_test(url, plan, token))
    else:
        with _own_server(own, viewers) as address:
            found = asyncio.run(run_load_test(address, plan))
    _show(found, make_console(json_file))
    emit_json(json_file, to_dict(found))


@contextmanager
def _own_server(options: OwnServer, viewers: int) -> Iterator[str]:
    """Run a server in a process of its own; yield its address once its model is open."""
    with tempfile.TemporaryDirectory(prefix="shotstream-") as data:
        command = [sys.executable, "-m", "shotstream", "serve"]
        asked = ["--port", "0", "--data", data, "--model", options.model, "--device", options.device]
        more = ["--sessions", str(viewers)]
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
            return bool(loads(reply.read())["status"] == "ready")
    except OSError:
        return False


def _show(found: "LoadTestResult", console: "Console") -> None:
    from rich.table import Table

    from shotstream.serve.load_test import STEER_GOAL_S

    table = Table("", "median", "least", "most")
    for name, spread in (("first picture of a shot, s", found.picture_s), ("steer to be seen, s", found.steer_s)):
        table.add_row(name, f"{spread.median:.2f}", f"{spread.min:.2f}", f"{spread.max:.2f}")
    console.print(table)
    console.print(f"steers seen within {STEER_GOAL_S:.0f} s: {found.steers_in_time:.0%}")
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
