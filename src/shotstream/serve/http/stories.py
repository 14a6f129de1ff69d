"""HTTP: stories and their takes, and the server itself."""

import asyncio
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fastapi import APIRouter, Request, Response

from shotstream import __version__
from shotstream.core.errors import InputError
from shotstream.core.spec import FPS
from shotstream.serve.caption_notes import notes_of_story
from shotstream.serve.commands import Command
from shotstream.serve.doing import Doing, ShotQueue
from shotstream.serve.errors import RequestError
from shotstream.serve.http.state import Here, Server
from shotstream.serve.limits import check_negative_prompt, check_queue, check_spec
from shotstream.serve.messages import Done
from shotstream.serve.store import Store, begin_row
from shotstream.serve.views import BegunStory, Health, ModelView, NewStory, StoryTitle, StoryView, TreeView
from shotstream.story.caption_fit import StoryCaption, captions_of_shots
from shotstream.story.record import RECORD_FILE, StoryRecord
from shotstream.story.relevance import check_selector
from shotstream.story.repair import load_record
from shotstream.story.script import check_title
from shotstream.story.shot_spec import check_text

router = APIRouter(prefix="/api")


@router.get("/health")
def health(request: Request) -> Health:
    """Report that the server lives, and whether its model is open."""
    return Health(status="opening" if request.app.state.server is None else "ready", version=__version__)


@router.get("/models")
def models(server: Here) -> list[ModelView]:
    """Return the model that makes the stories, as a list of one."""
    parts = server.model.parts
    size, shot = parts.config.video, parts.config.shot
    return [
        ModelView(
            name=parts.config.name,
            source=Path(parts.source).name,
            fingerprint=parts.fingerprint,
            height=size.height,
            width=size.width,
            fps=FPS,
            chunk_latents=shot.chunk_latents,
            context_latents=shot.context_latents,
            max_chunks=shot.max_chunks,
            default_chunks=shot.default_chunks,
            longest_chunks=server.settings.limits.chunks,
            guidance=server.guidance,
            director=server.director is not None,
        )
    ]


@router.get("/stories")
def stories(server: Here) -> list[StoryView]:
    """Return all stories, newest first."""
    return [server.view(row) for row in server.store.all()]


@router.post("/stories", status_code=201)
def begin_story(story: NewStory, server: Here) -> BegunStory:
    """Begin a story and queue its shots; commands add more. `notes` say what the model will not follow of its captions.

    With `strict` such a story is refused.
    """
    config = server.model.config
    check_text(story.global_caption, "the global caption")
    context = story.context or config.context
    check_selector(context)
    check_room(server, len(story.global_caption))
    specs = [shot.spec(config.shot) for shot in story.shots]
    check_queue(len(specs), server.settings.limits)
    for spec in specs:
        check_spec(spec, server.settings.limits, config.shot)
    server.model.policy.check_shots(specs, config.shot)
    size, settings = config.video, server.settings
    guidance = settings.guidance if story.guidance is None else story.guidance
    negative_prompt = settings.negative_prompt if story.negative_prompt is None else story.negative_prompt
    check_negative_prompt(negative_prompt, settings.limits)
    server.model.check_guidance(guidance, negative_prompt)
    captions = [StoryCaption("", "", 0), *captions_of_shots(specs)]
    notes = notes_of_story(server.model, story.global_caption, captions, negative_prompt, strict=story.strict)
    row = begin_row(story.global_caption, story.seed, context, size.height, size.width, check_title(story.title))
    doing = Doing(queue=ShotQueue(paused=story.paused).insert(specs))
    row = replace(row, doing=doing, guidance=guidance, negative_prompt=negative_prompt)
    return BegunStory(**server.view(server.store.add(row)).model_dump(), notes=notes)


@router.get("/stories/{story}")
def one_story(story: str, server: Here) -> StoryView:
    """Return one story."""
    return server.view(server.store.get(story))


@router.patch("/stories/{story}")
def rename_story(story: str, new: StoryTitle, server: Here) -> StoryView:
    """Give a story another title."""
    server.store.get(story)
    return server.view(server.store.rename(story, check_title(new.title)))


@router.get("/stories/{story}/tree")
def tree(story: str, server: Here) -> TreeView:
    """Return all takes of a story's shots, its branches and its cast."""
    server.store.get(story)
    return TreeView.of(record_of(server.store, story))


@router.post("/stories/{story}/commands")
async def command(story: str, what: Command, server: Here) -> Done:
    """Carry out a command, as over the socket: make, steer or cut a shot, or go to another place of the story."""
    return Done(id=what.id, notes=await server.open_stories.carry_out(story, what))


@router.delete("/stories/{story}", status_code=204)
async def remove_story(story: str, server: Here) -> Response:
    """Remove a story and all its files; its viewers are disconnected."""
    await asyncio.to_thread(server.store.get, story)
    await asyncio.to_thread(server.store.remove, story)
    await server.open_stories.shut(story)
    await asyncio.to_thread(_remove_files, server, story)
    return Response(status_code=204)


def check_room(server: Server, text: int) -> None:
    """Check that a story with a global caption of `text` characters can begin.

    Raises:
        RequestError: the caption is too long, there are too many stories, or the disk is full.
    """
    limits = server.settings.limits
    if text > limits.text:
        raise RequestError("too_large", f"This text has {text} characters. Shorten it to {limits.text}.")
    if server.store.count() >= limits.stories:
        raise RequestError("full", f"the server keeps {limits.stories} stories; remove one first")
    server.disk.check()


def record_of(store: Store, story: str) -> StoryRecord | None:
    """Return the record of a story's takes; None if it has none yet."""
    path = store.directory(story) / RECORD_FILE
    return load_record(path.parent) if path.exists() else None


def _remove_files(server: Server, story: str) -> None:
    directory = server.store.directory(story)
    if not directory.exists():
        return
    with suppress(InputError):  # a record that is damaged names no takes
        record = record_of(server.store, story)
        server.replays.forget(record.tree.takes if record else ())
    shutil.rmtree(directory)
    server.disk.measure_again()
