"""Load tensors into networks, all or nothing, and say how they differ where they do not fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.model.context_injection import EMBEDDING
from shotstream.model.names import Component, identify, to_original
from shotstream.model.transformer import ADDED_PARTS
from shotstream.weights.finite import check_conversion, check_finite, some_names
from shotstream.weights.tensors import Checkpoint, read_checkpoint

_ADDED = MappingProxyType({"ffn_conv": "a convolution in the feed-forward", "copy_previous": "gates of the head"})
"""The fields of `ADDED_PARTS` in words, for messages."""


@dataclass(frozen=True)
class Mismatch:
    """Differences between tensors and those a network has.

    `misshapen` holds (name, expected shape, shape found), `mistyped` names and dtypes that are not floating point.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    mistyped: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshapen or self.mistyped)

    def report(self) -> str:
        """Say in one line how many tensors differ, the first names of each kind, and the likely reason."""
        shapes = [f"{name}: expected {list(want)}, got {list(found)}" for name, want, found in self.misshapen]
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "misshapen": shapes,
            "not of floating point": self.mistyped,
        }
        return "; ".join([*(_some(kind, names) for kind, names in kinds.items() if names), self.reason()])

    def reason(self) -> str:
        """Guess what most likely happened."""
        if self.mistyped and not (self.missing or self.unexpected or self.misshapen):
            return "the file is quantised in a way that is not read here, or damaged; take the model in bf16"
        if choice := self._choice():
            return f"the file is of a network {choice} than its config.json says; take the two from one model"
        if any("img" in name for name in self.unexpected):
            return "this looks like an image-to-video model; expected a text-to-video one"
        if any(".lora_" in name for name in self.unexpected):
            return "an adapter stands among the weights; merge it first"
        if self.missing and self.unexpected:
            kind = identify(self.unexpected)
            return f"this looks like another network ({kind[1] if kind else 'not one known here'})"
        if self.missing:
            return "the file is incomplete, or its config.json asks for a larger model"
        if self.unexpected:
            return "the file is of a larger model than its config.json says"
        return "the file is of a model of another width"

    def _choice(self) -> str:
        """Name the design choice (`model.config`) in which file and configuration differ; '' if none explains it."""
        for want, found in ((want[:2], found[:2]) for name, want, found in self.misshapen if name == EMBEDDING):
            if want[0] == found[0] and want[1] % found[1] == 0 and want[1] > 2 * found[1]:
                return "with another injection ('frame', the context as latents)"
            if want[0] == found[0] and found[1] % want[1] == 0 and found[1] > 2 * want[1]:
                return "with another injection ('channel', the context as channels)"
            if found == (want[0], 2 * want[1]):
                return "with 'previous' (the latent before as channels)"
            if want == (found[0], 2 * found[1]):
                return "without 'previous' (the latent before as channels)"
        for field, part in ADDED_PARTS.items():
            if any(part in name for name in self.unexpected):
                return f"with '{field}' ({_ADDED[field]})"
            if self.missing and all(part in name for name in self.missing):
                return f"without '{field}' ({_ADDED[field]})"
        if "shot_embedding" in self.unexpected:
            return "with another indicator ('learned', an embedding by shot)"
        if self.missing == ("shot_embedding",):
            return "with another indicator (no embedding by shot, which 'learned' needs)"
        return ""


def compare_tensors(module: nn.Module, state: Mapping[str, Tensor]) -> Mismatch:
    """Compare tensors with those that a module has, which may be on the meta device."""
    expected = module.state_dict()
    return Mismatch(
        missing=tuple(name for name in expected if name not in state),
        unexpected=tuple(name for name in state if name not in expected),
        misshapen=tuple(
            (name, tuple(expected[name].shape), tuple(value.shape))
            for name, value in state.items()
            if name in expected and expected[name].shape != value.shape
        ),
        mistyped=tuple(
            f"{name}: {str(value.dtype).removeprefix('torch.')}"
            for name, value in state.items()
            if name in expected and expected[name].is_floating_point() and not value.is_floating_point()
        ),
    )


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    where: str,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    exact: Callable[[str], bool] = lambda _: False,
) -> None:
    """Load tensors into a module, or leave it as it was.

    A module on the meta device takes the tensors themselves, moved to `device` and floating ones cast to `dtype`
    (None: as they are; those that `exact` picks by name: float32), so that nothing is held twice. Any other module
    keeps its device and dtype and is copied into.

    Raises:
        InputError: a tensor is missing, unexpected, misshapen or no floating one, or is not finite (in `dtype`).
    """
    mismatch = compare_tensors(module, state)
    if mismatch:
        raise InputError(f"{where}: the tensors do not fit {type(module).__name__}: {mismatch.report()}")
    if not any(parameter.is_meta for parameter in module.parameters()):
        check_finite(state, where)
        module.load_state_dict(dict(state))
        return

    def dtype_of(name: str, value: Tensor) -> torch.dtype | None:
        if not value.is_floating_point():
            return None
        return torch.float32 if exact(name) else dtype

    placed = {name: value.to(device=device, dtype=dtype_of(name, value)) for name, value in state.items()}
    check_conversion(state, placed, where)
    module.load_state_dict(placed, assign=True)
    if device is not None:
        module.to(device=device)
    assert not any(t.is_meta for t in (*module.parameters(), *module.buffers())), "a tensor was left on meta"


def read_component(path: Path, component: Component, key: str | None = None) -> Checkpoint:
    """Read one component of a published model, its tensors under their original names.

    Args:
        path: of its file.
        component: the expected one.
        key: as in `tensors.read_checkpoint`.

    Raises:
        InputError: the file cannot be read, or holds something else than that component.
    """
    checkpoint = read_checkpoint(path, key)
    found = identify(checkpoint.tensors)
    if found is None or found[0] != component:
        first = next(iter(checkpoint.tensors), "none")
        what = found[1] if found else f"tensors of no known kind (first: {first})"
        advice = "; pass the weights it belongs to, and this file as the LoRA" if found and found[0] == "lora" else ""
        raise InputError(f"{path}: expected a {component.replace('_', ' ')}, got {what}{advice}")
    return replace(checkpoint, tensors=to_original(component, checkpoint.tensors))


def _some(kind: str, names: Sequence[str]) -> str:
    return f"{len(names)} {kind} ({some_names(names)})"
