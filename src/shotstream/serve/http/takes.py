"""HTTP: takes as pictures and videos, the cast, and a shot's context frames."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse

from shotstream.core.video import read_video
from shotstream.engine.context import choose_context_frames
from shotstream.serve.commands import AddCast
from shotstream.serve.errors import RequestError
from shotstream.serve.http.api_docs import BINARY, binary
from shotstream.serve.http.state import Here, Server
from shotstream.serve.http.stories import record_of
from shotstream.serve.messages import CastView, Done
from shotstream.serve.pictures import JpegEncoder, read_picture
from shotstream.serve.views import ContextFrame, ContextView
from shotstream.story.cast import choose_members
from shotstream.story.history import History
from shotstream.story.selectors import SELECTORS, get_selector
from shotstream.story.take_files import StoryFiles
from shotstream.story.take_tree import Take

router = APIRouter(prefix="/api/stories/{story}")
_PICTURES = dict.fromkeys(("image/png", "image/jpeg", "image/webp"), BINARY)
_IMAGE = {"requestBody": {"content": _PICTURES, "required": True}}


@router.get("/takes/{shot}/{take}/picture", response_class=Response, responses=binary("image/jpeg"))
def take_picture(
    story: str, shot: int, take: int, server: Here, frame: Annotated[int | None, Query(ge=0)] = None
) -> Response:
    """Return one frame of a take as JPEG; without `frame` (from 0), the one in the middle."""
    found, files = _take(server, story, shot, take)
    index = found.length_frames // 2 if frame is None else frame
    if index >= found.length_frames:
        raise RequestError("not_found", f"this take has frames 0 to {found.length_frames - 1}; choose one of them")
    (picture,) = read_video(files.video(shot, take), [index])
    return Response(JpegEncoder(*picture.shape[:2]).encode(picture), media_type="image/jpeg")


@router.get("/takes/{shot}/{take}/video", response_class=FileResponse, responses=binary("video/mp4"))
def take_video(story: str, shot: int, take: int, server: Here) -> FileResponse:
    """Return a take as MP4."""
    path = server.replays.video(*_take(server, story, shot, take))
    return FileResponse(path, media_type="video/mp4", filename=f"story-{story}-{shot}-{take}.mp4")


@router.get("/context")
def context(story: str, server: Here) -> ContextView:
    """Return the context frames and cast images of the shot in the making or, if there is none, of the next shot."""
    row, record = server.store.get(story), record_of(server.store, story)
    if not server.model.policy.context:
        raise RequestError(
            "conflict", "This server's policy has no context frames: its cache is all that it remembers."
        )
    if row.context not in SELECTORS:
        raise RequestError("conflict", "This story chooses what a shot remembers by its caption, while it is made.")
    if record is None:
        return ContextView(shot=0, frames=[])
    history, doing = History(server.store.directory(story), record), row.doing
    waiting = doing.queue.shots[0].spec.cast if doing.queue.shots else None
    cast = choose_members(history.cast, waiting) if doing.work is None else doing.work.cast
    members, frames = choose_context_frames(
        history, get_selector(row.context), "", cast, server.model.config.shot.context_latents
    )
    known = {view.number: view for view in CastView.of(cast)}
    views = [ContextFrame(cast=known[ref.shot]) for ref in members]
    views += [ContextFrame(shot=ref.shot, take=history.branch[ref.shot], frame=ref.frame) for ref in frames]
    return ContextView(shot=len(history), frames=views)


@router.post("/cast", status_code=201, openapi_extra=_IMAGE)
async def add_cast(
    story: str,
    request: Request,
    caption: Annotated[str, Query(max_length=100_000)],
    server: Here,
    *,
    strict: bool = False,
) -> Done:
    """Add a PNG, JPEG or WebP picture to the cast, for the context of later shots; it gets the story's size.

    `notes` say what the model will not follow of the caption; with `strict` it is then refused.
    """
    await asyncio.to_thread(server.store.get, story)
    picture = await asyncio.to_thread(read_picture, await request.body())
    return Done(id=None, notes=await server.open_stories.carry_out(story, AddCast(picture, caption, strict)))


@router.get("/cast/{member}/picture", response_class=FileResponse, responses=binary("image/png"))
def cast_picture(story: str, member: int, server: Here) -> FileResponse:
    """Return the picture of a member of the cast in the story's size, as PNG; also of one that was removed."""
    server.store.get(story)
    record = record_of(server.store, story)
    if record is None or not 0 <= member < len(record.pictures):
        raise RequestError("not_found", "The cast has no such member. See the story's tree.")
    return FileResponse(StoryFiles(server.store.directory(story)).cast(member), media_type="image/png")


def _take(server: Server, story: str, shot: int, take: int) -> tuple[Take, StoryFiles]:
    server.store.get(story)
    record = record_of(server.store, story)
    for found in record.tree.takes if record else ():
        if (found.shot, found.take) == (shot, take):
            return found, StoryFiles(server.store.directory(story))
    raise RequestError("not_found", "The story has no such take. See the story's tree.")
