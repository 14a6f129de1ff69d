"""The checker that every function of the package runs under in tests: beartype, on annotations of array shapes.

Plain types are left to mypy: many tests hand over a wrong one on purpose, to see how it is refused.
"""

from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


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


def _names_shape(hint: object) -> bool:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(_names_shape(inner) for inner in get_args(hint))
