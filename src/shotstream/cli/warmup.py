"""`shotstream warmup`: pays now for what a first run would pay for, and says how much that is."""

import argparse
import sys
import time
from typing import Any

from shotstream.cli.opening import add_model_arguments, open_asked


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds `warmup`."""
    parser = subparsers.add_parser("warmup", help="fetch and load a model, make a throw-away shot, say what that took")
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Opens the model and makes the same shot twice: a first run pays the difference, later ones do not."""
    started_s = time.perf_counter()
    from shotstream.engine.warmup import make_warmup_shot

    times_s = [started_s, time.perf_counter()]
    parts = open_asked(args).parts
    times_s.append(time.perf_counter())
    for _ in range(2):
        make_warmup_shot(parts)
        times_s.append(time.perf_counter())
    steps = ("libraries", "model", "first shot", "the same shot again")
    for step, sooner_s, later_s in zip(steps, times_s, times_s[1:], strict=False):
        sys.stdout.write(f"{step}: {later_s - sooner_s:.2f} s\n")
    return 0
