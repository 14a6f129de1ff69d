"""Say in plain words which field of a request is wrong, and what to send in its place."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

_BODY_PARTS = ("body", "query", "path")
_NAMED_BY = "type"
"""The field that says which command a message is."""
_PLAIN: Mapping[str, str] = MappingProxyType(
    {
        "missing": "is missing. Add it.",
        "extra_forbidden": "is not known here. Remove it, or correct its name.",
        "string_type": "is no text. Send text in quotes.",
        "string_too_short": "is empty. Write something.",
        "string_too_long": "is too long. Send at most {max_length} characters.",
        "string_pattern_mismatch": "is no frame. Send SHOT.TAKE.FRAME, as in 0.0.12.",
        "int_type": "is no whole number. Send one, such as 3.",
        "int_parsing": "is no whole number. Send one, such as 3.",
        "int_parsing_size": "is too large. Send a smaller number.",
        "int_from_float": "is no whole number. Send one, such as 3.",
        "float_type": "is no number. Send one, such as 2.5.",
        "float_parsing": "is no number. Send one, such as 2.5.",
        "finite_number": "is no number. Send one, such as 2.5.",
        "bool_type": "is neither true nor false. Send one of them.",
        "bool_parsing": "is neither true nor false. Send one of them.",
        "greater_than_equal": "is too small. Send at least {ge}.",
        "less_than_equal": "is too large. Send at most {le}.",
        "too_short": "has too few entries. Send at least {min_length}.",
        "too_long": "has too many entries. Send at most {max_length}.",
        "tuple_type": "is no list. Send a list in brackets.",
        "list_type": "is no list. Send a list in brackets.",
        "literal_error": "has another value than it may have. Send {expected}.",
        "union_tag_invalid": "names no command that there is. Send one of {expected_tags}.",
        "union_tag_not_found": "has no type. Add one, which names a command.",
        "json_invalid": "is no JSON. Send an object, such as {{}}.",
        "json_type": "is no JSON. Send an object, such as {{}}.",
        "model_type": "is no object. Send one in braces.",
        "model_attributes_type": "is no object. Send one in braces.",
        "dict_type": "is no object. Send one in braces.",
        "string_unicode": "is no Unicode text. Send UTF-8.",
    }
)
"""Sentences that say what is wrong and what to do, by the kind of the reader's error."""


def describe_wrong_fields(errors: Sequence[Any], commands: Collection[str] = ()) -> str:
    """Return the first of pydantic's errors as sentences: which field is wrong, how, and what to send.

    `commands` are the types of the commands that a message can be, which pydantic puts before the names of fields.
    """
    first = errors[0]
    problem = _PLAIN.get(first["type"], "cannot be used. See /docs for what it can be.")
    return f"{_name(first, commands)} {problem.format(**first.get('ctx', {}))}"


def _name(error: Mapping[str, Any], commands: Collection[str]) -> str:
    """Return the name of a field as people write it, such as `shots[0].text`; "The message" where it is the whole."""
    parts = [part for part in error["loc"] if part not in _BODY_PARTS]
    if len(parts) > 1 and parts[0] in commands and isinstance(parts[1], str):
        parts = parts[1:]
    if error["type"] == "json_invalid":
        parts = []
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")
    return f"`{name}`" if name else "The message"
