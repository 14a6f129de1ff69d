"""Settings for all tests, made before the package is imported.

Every test runs on one thread: tiny networks gain nothing from more, and threads that wait for each other on a busy
machine make them several times slower. Every function of the package checks the shapes in its annotations.
"""

import os
from collections.abc import Iterator

import jaxtyping
import pytest
from hypothesis import settings

pytest_plugins = ["published_models"]
SHAPE_CHECKS = jaxtyping.install_import_hook("shotstream", "type_checks.check")

os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Leave shapes unchecked: for tests of how wrong ones are refused, and of code that torch compiles."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
