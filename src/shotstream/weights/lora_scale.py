"""Find how strongly a LoRA is to be merged: alpha over rank, from every place where trainers write them.

| place | written by |
|---|---|
| `X.alpha`, a tensor for each module | kohya's sd-scripts, musubi-tuner, ComfyUI |
| header `lora_adapter_metadata`, a JSON of PEFT's settings | diffusers |
| header `ss_network_alpha` and `ss_network_dim` | kohya's sd-scripts, musubi-tuner |
| header or checkpoint `lora_alpha`, `network_alpha`, `alpha`; `rank`, `r`, ... | other trainers |
| `adapter_config.json` beside the file | PEFT |
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shotstream.core.errors import InputError

_ALPHA_KEYS = ("ss_network_alpha", "lora_alpha", "network_alpha", "alpha")
_RANK_KEYS = ("ss_network_dim", "lora_rank", "network_dim", "network_rank", "lora_dim", "rank", "r")
_NO_NUMBER = ("", "none", "null", "dynamic")
"""Texts that trainers write where there is no single number."""
_PEFT_HEADER = "lora_adapter_metadata"
_COMPONENT = "transformer."


@dataclass(frozen=True)
class ScaleSettings:
    """Alpha and rank of a LoRA as one place gives them (None: omitted), and PEFT's exceptions by module pattern."""

    where: str
    alpha: float | None = None
    rank: float | None = None
    by_root: bool = False
    """True: alpha is divided by the root of the rank (rank-stabilised LoRA)."""
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    rank_pattern: Mapping[str, float] = field(default_factory=dict)

    def alpha_of(self, module: str) -> float | None:
        """Look up alpha of a module, by its name in the file."""
        return next((alpha for pattern, alpha in self.alpha_pattern.items() if _matches(pattern, module)), self.alpha)


class ScaleRule:
    """Scales of the modules of one LoRA file, and notes for the user on what was assumed."""

    def __init__(
        self, file: Path, settings: Sequence[ScaleSettings], alphas: Mapping[str, float], override: float | None
    ) -> None:
        """Collect all statements on alpha.

        Args:
            file: of the LoRA, for messages.
            settings: of header and `adapter_config.json`. Left out where alpha tensors differ between modules, because
                one number can only sum those up.
            alphas: values of `X.alpha` tensors, by module name in the file.
            override: alpha that the user gave, which outweighs all others.
        """
        self._file, self._alphas, self._override = file, alphas, override
        self._settings = () if len(set(alphas.values())) > 1 else tuple(settings)
        self._by_root = any(given.by_root for given in settings)
        self._assumed, self._overruled = 0, ""

    def scale(self, module: str, rank: int) -> float:
        """Compute the factor of a module's product B A.

        Raises:
            InputError: two places contradict each other or the tensors' rank, or alpha is zero or not finite.
        """
        given = [("its alpha tensor", self._alphas[module])] if module in self._alphas else []
        for place in self._settings:
            alpha = place.alpha_of(module)
            if alpha is not None:
                self._check_rank(place, module, rank)
                given.append((place.where, alpha))
        if self._override is not None:
            given = self._overrule(given, self._override)
        if not given:
            self._assumed += 1
            return 1.0
        (where, alpha), *others = given
        for other_where, other in others:
            if not math.isclose(alpha, other):
                self._contradiction(f"{where} of '{module}' is {alpha:g}, but {other_where} is {other:g}")
        if not math.isfinite(alpha) or alpha == 0:
            raise InputError(
                f"{self._file}: alpha of '{module}' is {alpha:g}, which makes no adapter; give it with --lora-alpha"
            )
        return alpha / (math.sqrt(rank) if self._by_root else rank)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return assumptions and overruled settings so far, as sentences for the user."""
        assumed = (
            f"{self._file}: gives no alpha for {self._assumed} modules: assumed alpha = rank (scale 1); "
            "--lora-alpha sets another"
        )
        return (*((assumed,) if self._assumed else ()), *((self._overruled,) if self._overruled else ()))

    def _overrule(self, given: list[tuple[str, float]], alpha: float) -> list[tuple[str, float]]:
        other = next((f"{where} is {value:g}" for where, value in given if not math.isclose(value, alpha)), "")
        if other:
            self._overruled = f"{self._file}: took the given alpha {alpha:g}, although {other}"
        return [("the given alpha", alpha)]

    def _check_rank(self, place: ScaleSettings, module: str, rank: int) -> None:
        certain = module in self._alphas or self._override is not None or place.rank_pattern
        if place.rank is not None and place.rank != rank and not certain:
            self._contradiction(f"{place.where} gives rank {place.rank:g}, but '{module}' has rank {rank}")

    def _contradiction(self, found: str) -> None:
        raise InputError(f"{self._file}: its alpha is not certain: {found}; give the right one with --lora-alpha")


def header_settings(metadata: Mapping[str, str]) -> list[ScaleSettings]:
    """Read the settings in a safetensors header, or beside the tensors of a torch checkpoint.

    Raises:
        InputError: a number is none, or PEFT's settings ask for more than a plain LoRA.
    """
    ranks = (_number(metadata, key, "the header") for key in _RANK_KEYS)
    rank = next((number for number in ranks if number is not None), None)
    alphas = {key: _number(metadata, key, "the header") for key in _ALPHA_KEYS}
    plain = [ScaleSettings(f"the header's {key}", alpha, rank) for key, alpha in alphas.items() if alpha is not None]
    if _PEFT_HEADER not in metadata:
        return plain
    where = f"the header's {_PEFT_HEADER}"
    try:
        data = json.loads(metadata[_PEFT_HEADER])
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected JSON in {where}, got '{error}'; fetch the file anew") from error
    if not isinstance(data, Mapping):
        raise InputError(f"expected a mapping in {where}, got {type(data).__name__}; fetch the file anew")
    return [peft_settings({key.removeprefix(_COMPONENT): value for key, value in data.items()}, where), *plain]


def peft_settings(data: Mapping[str, Any], where: str) -> ScaleSettings:
    """Read PEFT's settings (`adapter_config.json`).

    Raises:
        InputError: a number is none, or they ask for more than a plain LoRA.
    """
    extra = [key for key in ("use_dora", "lora_bias") if data.get(key)]
    if extra or data.get("bias", "none") not in ("none", None):
        raise InputError(f"{where}: expected a plain LoRA, got {extra[0] if extra else 'biases'}; merge it with peft")
    return ScaleSettings(
        where,
        _number(data, "lora_alpha", where),
        _number(data, "r", where),
        bool(data.get("use_rslora")),
        _pattern(data, "alpha_pattern", where),
        _pattern(data, "rank_pattern", where),
    )


def _number(data: Mapping[str, Any], key: str, where: str) -> float | None:
    value = data.get(key)
    if value is None or (isinstance(value, str) and value.strip().lower() in _NO_NUMBER):
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        raise InputError(
            f"{where}: expected a number for '{key}', got {value!r}; correct it, or fetch the file anew"
        ) from None


def _pattern(data: Mapping[str, Any], key: str, where: str) -> dict[str, float]:
    value = data.get(key) or {}
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: expected a mapping for '{key}', got {value!r}; merge it with peft")
    return {str(name): number for name in value if (number := _number(value, name, f"{where}.{key}")) is not None}


def _matches(pattern: str, module: str) -> bool:
    """Return whether PEFT would apply a pattern to a module."""
    try:
        return re.match(rf"(.*\.)?(?:{pattern})$", module) is not None
    except re.error:
        return module.endswith(pattern)
