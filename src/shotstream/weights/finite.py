"""Find NaN and infinity in weights."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from shotstream.core.errors import InputError

NAMES_SHOWN = 3


def some_names(names: Sequence[str]) -> str:
    """Join the first few names, with an ellipsis where there are more."""
    return ", ".join([*names[:NAMES_SHOWN], *(["..."] if len(names) > NAMES_SHOWN else [])])


def value_ranges(state: Mapping[str, Tensor]) -> dict[str, tuple[float, float]]:
    """Compute smallest and largest value of every floating tensor; both are NaN where one value is.

    Tensors on the meta device and empty ones have no values and are left out. All others must be on one device, for
    which the host waits once.
    """
    measured = {
        name: value
        for name, value in state.items()
        if value.is_floating_point() and value.numel() and not value.is_meta
    }
    if not measured:
        return {}
    ends = torch.stack([torch.stack(torch.aminmax(value)).float() for value in measured.values()]).tolist()
    return {name: (low, high) for name, (low, high) in zip(measured, ends, strict=True)}


def nonfinite_names(ranges: Mapping[str, tuple[float, float]]) -> list[str]:
    """Name the tensors whose range is not finite: those that hold NaN or infinity."""
    return [name for name, ends in ranges.items() if not all(map(math.isfinite, ends))]


def check_finite(state: Mapping[str, Tensor], where: str) -> None:
    """Check that tensors hold neither NaN nor infinity.

    Raises:
        InputError: names the first that do; `where` says where they are from.
    """
    names = nonfinite_names(value_ranges(state))
    if names:
        raise InputError(
            f"{where}: expected finite numbers, but {len(names)} of {len(state)} tensors hold NaN or infinity "
            f"({some_names(names)}); download or export these weights again"
        )


def check_conversion(before: Mapping[str, Tensor], after: Mapping[str, Tensor], where: str) -> None:
    """Check that tensors are finite after a conversion, and otherwise say whether they were before it.

    Raises:
        InputError: names the first that are not.
    """
    names = nonfinite_names(value_ranges(after))
    if names:
        check_finite({name: before[name] for name in names}, where)
        dtype = str(after[names[0]].dtype).removeprefix("torch.")
        raise InputError(
            f"{where}: {len(names)} tensors have values beyond the range of {dtype} ({some_names(names)}); "
            "use bfloat16 or float32"
        )
