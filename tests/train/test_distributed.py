"""How training runs: what is read ahead."""

import threading

import pytest
import torch

from shotstream.train.config import DistributedConfig
from shotstream.train.distributed import DistributedContext, PrefetchingReader


def test_the_next_step_is_read_while_one_is_computed_and_nothing_twice() -> None:
    read: list[tuple[int, int]] = []
    came = threading.Semaphore(0)

    def note(step: int, micro_batch: int) -> str:
        read.append((step, micro_batch))
        came.release()
        return f"{step}/{micro_batch}"

    ahead = PrefetchingReader(note)
    assert ahead(3, 0) == "3/0"
    for _ in range(2):
        assert came.acquire(timeout=10)
    assert read == [(3, 0), (4, 0)]
    assert ahead(3, 0) == "3/0", "asked for twice in a step"
    assert ahead(4, 0) == "4/0"
    assert came.acquire(timeout=10)
    assert read == [(3, 0), (4, 0), (5, 0)]


def test_what_cannot_be_read_says_so_when_it_is_asked_for() -> None:
    def read(step: int, micro_batch: int) -> str:  # noqa: ARG001
        if step == 1:
            raise OSError("gone")
        return "there"

    ahead = PrefetchingReader(read)
    assert ahead(0, 0) == "there"
    with pytest.raises(OSError, match="gone"):
        ahead(1, 0)


def test_a_cpu_reads_when_it_is_asked() -> None:
    read: list[int] = []
    ahead = DistributedContext(torch.device("cpu"), DistributedConfig()).prefetch(lambda step, _: read.append(step))
    ahead(0, 0)
    assert read == [0]
