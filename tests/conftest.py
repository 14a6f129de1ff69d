"""Settings for all tests, made before the package is imported.

Every test runs on one thread: tiny networks gain nothing from more, and threads that wait for each other on a busy
machine make them several times slower. Every function of the package checks the shapes in its annotations.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import settings

import type_checks

pytest_plugins = ["published_models"]
type_checks.install()
os.fsync = lambda _: None  # no test outlives the machine, and a disk may take 10 ms each time

os.environ.setdefault("OMP_NUM_THREADS", "1")
if not shutil.which("nvidia-smi"):
    os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels run on the CPU, slowly, instead of being skipped

settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Leave shapes unchecked: for tests of how wrong ones are refused, and of code that torch compiles."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


FOLDER_MARKERS = {"studio": "browser", "train": "train"}
"""The folders whose tests all carry a marker."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of a folder, so that `-m "not browser"` leaves them out; put the long files in front.

    Workers of pytest-xdist take file after file. With the long ones first, no worker waits at the end for another.
    """
    for item in items:
        for folder in item.path.relative_to(Path(__file__).parent).parts[:-1]:
            if marker := FOLDER_MARKERS.get(folder):
                item.add_marker(marker)
    tests = Counter(item.path for item in items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    marked = {item.path for item in items if any(map(item.get_closest_marker, FOLDER_MARKERS.values()))}

    def rank(item: pytest.Item) -> tuple[int, int]:
        if item.path in slow:
            return 0, 0
        return (1, 0) if item.path in marked else (2, -tests[item.path])

    items.sort(key=rank)
