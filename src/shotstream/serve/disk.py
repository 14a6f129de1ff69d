"""Count the disk space that stories take."""

import os
import shutil
from pathlib import Path

from shotstream.serve.errors import RequestError
from shotstream.serve.limits import Limits

SPARE_BYTES = 256 * 2**20
"""What is left free on the disk, whatever the limit."""


def used_bytes(directory: Path) -> int:
    """The size of all files below a directory; one that vanishes meanwhile counts nothing."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            path = Path(place, name)
            total += path.stat().st_size if path.exists() else 0
    return total


def check_disk_space(data: Path, limits: Limits) -> None:
    """Raises a RefusedError where there is no more room for stories."""
    if used_bytes(data) >= limits.disk_bytes:
        raise RequestError("full", f"the stories take {limits.disk_bytes >> 20} MiB, all that they may; remove one")
    if shutil.disk_usage(data).free < SPARE_BYTES:
        raise RequestError("full", "the disk is full; free some space")
