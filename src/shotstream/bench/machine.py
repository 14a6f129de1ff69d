"""Describe the machine of a measurement and its peak memory."""

import ctypes
import gc
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
CLEAR_REFS, RESET_PEAK = Path("/proc/self/clear_refs"), "5"
"""File in which a process of Linux resets its peak memory, and the text that it writes there."""
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
        """Describe this machine, for work on `device`."""
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
    """Return the processor's model name from `path`, else its architecture."""
    if path.is_file():
        for line in path.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def peak_resident_bytes() -> int | None:
    """Return the peak memory of this process in bytes, loading included; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * KIB


def peak_device_bytes(device: torch.device) -> int | None:
    """Return the peak memory of tensors on a CUDA device since `forget_peak`, in bytes; None for other devices."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def watch_peak(device: torch.device) -> Callable[[], int | None]:
    """Return a function that returns the peak memory since now, in bytes beyond what is held now.

    It is that of tensors on a CUDA device, else that of the process. None: the system does not say; of processes,
    Linux alone does.
    """
    if device.type == "cuda":
        forget_peak(device)
        tensors = torch.cuda.memory_allocated(device)
        return lambda: torch.cuda.max_memory_allocated(device) - tensors
    if not CLEAR_REFS.exists():
        return lambda: None
    gc.collect()
    _return_free_memory()
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return lambda: None
    resident = peak_resident_bytes() or 0
    return lambda: (peak_resident_bytes() or 0) - resident


def _return_free_memory() -> None:
    """Give memory that was freed back to the system, so that using it again counts; glibc alone can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def forget_peak(device: torch.device) -> None:
    """Restart the count of `peak_device_bytes`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished its queue."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def timed(run: Callable[[], Made], device: torch.device) -> tuple[Made, float]:
    """Return the result of `run`, and the seconds until the device had finished it."""
    synchronise(device)
    started_s = time.perf_counter()
    made = run()
    synchronise(device)
    return made, time.perf_counter() - started_s
