"""Errors for clients: a code for programs, and a line for people."""

import re
from http import HTTPStatus
from typing import Literal

from shotstream.core.errors import InputError

Code = Literal[
    "invalid",
    "unauthorized",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "conflict",
    "too_large",
    "full",
    "busy",
    "unavailable",
    "internal",
]
STATUS: dict[str, HTTPStatus] = {
    "invalid": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unauthorized": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "not_found": HTTPStatus.NOT_FOUND,
    "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "conflict": HTTPStatus.CONFLICT,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "full": HTTPStatus.INSUFFICIENT_STORAGE,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
    "unavailable": HTTPStatus.BAD_GATEWAY,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""`full`: a limit is reached until something is removed. `busy`: try again later. `unavailable`: the director is."""

_PATH = re.compile(r"[\w.@+~-]*(?:/[\w.@+~-]+){2,}")

_EXPECTED = re.compile(r"(^|.*?: )[Ee]xpected (.+?)(?:[,;] got (.+?))?(?:; (.+))?$", re.DOTALL)


class RequestError(InputError):
    """A request that cannot be met, with its code."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code


def code_of(error: Exception) -> Code:
    """Return the code of an error; `internal` if the request did not cause it."""
    if isinstance(error, RequestError):
        return error.code
    return "invalid" if isinstance(error, InputError) else "internal"


def message_of(error: Exception) -> str:
    """Return an error as a client may read it: in sentences that can be encoded, without paths of the server."""
    text = str(error) if isinstance(error, InputError) else "Something went wrong in the server. Its log says what."
    text = _PATH.sub("a file of the server", _EXPECTED.sub(_say_need, text)).strip() or "This cannot be done."
    end = "" if text.endswith((".", "!", "?")) else "."
    return f"{text[0].upper()}{text[1:]}{end}".encode("utf-8", "replace").decode()


def _say_need(found: "re.Match[str]") -> str:
    """Return "expected A, got B; advice", which is for programs, as sentences for people."""
    before, wanted, given, advice = found.groups()
    sentences = [f"This needs {wanted}", *([f"it was {given}"] if given else []), *([advice] if advice else [])]
    return before + " ".join(f"{one[0].upper()}{one[1:].rstrip('.')}." for one in sentences)
