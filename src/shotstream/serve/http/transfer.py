"""HTTP: export, import and duplicate stories."""

import asyncio
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from pydantic import Field
from starlette.types import Receive, Scope, Send

from shotstream.core.atomic_files import writing
from shotstream.serve.edit import ExportOptions
from shotstream.serve.errors import RequestError
from shotstream.serve.exports import FilmKind, Kind, copy_story, export, export_with_sound
from shotstream.serve.http.api_docs import BINARY, binary
from shotstream.serve.http.state import Here, Server
from shotstream.serve.http.stories import check_room
from shotstream.serve.imports import unpack
from shotstream.serve.messages import Message
from shotstream.serve.store import StoryRow, copy_row
from shotstream.serve.views import StoryTitle, StoryView
from shotstream.story.script import MAX_FADE_FRAMES, MAX_SCALE, MAX_TITLE, check_title

router = APIRouter(prefix="/api")
_TYPES = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "gif": "image/gif",
    "png": "image/png",
    "yaml": "application/yaml",
    "zip": "application/zip",
}
_AUDIO = {"requestBody": {"content": {"audio/*": BINARY}, "required": True}}
_ZIP = {"requestBody": {"content": {"application/zip": BINARY}, "required": True}}


class PassingFile(FileResponse):
    """A file that was written for one answer, and is removed after it, whatever becomes of that."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, then remove it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            Path(self.path).unlink()


class ExportQuery(Message):
    """The options of an export, in its address (`ExportOptions`); browsers put the token there, too."""

    shot: Annotated[int, Field(ge=0)] | None = None
    take: Annotated[int, Field(ge=0)] | None = None
    frame: Annotated[int, Field(ge=0)] | None = None
    scale: Annotated[int, Field(ge=1, le=MAX_SCALE)] = 1
    filter: Literal["nearest", "lanczos"] = "nearest"
    fade: Annotated[int, Field(ge=0, le=MAX_FADE_FRAMES)] = 0
    token: str | None = None

    @property
    def options(self) -> ExportOptions:
        """Return the options alone."""
        return ExportOptions(**self.model_dump(exclude={"token"}))


@router.get("/stories/{story}/export/{kind}", response_class=FileResponse, responses=binary(*_TYPES.values()))
def export_story(story: str, kind: Kind, query: Annotated[ExportQuery, Query()], server: Here) -> FileResponse:
    """Return the story as a file: its current branch or one shot; as a zip, all branches.

    A yaml of a story with a cast comes as a zip with the pictures. A png is one frame.
    """
    row = server.store.get(story)
    target = _temporary(server).with_suffix(f".{kind}")
    with _copying(server):
        written = export(server.store.directory(row.id), kind, target, query.options, row.title)
    name = f"story-{row.id}.{kind}" if written == kind else f"story-{row.id}-{kind}.{written}"
    return PassingFile(target, media_type=_TYPES[written], filename=name)


@router.post(
    "/stories/{story}/export/{kind}",
    response_class=FileResponse,
    responses=binary("video/mp4", "video/webm"),
    openapi_extra=_AUDIO,
)
async def export_with_soundtrack(
    story: str, kind: FilmKind, query: Annotated[ExportQuery, Query()], request: Request, server: Here
) -> FileResponse:
    """Return the story as a video, with the audio file in the body as its soundtrack."""
    row = await asyncio.to_thread(server.store.get, story)
    target = _temporary(server).with_suffix(f".{kind}")
    audio = target.with_suffix(".audio")
    with _copying(server):
        try:
            await _receive(request, audio)
            directory = server.store.directory(row.id)
            await asyncio.to_thread(export_with_sound, directory, target, query.options, audio)
        finally:
            audio.unlink(missing_ok=True)
    return PassingFile(target, media_type=_TYPES[kind], filename=f"story-{row.id}.{kind}")


@router.post("/import", status_code=201, openapi_extra=_ZIP)
async def import_story(request: Request, server: Here) -> StoryView:
    """Add the story of an exported zip, under a new id."""
    await asyncio.to_thread(check_room, server, 0)
    target = _temporary(server)
    unpacked = target.with_suffix(".d")
    with _copying(server):
        try:
            await _receive(request, target)
            make = partial(unpack, target, unpacked, server.settings.limits)
            return await asyncio.to_thread(_add, server, unpacked, make)
        finally:
            target.unlink(missing_ok=True)


@router.post("/stories/{story}/duplicate", status_code=201)
def duplicate_story(story: str, server: Here, new: StoryTitle | None = None) -> StoryView:
    """Copy a story with all its takes, branches and cast, but without its queue.

    Without a title, the copy is named after the story.
    """
    row = server.store.get(story)
    title = check_title(new.title) if new else f"{(row.title or row.global_caption.strip())[: MAX_TITLE - 7]} (copy)"
    check_room(server, 0)
    copied = _temporary(server).with_suffix(".d")

    def copy() -> StoryRow:
        copy_story(server.store.directory(row.id), copied)
        return copy_row(row, title)

    with _copying(server):
        return _add(server, copied, copy)


async def _receive(request: Request, target: Path) -> None:
    """Write the body of a request into a new file."""
    with writing(target), target.open("xb") as file:
        async for piece in request.stream():
            await asyncio.to_thread(file.write, piece)


def _add(server: Server, made: Path, make: Callable[[], StoryRow]) -> StoryView:
    """Have a story's directory made beside the stories, and move it among them once it is whole."""
    left = made
    try:
        row = make()
        place = server.store.directory(row.id)
        if made.exists():
            with writing(place):
                place.parent.mkdir(exist_ok=True)
                left = made.rename(place)
        return server.view(server.store.add(row))
    except BaseException:
        shutil.rmtree(left, ignore_errors=True)
        raise


@contextmanager
def _copying(server: Server) -> Iterator[None]:
    """Take one of the few places for those who copy stories.

    Raises:
        RequestError: all are taken.
    """
    if not server.copying.acquire(blocking=False):
        raise RequestError("busy", "other stories are being copied; try again in a moment")
    try:
        yield
    finally:
        server.copying.release()


def _temporary(server: Server) -> Path:
    return server.passing / secrets.token_hex(8)
