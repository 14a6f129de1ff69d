"""Where a stage's figures go: a line of JSON, TensorBoard, and whoever watches."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shotstream.core.atomic_files import make_directory, writing
from shotstream.core.extras import require_packages

METRICS, BOARD = "metrics.jsonl", "tensorboard"
Report = Callable[[int, Mapping[str, float]], None]
"""Told a step's number and its figures."""


class MetricsLog:
    """Writes figures by step into a stage's directory and tells them on. Only the main process uses one."""

    def __init__(self, directory: Path, report: Report, *, board: bool = False) -> None:
        """Figures of the stage in `directory`; `board` writes TensorBoard's event files too.

        Raises:
            InputError: `tensorboard` is not installed.
        """
        self._path, self._report = make_directory(directory) / METRICS, report
        self._board = _open_board(directory / BOARD) if board else None

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """One row.

        Raises:
            InputError: it cannot be written.
        """
        with writing(self._path), self._path.open("a", encoding="utf8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()
        self._report(step, figures)


def _open_board(directory: Path) -> Any:
    require_packages("--board", "tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(directory))
