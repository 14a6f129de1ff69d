"""Answer a request that cannot be met: a status, a code for programs, and a line for people."""

from collections.abc import Mapping

from starlette.responses import JSONResponse

from shotstream.serve.errors import STATUS, Code
from shotstream.serve.messages import Message

ERROR_HEADERS: dict[str, dict[str, str]] = {
    "unauthorized": {"WWW-Authenticate": "Bearer"},
    "busy": {"Retry-After": "1"},
}
"""Headers that HTTP wants beside some errors (RFC 9110)."""


class ErrorAnswer(Message):
    """The body of every answer that is no success: a code for programs, and a line for people."""

    code: Code
    message: str


def error_answer(code: Code, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer to a request that cannot be met; `headers` are sent beside those of its code."""
    text = message.encode("utf-8", "replace").decode()
    body = ErrorAnswer(code=code, message=text).model_dump()
    return JSONResponse(body, STATUS[code], {**ERROR_HEADERS.get(code, {}), **(headers or {})})
