"""Show the progress of a long command: a bar for people, lines of JSON for programs."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    track,
)

T = TypeVar("T")


def counted(items: Iterable[T], name: str, total: int) -> Iterator[T]:
    """Yield items, and count them on stderr: with a bar in a terminal, else with a line for each."""
    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(items, name, total, console=console, transient=True)
        return
    for number, item in enumerate(items, start=1):
        sys.stderr.write(f"{name} {number}/{total}\n")
        sys.stderr.flush()
        yield item


class StageProgress:
    """The progress of one stage, in lines of JSON where there is no bar: `report` is told the step and its metrics."""

    def __init__(self, name: str, total: int, *, shown: bool = True) -> None:
        """The progress of `total` steps; where it is not `shown`, as in all processes but one, nothing is written."""
        self._name, self._shown = name, shown
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=console,
            disable=not (shown and console.is_terminal),
        )
        self._task = self._bar.add_task(name, total=total, metrics="")

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show a step and its metrics."""
        if not self._shown:
            return
        if self._bar.disable:
            sys.stdout.write(
                json.dumps(
                    {"stage": self._name, "step": step}
                    | {name: float(f"{value:.6g}") for name, value in metrics.items()}
                )
            )
            sys.stdout.write("\n")
            sys.stdout.flush()
            return
        shown = "  ".join(f"{name} {value:.3g}" for name, value in metrics.items() if not name.endswith("/lr"))
        self._bar.update(self._task, completed=step, metrics=shown)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
