"""What a measurement was made on, and how much memory it took."""

import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from shotstream import __version__

KIB = 1024
Made = TypeVar("Made")


@dataclass(frozen=True)
class Machine:
    """Hardware and versions. `gpu` is None where the measurement ran on the processor."""

    processor: str
    cores: int
    threads: int
    gpu: str | None
    system: str
    python: str
    torch: str
    shotstream: str

    @classmethod
    def here(cls, device: torch.device) -> "Machine":
        """This machine, for work on `device`."""
        return cls(
            processor=processor_name(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            threads=torch.get_num_threads(),
            gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            system=platform.platform(),
            python=platform.python_version(),
            torch=torch.__version__,
            shotstream=__version__,
        )


def processor_name(path: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model name where the system tells it, else its kind."""
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def peak_resident_bytes() -> int | None:
    """The most memory this process has had since it started, loading included; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * KIB


def peak_device_bytes(device: torch.device) -> int | None:
    """The most memory tensors have had on a CUDA device since `forget_peak`; None on others, which do not count it."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def forget_peak(device: torch.device) -> None:
    """Starts to count `peak_device_bytes` anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def synchronise(device: torch.device) -> None:
    """Waits until the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def timed(run: Callable[[], Made], device: torch.device) -> tuple[Made, float]:
    """What `run` gives, and the seconds until the device was done with it."""
    synchronise(device)
    started_s = time.perf_counter()
    made = run()
    synchronise(device)
    return made, time.perf_counter() - started_s
