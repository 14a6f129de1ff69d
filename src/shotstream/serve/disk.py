"""Count the disk space that stories take."""

import os
import shutil
import threading
import time
from pathlib import Path

from shotstream.serve.errors import RequestError
from shotstream.serve.limits import Limits

SPARE_BYTES = 256 * 2**20
"""Bytes that are left free on the disk, whatever the limit."""
MEASURE_EVERY_S = 10.0
"""A measurement walks through the files of all stories, so it holds for a while."""


def used_bytes(directory: Path) -> int:
    """Return the size of all files below a directory; one that vanishes meanwhile counts nothing."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            path = Path(place, name)
            total += path.stat().st_size if path.exists() else 0
    return total


class DiskSpace:
    """The disk space of the stories, measured at most every `MEASURE_EVERY_S`. May be used from any thread."""

    def __init__(self, data: Path, limits: Limits) -> None:
        self._data, self._limits = data, limits
        self._lock = threading.Lock()
        self._used, self._measured_s = 0, -float("inf")

    def check(self) -> None:
        """Check that there is room for stories.

        Raises:
            RequestError: there is none.
        """
        if self._used_bytes() >= self._limits.disk_bytes:
            most = self._limits.disk_bytes >> 20
            raise RequestError("full", f"the stories take {most} MiB, all that they may; remove one")
        if shutil.disk_usage(self._data).free < SPARE_BYTES:
            raise RequestError("full", "the disk is full; free some space")

    def measure_again(self) -> None:
        """Have the next check measure, because something was removed."""
        with self._lock:
            self._measured_s = -float("inf")

    def _used_bytes(self) -> int:
        with self._lock:
            if time.monotonic() - self._measured_s >= MEASURE_EVERY_S:
                self._used, self._measured_s = used_bytes(self._data), time.monotonic()
            return self._used
