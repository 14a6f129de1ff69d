"""Check who sends a request, and its size, before anything of it is read."""

import hmac
import re
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shotstream.serve.errors import RequestError, message_of
from shotstream.serve.http.answers import error_answer
from shotstream.serve.http.site import Site
from shotstream.serve.limits import Settings
from shotstream.serve.messages import problem_of

OPEN_PATHS = ("/", "/docs", "/api/health")
"""Paths that need no token: the pages, which hold no secret, and whether the server lives."""
OPEN_FOLDERS = ("/web/", "/docs/parts/")
IMPORT_PATH = "/api/import"
EXPORT_PATH = re.compile(r"/api/stories/[^/]+/export/[^/]+")
CAST_PATH = re.compile(r"/api/stories/[^/]+/cast")
POLICY_VIOLATION = 1008


class Guard:
    """Refuses who has no token, comes from another site's page, or sends too much.

    Without a token the server listens to this machine alone, and answers only to its names: a page of another site
    cannot have its own name point here.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings, self._site = app, settings, Site(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path = self._site.local_path(scope["path"])
        if path is None:
            await RedirectResponse(f"{scope['path']}/")(scope, receive, send)
            return
        scope = {**scope, "path": path}
        counted = _Counted(receive, self._most(path))
        try:
            self._check(scope)
            await self._app(scope, counted, send)
        except RequestError as refusal:
            await _refuse(refusal, scope, receive, send)

    def _most(self, path: str) -> int:
        limits = self._settings.limits
        if path == IMPORT_PATH:
            return limits.import_bytes
        if EXPORT_PATH.fullmatch(path):
            return limits.audio_bytes
        return limits.picture_bytes if CAST_PATH.fullmatch(path) else limits.body_bytes

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._site.check(scope, headers)
        if scope["path"] not in OPEN_PATHS and not scope["path"].startswith(OPEN_FOLDERS):
            self._check_token(headers, scope["query_string"])
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 15 or int(length) > self._most(scope["path"]):
            raise _too_large(self._most(scope["path"]))

    def _check_token(self, headers: Headers, query: bytes) -> None:
        token = self._settings.token
        if token is None:
            return
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        given = credentials.strip() if scheme.lower() == "bearer" else ""
        given = given or parse_qs(query.decode("latin-1")).get("token", [""])[0]
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise RequestError("unauthorized", "The token is missing or wrong. Send it as Bearer or as ?token=.")


class HeadRequests:
    """Answers HEAD wherever there is GET: with its status and headers, and no body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a HEAD request carried out as GET, and send the answer without its body."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, send_head)


class _Counted:
    """Receives a body, up to a size."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most, self._had = receive, most, 0

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._had += len(message.get("body", b""))
            if self._had > self._most:
                raise _too_large(self._most)
        return message


def _too_large(most: int) -> RequestError:
    return RequestError("too_large", f"This request is larger than {most} bytes, the most there may be. Send less.")


async def _refuse(refusal: RequestError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})  # a browser's page learns nothing of one that is closed before
        await send({"type": "websocket.send", "text": problem_of(refusal).model_dump_json()})
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    await error_answer(refusal.code, message_of(refusal))(scope, receive, send)
