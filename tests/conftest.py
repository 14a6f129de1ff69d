"""One thread for every test and every process it starts: tiny networks gain nothing from more, and where other work
keeps the cores busy, threads that wait for each other make them several times slower."""

import os

from hypothesis import settings

pytest_plugins = ["published_models"]


os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")
