"""One thread for every test and every process it starts: tiny networks gain nothing from more, and where other work
keeps the cores busy, threads that wait for each other make them several times slower."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
