"""Logging: the library says things through `logging`; a command decides that people see them."""

import logging

ROOT = "shotstream"


def show_warnings(level: int = logging.WARNING) -> None:
    """Show what the library logs from `level` on, a line each, on stderr. Calling it again replaces the level."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("shotstream: %(levelname)s: %(message)s"))
    logger = logging.getLogger(ROOT)
    logger.handlers = [handler]
    logger.setLevel(level)
