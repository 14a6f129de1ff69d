"""Configuration from plain data: round trips, and one clear line for what does not fit."""

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest

from shotstream.core.config import check_keys, from_dict, nearest, override, to_dict
from shotstream.core.errors import InputError


@dataclass(frozen=True)
class Inner:
    """A nested part."""

    width: int = 4
    name: str = "x"


@dataclass(frozen=True)
class Outer:
    """One field of every kind."""

    steps: int
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"
    on: bool = False
    pair: tuple[int, str] = (1, "one")
    many: tuple[float, ...] = ()
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    parts: tuple[Inner, ...] = ()


FULL = Outer(3, 0.25, "b", True, (2, "two"), (1.0, 2.0), Inner(5), Inner(name="y"), (Inner(1), Inner(2)))


@pytest.mark.parametrize("config", [FULL, Outer(1)], ids=["full", "defaults"])
def test_a_config_comes_back_from_json(config: Outer) -> None:
    assert from_dict(Outer, json.loads(json.dumps(to_dict(config))), "c") == config


def test_whole_numbers_are_fine_where_a_float_is_wanted() -> None:
    rate = from_dict(Outer, {"steps": 1, "rate": 2}, "c").rate
    assert (rate, type(rate)) == (2.0, float)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"steps": 1, "rte": 1.0}, "c: unknown key 'rte' (did you mean 'rate'?)"),
        ({"steps": 1, "qqqq": 1}, "c: unknown key 'qqqq'; known keys: steps, rate,"),
        ({"rate": 1.0}, "c: missing key 'steps'"),
        ({"steps": "3"}, "c.steps: expected int, got '3'"),
        ({"steps": True}, "c.steps: expected int, got True"),
        ({"steps": 1, "on": 1}, "c.on: expected bool, got 1"),
        ({"steps": 1, "kind": "z"}, "c.kind: expected one of a, b, got 'z'"),
        ({"steps": 1, "pair": [1]}, "c.pair: expected 2 values, got 1"),
        ({"steps": 1, "many": "12"}, "c.many: expected a list, got '12'"),
        ({"steps": 1, "many": [1, "x"]}, "c.many: expected float, got 'x'"),
        ({"steps": 1, "rate": float("nan")}, "c.rate: expected a finite number, got nan; write one"),
        ({"steps": 1, "many": [float("inf")]}, "c.many: expected a finite number, got inf"),
        ({"steps": 1, "inner": {"widht": 1}}, "c.inner: unknown key 'widht' (did you mean 'width'?)"),
        ({"steps": 1, "inner": 3}, "c.inner: expected a mapping, got int"),
        ({"steps": 1, "maybe": {"width": "w"}}, "c.maybe.width: expected int, got 'w'"),
        ([1], "c: expected a mapping, got list"),
    ],
)
def test_what_does_not_fit_is_named(data: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        from_dict(Outer, data, "c")


def test_none_is_only_for_what_may_be_none() -> None:
    assert from_dict(Outer, {"steps": 1, "maybe": None}, "c").maybe is None
    with pytest.raises(InputError, match=r"c\.inner: expected a mapping"):
        from_dict(Outer, {"steps": 1, "inner": None}, "c")


def test_the_nearest_word_is_offered_where_one_is_near() -> None:
    assert nearest("chunk", ["chunks", "text"]) == " (did you mean 'chunks'?)"
    assert nearest("zzz", ["chunks", "text"]) == ""


def test_known_keys_pass() -> None:
    check_keys({"a": 1}, ["a", "b"], "c")
    with pytest.raises(InputError, match="unknown key '1'"):
        check_keys({1: 1}, ["a", "b"], "c")  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("steps=4", Outer(4)),
        ("rate=1e-5", Outer(1, rate=1e-5)),
        ("rate=2", Outer(1, rate=2.0)),
        ("kind=b", Outer(1, kind="b")),
        ("on=true", Outer(1, on=True)),
        ("pair=[3, three]", Outer(1, pair=(3, "three"))),
        ("many=[1, 2.5]", Outer(1, many=(1.0, 2.5))),
        ("inner.width=7", Outer(1, inner=Inner(7))),
        ("inner.name=a b=c", Outer(1, inner=Inner(name="a b=c"))),
        ("maybe={width: 9}", Outer(1, maybe=Inner(9))),
    ],
)
def test_a_field_is_changed_by_its_path(change: str, expected: Outer) -> None:
    assert override(Outer(1), [change]) == expected


def test_changes_apply_in_order_and_leave_the_rest() -> None:
    assert override(FULL, ["inner.width=1", "steps=9", "inner.width=2"]) == replace(
        FULL, steps=9, inner=replace(FULL.inner, width=2)
    )
    assert override(FULL, ["maybe=null"]) == replace(FULL, maybe=None)
    assert override(FULL, []) == FULL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("steps", "expected FIELD=VALUE, got 'steps'"),
        ("stps=3", "config: unknown key 'stps' (did you mean 'steps'?)"),
        ("inner.widht=3", "inner: unknown key 'widht' (did you mean 'width'?)"),
        ("iner.width=3", "config: unknown key 'iner' (did you mean 'inner'?)"),
        ("steps.more=3", "steps has no fields"),
        ("maybe.width=3", "maybe has no fields"),
        ("steps=many", "config.steps: expected int, got 'many'"),
        ("steps=1.5", "config.steps: expected int, got 1.5"),
        ("steps=1e3", "config.steps: expected int, got 1000.0"),
        ("on=1", "config.on: expected bool, got 1"),
        ("kind=c", "config.kind: expected one of a, b, got 'c'"),
        ("inner=3", "config.inner: expected a mapping, got int"),
        ("inner.name=3", "config.inner.name: expected str, got 3"),
        ("many=[1, [", "config.many: expected a list"),
    ],
)
def test_a_change_that_does_not_fit_is_named(change: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        override(Outer(1), [change])
