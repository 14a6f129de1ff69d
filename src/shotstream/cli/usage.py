"""Errors in the words of a command line, as one line each with the nearest that exists."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from typer import TyperException


def usage_message(error: TyperException) -> str:
    """Return what is wrong with a command line, what was probably meant and where help is, as one line.

    It is empty where help has been shown instead, as for a group without a command.
    """
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "shotstream"
    if hasattr(error, "possibilities") and context:
        what = _unknown_option(getattr(error, "option_name", ""), context)
    else:
        what = " ".join(error.format_message().split()).rstrip(".")
    return what and f"{command}: {what[:1].lower()}{what[1:]}; see '{command} --help'\n"


def _unknown_option(option: str, context: Any) -> str:
    if owners := _commands_with(option, context):
        return f"expected {option} with {', '.join(owners)} only; leave it out"
    known = {name.lstrip("-"): name for name in _options(context.command)}
    near = get_close_matches(option.lstrip("-"), known, n=1)
    return f"no such option {option}" + (f"; did you mean {known[near[0]]}?" if near else "")


def _commands_with(option: str, context: Any) -> list[str]:
    """Return the names of the commands beside this one that have the option."""
    commands: Mapping[str, Any] = getattr(context.parent.command, "commands", {}) if context.parent else {}
    return [name for name, one in commands.items() if option in _options(one)]


def _options(command: Any) -> Iterable[str]:
    """Return the options of a command as they are written."""
    return [name for parameter in command.params if parameter.param_type_name == "option" for name in parameter.opts]
