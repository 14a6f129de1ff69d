"""`shotstream bench --policies`: policies side by side in one table."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from shotstream.bench.policies import PolicyTiming, choose_policies, time_policies
from shotstream.cli.output import emit_json
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from shotstream.runtime.cuda_graphs import CudaGraphPool
    from shotstream.weights.build import ModelComponents

_MIB = 2**20
_NOTE = (
    "full window: FPS of the last chunk of shots of seven chunks. growth: time of the last shot over that of a story "
    "of one shot. peak: memory beyond the model's. Weights that were not trained for a policy say nothing about its "
    "quality."
)


@dataclass(frozen=True)
class PolicyComparison:
    """The policies to compare, the numbers of shots at which, and the chunks of a shot."""

    policies: tuple[str, ...]
    counts: tuple[int, ...]
    chunks: int

    @classmethod
    def of(cls, policies: str, counts: str, chunks: int) -> Self:
        """Read the names of policies, or "all", and numbers of shots, both with commas.

        Raises:
            InputError: there is no such policy, or a number is none or below 1.
        """
        numbers = [int(word) if word.strip().isdecimal() else 0 for word in counts.split(",")]
        if min(numbers) < 1:
            raise InputError(f"expected --growth as numbers of shots such as 1,5,20, got '{counts}'")
        return cls(choose_policies(policies), tuple(sorted(set(numbers))), chunks)


def compare_policies(
    parts: "ModelComponents",
    graphs: "CudaGraphPool | None",
    comparison: PolicyComparison,
    json_file: Path | None,
    console: "Console",
) -> None:
    """Time policies and print one table; a policy that cannot make the script is named with the reason."""
    from rich.table import Table

    table = Table("policy", "shots", "FPS", "full window", "first frame s", "growth", "cache MB", "peak MB")
    table.columns[0].no_wrap = True
    refused: dict[str, str] = {}
    made = []
    for timing in time_policies(
        parts, comparison.policies, comparison.counts, comparison.chunks, refused=refused.__setitem__, graphs=graphs
    ):
        made.append(timing)
        table.add_row(*_cells(timing))
    console.print(table)
    console.print(_NOTE)
    for name, reason in refused.items():
        console.print(f"{name}: not measured: {reason}")
    emit_json(json_file, {"policies": [to_dict(timing) for timing in made], "refused": refused})


def _cells(timing: PolicyTiming) -> list[str]:
    return [
        timing.policy,
        str(timing.shots),
        f"{timing.fps:.2f}",
        "" if timing.full_window_fps is None else f"{timing.full_window_fps:.2f}",
        f"{timing.first_frame_s:.2f}",
        f"{timing.growth:.2f}",
        f"{timing.cache_bytes / _MIB:.1f}",
        "" if timing.peak_bytes is None else f"{timing.peak_bytes / _MIB:.0f}",
    ]
