"""Logging: the library logs through `logging`; a command decides what is shown."""

import logging
import sys
from typing import TextIO

ROOT = "shotstream"


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to `sys.stderr` as it is when something is said, not as it was when the handler was made."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.stream = sys.stderr
        super().emit(record)


def show_warnings() -> None:
    """Show the warnings and errors that the library logs, a line each, on stderr."""
    handler = StderrHandler()
    handler.setFormatter(logging.Formatter("shotstream: %(levelname)s: %(message)s"))
    logger = logging.getLogger(ROOT)
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING)
