"""Describe the API: OpenAPI for HTTP, AsyncAPI for the socket, and a page that shows the first without a network."""

from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from pydantic.json_schema import models_json_schema

from shotstream import __version__
from shotstream.serve.commands import SocketCommand
from shotstream.serve.errors import STATUS
from shotstream.serve.http.answers import ErrorAnswer
from shotstream.serve.messages import ServerMessage

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
}
"""A page runs its own scripts and nothing else, talks to this server alone, and stands in no other page."""
DOCS_PATH = "/docs"
_TITLE = "ShotStream"
_SCHEMA = "#/components/schemas/"
_NEEDED_NO_TOKEN = ("/api/health",)
_FRAME = "FramePacket"
_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>ShotStream API</title>
  <link rel="stylesheet" href="docs/parts/swagger-ui.css">
</head>
<body>
  <div id="api"></div>
  <script src="docs/parts/swagger-ui-bundle.js"></script>
  <script type="module" src="web/docs.js"></script>
</body>
</html>
"""

BINARY = {"schema": {"type": "string", "format": "binary"}}
"""The OpenAPI of a file in a body."""

router = APIRouter()


def binary(*types: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of an answer that is a file of one of these media types."""
    return {200: {"content": dict.fromkeys(types, BINARY)}}


def error_responses() -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of every error that any request may get."""
    by_status: dict[int, list[str]] = {}
    for code, status in STATUS.items():
        by_status.setdefault(int(status), []).append(code)
    return {status: {"model": ErrorAnswer, "description": ", ".join(codes)} for status, codes in by_status.items()}


def describe_http(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an app: every request but that for health needs the token, where there is one."""
    document = get_openapi(title=_TITLE, version=__version__, routes=app.routes)
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "query": {"type": "apiKey", "in": "query", "name": "token"},
    }
    document["security"] = [{"bearer": []}, {"query": []}]
    for path in _NEEDED_NO_TOKEN:
        document["paths"][path]["get"]["security"] = []
    return document


def describe_socket() -> dict[str, Any]:
    """Return the AsyncAPI document of the socket, from the models that read and write its messages."""
    commands, messages = get_args(SocketCommand), get_args(get_args(ServerMessage)[0])
    _, schemas = models_json_schema(
        [*((kind, "validation") for kind in commands), *((kind, "serialization") for kind in messages)],
        ref_template=f"{_SCHEMA}{{model}}",
    )
    names = [kind.__name__ for kind in (*commands, *messages)]
    described: dict[str, Any] = {name: {"name": name, "payload": {"$ref": f"{_SCHEMA}{name}"}} for name in names}
    described[_FRAME] = {
        "name": _FRAME,
        "contentType": "application/octet-stream",
        "summary": "A header of 28 bytes and a JPEG (docs/protocol.md).",
        "payload": {"type": "string", "format": "binary"},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": f"{_TITLE}: the socket of a story", "version": __version__},
        "defaultContentType": "application/json",
        "channels": {
            "watch": {
                "address": "/api/stories/{story}/watch",
                "parameters": {"story": {"description": "The id of a story."}},
                "bindings": {
                    "ws": {
                        "query": {
                            "type": "object",
                            "properties": {"seen": {"type": "string"}, "token": {"type": "string"}},
                        }
                    }
                },
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in described},
            }
        },
        "operations": {
            "direct": _operation("receive", [kind.__name__ for kind in commands]),
            "watch": _operation("send", [*(kind.__name__ for kind in messages), _FRAME]),
        },
        "components": {"messages": described, "schemas": schemas["$defs"]},
    }


def _operation(action: str, names: list[str]) -> dict[str, Any]:
    """Return what the server does with some of the messages."""
    return {
        "action": action,
        "channel": {"$ref": "#/channels/watch"},
        "messages": [{"$ref": f"#/channels/watch/messages/{name}"} for name in names],
    }


@router.get("/api/openapi.json", include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """Return the OpenAPI document."""
    return describe_http(request.app)


@router.get("/api/asyncapi.json", include_in_schema=False)
def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI document."""
    return describe_socket()


@router.get(DOCS_PATH, include_in_schema=False)
def docs_page() -> HTMLResponse:
    """Return the page that shows the OpenAPI document."""
    return HTMLResponse(_PAGE, headers=PAGE_HEADERS)


def docs_parts() -> StaticFiles:
    """Return the files of Swagger UI, which come with a package and not from a network."""
    return StaticFiles(directory=Path(str(files("fastapi_offline"))) / "static")
