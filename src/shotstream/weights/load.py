"""Tensors into networks, all or nothing, and adapters into tensors."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.core.spec import CONTEXT_LATENTS
from shotstream.model.context_injection import EMBEDDING
from shotstream.model.names import Part, identify, to_original
from shotstream.weights.tensors import read_json, read_tensors

NAMES_SHOWN = 3
ADAPTER_FILE = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER_NAME = re.compile(
    r"(?:(?:base_model|model|diffusion_model|transformer)\.)*(.+)\.lora_([AB])(?:\.[^.]+)?\.weight"
)


@dataclass(frozen=True)
class Mismatch:
    """How tensors differ from those a network has. `misshapen` holds (name, expected shape, shape that came)."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshapen)

    def report(self) -> str:
        """One line: counts, the first names of each kind, and the likely reason."""
        shapes = [f"{name}: expected {list(want)}, got {list(came)}" for name, want, came in self.misshapen]
        kinds = (("missing", self.missing), ("unexpected", self.unexpected), ("misshapen", shapes))
        return "; ".join([*(_some(kind, names) for kind, names in kinds if names), self.reason()])

    def reason(self) -> str:
        """What most likely happened."""
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
        """The design choice (`model.config`) in which the file differs from the configuration; '' where in none."""
        for want, came in ((want[:2], came[:2]) for name, want, came in self.misshapen if name == EMBEDDING):
            if want == (came[0], came[1] * (1 + CONTEXT_LATENTS)):
                return "with another injection ('frame', the context as latents)"
            if came == (want[0], want[1] * (1 + CONTEXT_LATENTS)):
                return "with another injection ('channel', the context as channels)"
        if "shot_embedding" in self.unexpected:
            return "with another indicator ('learned', an embedding by shot)"
        if self.missing == ("shot_embedding",):
            return "with another indicator (no embedding by shot, which 'learned' needs)"
        return ""


def compare(module: nn.Module, state: Mapping[str, Tensor]) -> Mismatch:
    """How `state` differs from the tensors that `module` has (which may be on the meta device)."""
    expected = module.state_dict()
    return Mismatch(
        missing=tuple(name for name in expected if name not in state),
        unexpected=tuple(name for name in state if name not in expected),
        misshapen=tuple(
            (name, tuple(expected[name].shape), tuple(value.shape))
            for name, value in state.items()
            if name in expected and expected[name].shape != value.shape
        ),
    )


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    where: str,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Gives `module` the tensors of `state`, or leaves it as it was.

    A module made on the meta device takes the tensors themselves, moved to `device` and floating ones cast to `dtype`
    (None: as they are), so that nothing is held twice. Any other module keeps its device and dtype and is copied into.

    Raises:
        InputError: a tensor is missing, unexpected or misshapen; nothing is loaded then.
    """
    mismatch = compare(module, state)
    if mismatch:
        raise InputError(f"{where}: the tensors do not fit {type(module).__name__}: {mismatch.report()}")
    if not any(parameter.is_meta for parameter in module.parameters()):
        module.load_state_dict(dict(state))
        return
    placed = {
        name: value.to(device=device, dtype=dtype if value.is_floating_point() else None)
        for name, value in state.items()
    }
    module.load_state_dict(placed, assign=True)
    if device is not None:
        module.to(device=device)
    assert not any(t.is_meta for t in (*module.parameters(), *module.buffers())), "a tensor was left on meta"


def read_part(path: Path, part: Part) -> dict[str, Tensor]:
    """The tensors of one part of a published model, under their original names.

    Raises:
        InputError: the file cannot be read, or holds something else than that part.
    """
    state = read_tensors(path)
    found = identify(state)
    if found is None or found[0] != part:
        what = found[1] if found else f"tensors of no known kind (first: {next(iter(state), 'none')})"
        advice = (
            "; name the weights it belongs to, and this file as the adapter" if found and found[0] == "lora" else ""
        )
        raise InputError(f"{path}: expected a {part.replace('_', ' ')}, got {what}{advice}")
    return to_original(part, state)


def merge_adapter(state: Mapping[str, Tensor], path: Path, alpha: float | None = None) -> dict[str, Tensor]:
    """A transformer's tensors with a PEFT LoRA merged into them: W + scale B A, computed in float32.

    Args:
        state: the transformer, original names.
        path: the adapter's file, or the directory that holds `adapter_model.safetensors` and `adapter_config.json`.
        alpha: over the rank it is the scale; None takes it from `adapter_config.json`, and without one the scale is 1.

    Raises:
        InputError: the adapter cannot be read, needs more than a plain LoRA, or does not fit the transformer.
    """
    file, *configs = adapter_files(path)
    settings = read_json(configs[0]) if configs else {}
    if settings.get("use_dora") or settings.get("alpha_pattern") or settings.get("bias", "none") != "none":
        raise InputError(
            f"{configs[0]}: expected a plain LoRA, got DoRA, biases or an alpha per module; merge it with peft"
        )
    alpha = settings.get("lora_alpha") if alpha is None else alpha
    if not isinstance(alpha, int | float | None):
        raise InputError(f"{configs[0]}: expected a number for 'lora_alpha', got {alpha!r}")
    merged = dict(state)
    for module, (down, up) in _adapter_pairs(read_tensors(file), file).items():
        name = f"{module}.weight"
        rank = down.shape[0]
        scale = 1.0 if alpha is None else alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
        weight = merged.get(name)
        if weight is None or up.shape[1] != rank or weight.shape != (up.shape[0], down.shape[1]):
            found = "no such tensor" if weight is None else f"one of {list(weight.shape)}"
            raise InputError(
                f"{file}: adapts '{name}' with {list(up.shape)} x {list(down.shape)}, but the transformer has {found}; "
                "expected the adapter of this model"
            )
        merged[name] = (weight.float() + scale * (up.float() @ down.float())).to(weight.dtype)
    return merged


def adapter_files(path: Path | None) -> tuple[Path, ...]:
    """The files of an adapter, named by its file or its directory: tensors, and settings where there are any."""
    if path is None:
        return ()
    file = path / ADAPTER_FILE if os.path.isdir(path) else path
    config = file.parent / ADAPTER_CONFIG
    return (file, config) if config.is_file() else (file,)


def _adapter_pairs(adapter: Mapping[str, Tensor], file: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """(A, B) of each adapted module, by the module's original name."""
    halves: dict[str, dict[str, Any]] = {"A": {}, "B": {}}
    for name, value in adapter.items():
        match = _ADAPTER_NAME.fullmatch(name)
        if match is None:
            raise InputError(f"{file}: expected only lora_A and lora_B weights, got '{name}'; merge it with peft")
        halves[match[2]][match[1]] = value
    odd = sorted(halves["A"].keys() ^ halves["B"].keys())
    if odd or not adapter:
        found = f"'{odd[0]}' has one of them" if odd else "it is empty"
        raise InputError(f"{file}: expected lora_A and lora_B for every module, but {found}; fetch the file anew")
    down, up = (to_original("transformer", halves[half]) for half in "AB")
    return {module: (down[module], up[module]) for module in down}


def _some(kind: str, names: Sequence[str]) -> str:
    more = ", ..." if len(names) > NAMES_SHOWN else ""
    return f"{len(names)} {kind} ({', '.join(names[:NAMES_SHOWN])}{more})"
