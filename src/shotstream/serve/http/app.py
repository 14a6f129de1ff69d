"""The server's app: HTTP routes for stories, and one WebSocket for each viewer."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.routing import Match

from shotstream import __version__
from shotstream.api import Model
from shotstream.core.errors import InputError
from shotstream.serve.commands import COMMAND_TYPES
from shotstream.serve.errors import Code, RequestError, code_of, message_of
from shotstream.serve.http import api_docs, takes
from shotstream.serve.http import stories as routes
from shotstream.serve.http import suggestions as ideas
from shotstream.serve.http import transfer as files
from shotstream.serve.http import watch as socket
from shotstream.serve.http.answers import error_answer
from shotstream.serve.http.api_docs import DOCS_PATH, PAGE_HEADERS, docs_parts, error_responses
from shotstream.serve.http.middleware import Guard, HeadRequests
from shotstream.serve.http.state import Server
from shotstream.serve.limits import Settings
from shotstream.serve.store import Store
from shotstream.serve.worker import Worker
from shotstream.serve.wrong_fields import describe_wrong_fields

WEB = Path(__file__).parent.parent / "web"
PAGE = "index.html"
_PLAIN: dict[int, tuple[Code, str]] = {
    404: ("not_found", "There is nothing at this address. /docs lists the addresses."),
    405: ("method_not_allowed", "This address does not take this method. /docs lists the methods of each."),
}
_ROUTERS = (routes.router, takes.router, files.router, ideas.router, socket.router, api_docs.router)
_JSON = "the header Content-Type: application/json"
_UNREADABLE: tuple[Code, str] = ("invalid", "The body cannot be read. Send JSON in UTF-8.")
_log = logging.getLogger(__name__)


class PageParts(StaticFiles):
    """Serves the files of the page, under the page's own rules; the page itself has another address."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Return the path of a file of the page, and its status."""
        return ("", None) if path == PAGE else super().lookup_path(path)

    def file_response(self, *args: Any, **options: Any) -> Response:
        """Return the response that sends a file, with the page's headers."""
        answer = super().file_response(*args, **options)
        answer.headers.update(PAGE_HEADERS)
        return answer


def make_app(open_model: Callable[[], Model], settings: Settings) -> FastAPI:
    """Return the application. It locks the directory of stories at once, and opens its model when it is started.

    It answers requests before the model is open: `app.state.server` is None until then. `app.state.opening` is the
    task that opens the model, and holds the error if that fails.

    Raises:
        InputError: the directory of the stories cannot be used, or another server uses it.
    """
    store = Store(settings.data)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.server = None
        app.state.opening = asyncio.create_task(_open(app, open_model, settings, store))
        try:
            yield
        finally:
            await _close(app)
            store.close()

    app = FastAPI(
        title="ShotStream",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        responses=error_responses(),
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    for router in _ROUTERS:
        app.include_router(router)
    app.mount(f"{DOCS_PATH}/parts", docs_parts())
    app.mount("/web", PageParts(directory=WEB))
    app.add_api_route("/", lambda: FileResponse(WEB / PAGE, headers=PAGE_HEADERS), include_in_schema=False)
    app.add_middleware(HeadRequests)
    app.add_middleware(Guard, settings=settings)
    _say_errors(app)
    return app


async def _open(app: FastAPI, open_model: Callable[[], Model], settings: Settings, store: Store) -> None:
    """Open the model, then go on with the shots that were unfinished when the server was last stopped."""
    worker = Worker(open_model, store, settings.limits)
    try:
        model = await asyncio.shield(asyncio.wrap_future(worker.opened))
        model.check_guidance(settings.guidance, settings.negative_prompt)
    except BaseException:  # there is no model, or the server is ended before there is one
        await asyncio.to_thread(worker.stop)
        raise
    server = app.state.server = Server(model, settings, store, worker)
    rows = await asyncio.to_thread(store.all)
    await server.open_stories.finish([row.id for row in rows if row.unfinished])


async def _close(app: FastAPI) -> None:
    """Stop opening the model, if it is not open yet, and close the open stories."""
    app.state.opening.cancel()
    await asyncio.wait([app.state.opening])
    if app.state.server is not None:
        await app.state.server.open_stories.close()


def _methods(request: Request) -> list[str]:
    """Return the methods that the address of a request takes; each of them may have a route of its own."""
    every = [route for router in _ROUTERS for route in router.routes]
    there = [route for route in every if isinstance(route, APIRoute) and route.matches(request.scope)[0] != Match.NONE]
    return sorted({method for route in there for method in route.methods or ()})


def _say_errors(app: FastAPI) -> None:
    """Answer every error with a code and a message; log an unexpected one, and leave out its details."""

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = list(error.errors())
        kind = request.headers.get("content-type", "")
        if errors[0]["loc"] == ("body",) and "json" not in kind:
            sent = f"it was sent as {kind[:100]}" if kind else "its kind was not said"
            return error_answer("invalid", f"The body is not read as JSON: {sent}. Send {_JSON}.")
        return error_answer("invalid", describe_wrong_fields(errors, COMMAND_TYPES))

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, RequestError):  # while a body was read
            return error_answer(error.__cause__.code, message_of(error.__cause__))
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and (methods := _methods(request)):
            return error_answer(*_PLAIN[error.status_code], {"Allow": ", ".join(methods)})
        return error_answer(*_PLAIN.get(error.status_code, _UNREADABLE), error.headers)

    @app.exception_handler(InputError)
    async def refused(_: Request, error: InputError) -> JSONResponse:
        return error_answer(code_of(error), message_of(error))

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        _log.error("a request failed", exc_info=error)
        return error_answer("internal", message_of(error))
