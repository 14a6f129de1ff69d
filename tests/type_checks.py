"""Check the shapes in annotations of the package in every test, with jaxtyping and beartype.

Plain types are left to mypy: many tests hand over a wrong one on purpose, to see how it is refused.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import jaxtyping
from beartype import beartype
from jaxtyping import AbstractArray


def install() -> None:
    """Check shapes in modules of the package that are imported from now on.

    Functions whose annotations name no shape stay as they are: a wrapper around each would take a third of the time of
    all tests.
    """
    jaxtyping.install_import_hook("shotstream", "type_checks.check")
    jaxtyping.jaxtyped = partial(_wrap_where_shapes, jaxtyping.jaxtyped)


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with the shapes in its annotations checked at every call."""
    hints = getattr(function, "__annotations__", {})
    shapes = {name: hint for name, hint in hints.items() if _names_shape(hint)}
    if not shapes:
        return function
    function.__annotations__ = shapes
    try:
        return beartype(function)
    finally:
        function.__annotations__ = hints


def _wrap_where_shapes(jaxtyped: Callable[..., Any], *, typechecker: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return the decorator that jaxtyping's hook puts on every class and function."""

    def decorate(item: Any) -> Any:
        function = item.__init__ if isinstance(item, type) else getattr(item, "fget", getattr(item, "__func__", item))
        hints = getattr(function, "__annotations__", {}).values()
        return jaxtyped(item, typechecker=typechecker) if any(map(_names_shape, hints)) else item

    return decorate


def _names_shape(hint: object) -> bool:
    if isinstance(hint, str):
        return "Tensor" in hint or "rray" in hint or "Frame" in hint
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(_names_shape(inner) for inner in get_args(hint))
