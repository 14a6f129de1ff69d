"""HTTP: stories as files, out and in."""

import asyncio
import secrets
import shutil
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from shotstream.core.atomic_files import writing
from shotstream.serve.disk import check_disk_space
from shotstream.serve.errors import RequestError
from shotstream.serve.exports import Kind, export
from shotstream.serve.http.state import Here, Server
from shotstream.serve.imports import unpack
from shotstream.serve.views import StoryView

router = APIRouter(prefix="/api")
_TYPES = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "gif": "image/gif",
    "yaml": "application/yaml",
    "zip": "application/zip",
}


class PassingFile(FileResponse):
    """A file that was written for one answer, and is removed after it, whatever becomes of that."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            Path(self.path).unlink()


@router.get("/stories/{story}/export/{kind}", response_class=FileResponse)
def export_story(story: str, kind: Kind, server: Here) -> FileResponse:
    """The story as a file: its current branch, or with zip everything. A yaml with a cast is a zip of both."""
    row = server.store.get(story)
    if not server.copying.acquire(blocking=False):
        raise RequestError("busy", "other stories are being exported; try again in a moment")
    target = _temporary(server).with_suffix(f".{kind}")
    try:
        written = export(server.store.directory(row.id), kind, target)
    finally:
        server.copying.release()
    name = f"story-{row.id}.{kind}" if written == kind else f"story-{row.id}-{kind}.{written}"
    return PassingFile(target, media_type=_TYPES[written], filename=name)


@router.post("/import", status_code=201, openapi_extra={"requestBody": {"content": {"application/zip": {}}}})
async def import_story(request: Request, server: Here) -> StoryView:
    """A story from the zip of an export, under a new id."""
    await asyncio.to_thread(check_disk_space, server.store.data, server.settings.limits)
    if not server.copying.acquire(blocking=False):
        raise RequestError("busy", "other stories are being copied; try again in a moment")
    target = _temporary(server)
    try:
        with writing(target), target.open("xb") as file:
            async for piece in request.stream():
                await asyncio.to_thread(file.write, piece)
        return await asyncio.to_thread(_take_in, server, target)
    finally:
        server.copying.release()
        target.unlink(missing_ok=True)


def _take_in(server: Server, archive: Path) -> StoryView:
    """Unpacks an archive beside the stories, and moves it among them once it has been checked."""
    limits, unpacked = server.settings.limits, archive.with_suffix(".d")
    if server.store.count() >= limits.stories:
        raise RequestError("full", f"the server keeps {limits.stories} stories; remove one first")
    left = unpacked
    try:
        row = unpack(archive, unpacked, limits)
        place = server.store.directory(row.id)
        with writing(place):
            place.parent.mkdir(exist_ok=True)
            left = unpacked.rename(place)
        return server.view(server.store.add(row))
    except BaseException:
        shutil.rmtree(left, ignore_errors=True)
        raise


def _temporary(server: Server) -> Path:
    return server.passing / secrets.token_hex(8)
