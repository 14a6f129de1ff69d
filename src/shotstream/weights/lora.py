"""Read LoRA adapters in every published naming and merge them into a transformer.

| naming | low-rank halves | other tensors |
|---|---|---|
| PEFT, diffusers | `X.lora_A.weight`, `X.lora_B.weight`, with or without `.default` | |
| kohya, musubi-tuner | `lora_unet_X_with_underscores.lora_down.weight`, `.lora_up.weight` | `.alpha` |
| ComfyUI, LightX2V | `diffusion_model.X.lora_down.weight` or `lora_A` | `.alpha`, `.diff`, `.diff_b` |
| CineTrans | `X.lora_down.weight`, `X.lora_up.weight` | `X.orig.weight`: the weight that it changes |
| older diffusers | `X.lora.down.weight`, `X.lora.up.weight` | |

X is a module's name in Wan's or in diffusers' layout, behind any of `model.names.PREFIXES`.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, equal

from shotstream.core.errors import InputError
from shotstream.model.names import transformer_to_diffusers, unwrap
from shotstream.weights.finite import check_finite
from shotstream.weights.lora_scale import ScaleRule, ScaleSettings, header_settings, peft_settings
from shotstream.weights.tensors import read_checkpoint, read_json

ADAPTER_FILE = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
_HALF = re.compile(
    r"(?P<module>.+?)\.(?:lora_(?P<letter>[AB])|(?:lora_|lora\.|lora_linear_layer\.)(?P<word>down|up))"
    r"(?:\.(?P<adapter>[^.]+))?\.weight"
)
_ALPHA = re.compile(r"(?P<module>.+)\.alpha")
_DIFFERENCES = {"diff": "weight", "diff_b": "bias", "diff_m": "modulation"}
"""Suffixes of tensors that are added as they are, and what they are added to."""
_FLAT_PREFIX = re.compile(r"lora_(?:unet|transformer|dit)_+")
_TEXT_ENCODER = re.compile(r"lora_te\d?_|(?:base_model\.)?text_encoder\d?\.")
_PEFT_PREFIX = "base_model."
_ADAPTED = ".orig."
"""Part of the name of every weight that a CineTrans adapter changes."""
_HALVES = {"A": "down", "B": "up", "down": "down", "up": "up"}


@dataclass
class LowRank:
    """Halves of the change of one module, up @ down; `name` is the module's name in the file."""

    name: str
    adapter: str | None
    down: Tensor | None = None
    up: Tensor | None = None


