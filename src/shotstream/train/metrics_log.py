"""Log of a stage's metrics: JSON lines, TensorBoard, and a callback."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shotstream.core.atomic_files import make_directory, writing
from shotstream.core.extras import require_packages

METRICS, BOARD = "metrics.jsonl", "tensorboard"
Report = Callable[[int, Mapping[str, float]], None]
"""Called with a step's number and its metrics by name."""


class MetricsLog:
    """Writes metrics by step into a stage's directory, and reports them. Only the main process uses one."""

    def __init__(self, directory: Path, report: Report, *, board: bool = False) -> None:
        """Log into `directory`; `board` writes TensorBoard's event files too.

        Raises:
            InputError: `tensorboard` is not installed.
        """
        self._path, self._report = make_directory(directory) / METRICS, report
        self._board = _open_board(directory / BOARD) if board else None

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one row.

        Raises:
            InputError: it cannot be written.
        """
        with writing(self._path), self._path.open("a", encoding="utf8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")
        if self._board is not None:
            for name, value in metrics.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()
        self._report(step, metrics)


def _open_board(directory: Path) -> Any:
    require_packages("--board", "tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(directory))
