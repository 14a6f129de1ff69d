"""Frozen dataclasses from plain data, strictly: an unknown key is an error that names the nearest known one."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import yaml

from shotstream.core.errors import InputError

T = TypeVar("T")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ' (did you mean ...?)' for the nearest known word, or an empty text if none is near."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean '{matches[0]}'?)" if matches else ""


def check_keys(data: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raise InputError for the first key of `data` that is not known."""
    known = list(known)
    for key in data:
        if key not in known:
            hint = nearest(str(key), known) or f"; known keys: {', '.join(known)}"
            raise InputError(f"{where}: unknown key '{key}'{hint}")


def from_dict(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    """Build an instance of the frozen dataclass `cls` from plain (JSON or YAML) data, with nested dataclasses.

    Raises:
        InputError: `data` is no mapping, has an unknown or lacks a required key, or a value of another type.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: expected a mapping, got {type(data).__name__}; write it as keys with values")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    check_keys(data, fields, where)
    hints = typing.get_type_hints(cls)
    missing = [
        name
        for name, field in fields.items()
        if name not in data and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{where}: missing key '{missing[0]}'; add it")
    return cls(**{name: _convert(hints[name], value, f"{where}.{name}") for name, value in data.items()})


def to_dict(config: Any) -> dict[str, Any]:
    """Return plain data of a dataclass, ready for JSON; the inverse of `from_dict`."""
    return dataclasses.asdict(config)


def override(config: T, changes: Sequence[str]) -> T:
    """Return a frozen dataclass with some of its fields changed.

    Args:
        config: the dataclass; nested ones are reached by dots.
        changes: `path.to.field=value` each, the value as in YAML.

    Raises:
        InputError: a change has no such form, there is no such field (the nearest is named), or the value is of
            another type.
    """
    data = to_dict(config)
    for change in changes:
        path, equals, value = change.partition("=")
        if not equals:
            raise InputError(f"expected FIELD=VALUE, got '{change}'; put an equals sign between the two")
        *groups, name = path.split(".")
        place = data
        for depth, group in enumerate([*groups, name]):
            where = ".".join(path.split(".")[:depth]) or "config"
            if not isinstance(place, dict):
                raise InputError(f"{where} has no fields, got '{change}'; set {where} itself")
            check_keys({group: None}, place, where)
            place = place if depth == len(groups) else place[group]
        place[name] = _parse(value)
    return from_dict(type(config), data, "config")


def _parse(text: str) -> Any:
    """Parse a YAML value, and also numbers like 1e-5, which YAML takes for text."""
    try:
        value = yaml.safe_load(text)
        return float(value) if isinstance(value, str) else value
    except (ValueError, yaml.YAMLError):
        return text


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _convert(next(a for a in arguments if a is not type(None)), value, where)
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InputError(f"{where}: expected a list, got {value!r}; put it in square brackets")
        inner = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(inner) != len(value):
            raise InputError(f"{where}: expected {len(inner)} values, got {len(value)}")
        return tuple(_convert(one, item, where) for one, item in zip(inner, value, strict=True))
    if origin is typing.Literal:
        if value not in arguments:
            raise InputError(f"{where}: expected one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: expected a finite number, got {value!r}; write one")
    if isinstance(hint, type) and (not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool)):
        raise InputError(f"{where}: expected {hint.__name__}, got {value!r}")
    return value