def merge_low_rank(weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """Compute weight + scale * up @ down in float32, in the dtype of the weight; convolutions are flattened for it."""
    change = (up.float().flatten(1) @ down.float().flatten(1)).reshape(weight.shape)
    return (weight.float() + scale * change).to(weight.dtype)


def merge_adapter(
    state: Mapping[str, Tensor], path: Path, alpha: float | None = None
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Merge a LoRA into a transformer's tensors.

    Args:
        state: the transformer, original names.
        path: the LoRA's file, or the directory that holds `adapter_model.safetensors` and `adapter_config.json`.
        alpha: outweighs what the files say; None: theirs, and the rank (scale 1) where they say nothing.

    Returns:
        The merged tensors, and notes for the user on what was assumed.

    Raises:
        InputError: the adapter cannot be read, does not fit the transformer, is more than a plain LoRA, or its files
            contradict each other on its scale.
    """
    file, *configs = adapter_files(path)
    checkpoint = read_checkpoint(file)
    check_finite(checkpoint.tensors, str(file))
    try:
        settings = header_settings(checkpoint.metadata)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    settings += [peft_settings(read_json(config), str(config)) for config in configs]
    merged, notes = merge_tensors(state, checkpoint.tensors, file, settings, alpha)
    return merged, (*checkpoint.notes, *notes)


def adapter_files(path: Path | None) -> tuple[Path, ...]:
    """List the files of an adapter, given by its file or directory: tensors, and settings where there are any."""
    if path is None:
        return ()
    file = path / ADAPTER_FILE if os.path.isdir(path) else path
    config = file.parent / ADAPTER_CONFIG
    return (file, config) if config.is_file() else (file,)


def merge_tensors(
    state: Mapping[str, Tensor],
    adapter: Mapping[str, Tensor],
    source: Path,
    settings: Sequence[ScaleSettings] = (),
    alpha: float | None = None,
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Merge the tensors of a LoRA, in any published naming, into a transformer's.

    Args:
        state: the transformer, original names.
        adapter: low-rank halves, alphas and differences.
        source: of the adapter, for messages.
        settings: what its files say about its scale.
        alpha: outweighs all other statements; None: theirs, and the rank (scale 1) where there is none.

    Returns:
        The merged tensors, and notes for the user on what was assumed.

    Raises:
        InputError: as for `merge_adapter`.
    """
    merged = dict(state)
    names = _known_names(merged)
    pairs: dict[str, LowRank] = {}
    alphas: dict[str, float] = {}
    replaced = 0
    for name, value in adapter.items():
        module, _, suffix = name.rpartition(".")
        if half := _HALF.fullmatch(name):
            _add_half(pairs, half, value, names, source)
        elif match := _ALPHA.fullmatch(name):
            alphas[match["module"]] = _alpha_value(value, name, source)
        elif suffix in _DIFFERENCES:
            _add_difference(merged, names, module, _DIFFERENCES[suffix], value, source)
        elif _replace(merged, name, value):
            replaced += 1
        else:
            raise InputError(f"{source}: expected only a plain LoRA's tensors, got '{name}'; merge it with its trainer")
    if lonely := alphas.keys() - {pair.name for pair in pairs.values()}:
        raise InputError(f"{source}: '{min(lonely)}.alpha' belongs to no halves of a LoRA; fetch the file anew")
    rule = ScaleRule(source, settings, alphas, alpha)
    for module, pair in pairs.items():
        target = f"{module}.weight"
        down, up = _complete(pair, merged[target], target, source)
        merged[target] = merge_low_rank(merged[target], down, up, rule.scale(pair.name, down.shape[0]))
    if len(adapter) == replaced:
        raise InputError(f"{source}: expected the halves of a LoRA, found none; fetch the file anew")
    idle = all(value is state[name] or equal(value, state[name]) for name, value in merged.items())
    notes = (f"{source}: changes nothing: its values are 0, or too small for the transformer's precision",)
    return merged, (*rule.notes, *(notes if idle else ()))


def _add_half(
    pairs: dict[str, LowRank], half: re.Match[str], value: Tensor, names: Mapping[str, str], file: Path
) -> None:
    module = _resolve(half["module"], names, file)
    pair = pairs.setdefault(module, LowRank(half["module"], half["adapter"]))
    side = _HALVES[half["letter"] or half["word"]]
    if getattr(pair, side) is not None or (pair.name, pair.adapter) != (half["module"], half["adapter"]):
        raise InputError(f"{file}: holds several adapters of '{module}' ('{half[0]}'); expected one, export them apart")
    setattr(pair, side, value)


def _replace(merged: dict[str, Tensor], name: str, value: Tensor) -> bool:
    """Put a whole weight that lies beside the halves in the place of the transformer's, where it has one like it."""
    target = unwrap(name).replace(_ADAPTED, ".")
    if target not in merged or merged[target].shape != value.shape:
        return False
    merged[target] = value.to(merged[target].dtype)
    return True


def _complete(pair: LowRank, weight: Tensor, target: str, file: Path) -> tuple[Tensor, Tensor]:
    if pair.down is None or pair.up is None:
        raise InputError(
            f"{file}: expected both halves (lora_A and lora_B, or lora_down and lora_up) of every module, but "
            f"'{pair.name}' has one; fetch the file anew"
        )
    down, up = pair.down, pair.up
    fits = down.ndim == up.ndim == weight.ndim and up.shape[1] == down.shape[0] and down.shape[0] > 0
    if not fits or (up.shape[0], *down.shape[1:]) != weight.shape or up[0, 0].numel() != 1:
        raise InputError(
            f"{file}: adapts '{target}' with {list(up.shape)} x {list(down.shape)}, but the transformer has one of "
            f"{list(weight.shape)}; expected the adapter of this model"
        )
    return down, up


def _add_difference(
    merged: dict[str, Tensor], names: Mapping[str, str], module: str, kind: str, value: Tensor, file: Path
) -> None:
    target = f"{_resolve(module, names, file)}.{kind}"
    weight = merged.get(target)
    if weight is None or weight.shape != value.shape:
        found = "no such tensor" if weight is None else f"one of {list(weight.shape)}"
        raise InputError(
            f"{file}: changes '{target}' by {list(value.shape)}, but the transformer has {found}; "
            "expected the adapter of this model"
        )
    merged[target] = (weight.float() + value.float()).to(weight.dtype)


def _alpha_value(value: Tensor, name: str, file: Path) -> float:
    if value.numel() != 1:
        raise InputError(f"{file}: expected one number in '{name}', got the shape {list(value.shape)}; fetch it anew")
    return float(value)


def _known_names(tensors: Iterable[str]) -> dict[str, str]:
    """Map every spelling of a module's name (Wan's, diffusers', both also with underscores) to Wan's."""
    modules = {name.rpartition(".")[0] for name in tensors}
    known = {module: module for module in modules}
    known |= transformer_to_diffusers(known)
    return known | {name.replace(".", "_"): module for name, module in known.items()}


def _resolve(name: str, names: Mapping[str, str], file: Path) -> str:
    plain = unwrap(_FLAT_PREFIX.sub("", name.removeprefix(_PEFT_PREFIX), count=1))
    if _TEXT_ENCODER.match(name):
        raise InputError(
            f"{file}: adapts the text encoder too ('{name}'), and only the transformer's adapters are merged; "
            "take one that was trained without it"
        )
    if plain not in names:
        raise InputError(
            f"{file}: adapts '{name}', but the transformer has no such tensor; expected the adapter of this model"
        )
    return names[plain]
