"""`shotstream verify`: does this installation compute what recorded tensors say?"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shotstream.parity.case import CaseResult

NAME_COLUMNS = 42


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds `verify`."""
    parser = subparsers.add_parser("verify", help="hold the engine against recorded tensors")
    parser.add_argument("directory", type=Path, metavar="DIR", help="laid out like tests/golden, of any sizes")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to run (default auto)")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), default="float32", help="of the networks (default float32)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints one line a case and a last line that counts them; 1 where one failed."""
    from shotstream.model.device import pick_device, pick_dtype
    from shotstream.parity.verify import verify

    device = pick_device(args.device)
    counts = {True: 0, False: 0}
    for result in verify(args.directory, device, pick_dtype(device, args.dtype)):
        counts[result.passed] += 1
        sys.stdout.write(format_line(result) + "\n")
        sys.stdout.flush()
    sys.stdout.write(f"{counts[True]} passed, {counts[False]} failed\n")
    return int(counts[False] > 0)


def format_line(result: "CaseResult") -> str:
    """Name, relative error, tolerance, pass or fail, and what there is to say about it."""
    error, tolerance = ("-" if value is None else f"{value:.1e}" for value in (result.error, result.tolerance))
    verdict = "pass" if result.passed else "fail"
    return f"{result.name:<{NAME_COLUMNS}} {error:>8} {tolerance:>8}  {verdict}  {result.note}".rstrip()
