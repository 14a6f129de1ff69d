"""Check that the installed engine computes a directory of recorded tensors, case by case."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from shotstream.core.errors import InputError
from shotstream.parity import losses, model, numbers, pipeline
from shotstream.parity.case import CaseResult, Golden, failed


@dataclass(frozen=True)
class Check:
    """A group of cases: the prefix of their names, the files they need (recordings last), and their function."""

    name: str
    files: tuple[str, ...]
    run: Callable[[Golden], Iterable[CaseResult]]


def _weights(folder: str) -> tuple[str, str]:
    return f"{folder}/config.json", f"{folder}/weights.safetensors"


CHECKS = (
    Check("dit/t2v", (*_weights("dit"), model.DIT), model.check_t2v),
    Check("dit/next_shot", (*_weights("dit"), model.DIT), model.check_next_shot),
    Check("dit/one_caption", (*_weights("dit"), model.DIT), model.check_one_caption),
    Check("dit/no_indicator", (*_weights("dit"), model.DIT), model.check_no_indicator),
    Check("causal/full", (*_weights("causal"), model.CAUSAL), model.check_causal),
    Check("causal/window", (*_weights("causal"), model.WINDOW_FILE), model.check_window),
    Check("causal/block_causal", (*_weights("causal"), model.BLOCK_CAUSAL), model.check_block_causal),
    Check("vae/encode", (*_weights("vae"), model.VAE), model.check_vae_encode),
    Check("vae/decode", (*_weights("vae"), model.VAE), model.check_vae_decode),
    Check("umt5", (*_weights("umt5"), model.UMT5), model.check_umt5),
    Check("scheduler", (numbers.SCHEDULER,), numbers.check_scheduler),
    Check("context_sampling", (numbers.CONTEXT_SAMPLING,), numbers.check_context_sampling),
    Check("losses/fm", (*_weights("dit"), losses.LOSSES), losses.check_teacher),
    Check("losses/ode", (*_weights("causal"), losses.LOSSES), losses.check_causal_init),
    Check("losses/dmd", (*_weights("dit"), losses.FAKE_WEIGHTS, losses.LOSSES), losses.check_distribution_matching),
    Check("losses/critic", ("dit/config.json", losses.FAKE_WEIGHTS, losses.LOSSES), losses.check_critic),
    Check("losses/rollout", (*_weights("causal"), losses.LOSSES), losses.check_self_forcing),
    Check(
        "pipeline",
        (*_weights("causal"), *_weights("vae"), pipeline.SCRIPT, pipeline.CASES),
        pipeline.check_pipeline,
    ),
    *(
        Check(f"manifest/{name}", (f"manifest/{name}.json",), partial(numbers.check_manifest, name=name))
        for name in numbers.FULL_SIZE
    ),
)


def verify(directory: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Iterator[CaseResult]:
    """Run every check over a directory of recorded tensors and yield its cases as they are done.

    A file that is missing or damaged is a case that failed, and says why.

    Raises:
        InputError: nothing in the directory is a recording.
    """
    check_directory(directory)
    golden = Golden(directory, device, dtype)
    return (result for check in CHECKS for result in run_check(check, golden))


def check_directory(directory: Path) -> None:
    """Raise InputError unless the directory has a file that a check reads."""
    if not os.path.isdir(directory):
        found = "a file" if os.path.isfile(directory) else "nothing"
        raise InputError(f"expected a directory of recorded tensors, found {found} at {directory}; check the path")
    if not any(os.path.isfile(directory / check.files[-1]) for check in CHECKS):
        raise InputError(
            f"expected a directory of recorded tensors (dit/cases.safetensors, scheduler.json, ...), "
            f"got {directory} without one of them; pass a directory laid out like tests/golden"
        )


def run_check(check: Check, golden: Golden) -> list[CaseResult]:
    """Return the cases of one check; an exception becomes a failed case after those that were done."""
    lost = [name for name in check.files if not os.path.isfile(golden.directory / name)]
    if lost:
        return [failed(check.name, f"missing {', '.join(lost)}")]
    results: list[CaseResult] = []
    try:
        with full_precision():
            for result in check.run(golden):
                results.append(result)
    except Exception as error:
        results.append(failed(check.name, _in_one_line(error)))
    return results


@contextmanager
def full_precision() -> Iterator[None]:
    """Switch off TF32 and coarser modes in matrix products and convolutions of float32."""
    matmul, convolution = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolution


def _in_one_line(error: Exception) -> str:
    said = " ".join(str(error).split())
    return said if isinstance(error, InputError) else f"{type(error).__name__}: {said}"[:200]
