"""The WebSocket of a viewer: frames and news down, commands up."""

import asyncio
from contextlib import suppress

from anyio import CancelScope, create_task_group, sleep_forever
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from shotstream.core.spec import FPS
from shotstream.serve.broadcast import Viewer
from shotstream.serve.commands import id_of, read_command
from shotstream.serve.http.state import server_of
from shotstream.serve.messages import Done, Hello, Problem, problem_of
from shotstream.serve.packets import FrameKey

router = APIRouter()


@router.websocket("/api/stories/{story}/watch")
async def watch(socket: WebSocket, story: str, seen: str | None = None) -> None:
    """Send a story's frames and messages to a viewer, and carry out its commands.

    `seen` is "shot.take.frame", the last frame that the viewer had before its connection broke.
    """
    await socket.accept()
    viewer = Viewer()
    async with create_task_group() as group:
        group.start_soon(_listen, socket, story, viewer, group.cancel_scope)
        group.start_soon(_sit, socket, story, seen, viewer)
        with suppress(WebSocketDisconnect):
            await _send(socket, viewer)
        group.cancel_scope.cancel()


async def _send(socket: WebSocket, viewer: Viewer) -> None:
    """Send messages and frames until the viewer is disconnected."""
    while (item := await viewer.next()) is not None:
        if isinstance(item, str):
            await socket.send_text(item)
        else:
            await socket.send_bytes(item)
    await socket.close()


async def _sit(socket: WebSocket, story: str, seen: str | None, viewer: Viewer) -> None:
    """Connect the viewer to the story, once there is room, for as long as it stays."""
    try:
        viewer.seen, server = FrameKey.parse(seen), server_of(socket)
        row = await asyncio.to_thread(server.find, story)
        hello = Hello(
            story=row.id,
            global_caption=row.global_caption,
            width=row.width,
            height=row.height,
            fps=FPS,
            ahead_chunks=server.settings.limits.ahead_chunks,
        )
        async with server.open_stories.watching(row.id, viewer, hello):
            await sleep_forever()
    except Exception as error:  # said to the viewer, who can do nothing here any more
        viewer.send(problem_of(error))
        viewer.end()


async def _listen(socket: WebSocket, story: str, viewer: Viewer, scope: CancelScope) -> None:
    """Carry out commands, one after another, until the viewer leaves; also while it waits in line."""
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        text = message.get("text") or message.get("bytes") or b""
        viewer.send(await _answer(socket, story, text))
    scope.cancel()


async def _answer(socket: WebSocket, story: str, text: str | bytes) -> Done | Problem:
    try:
        command = read_command(text)
        notes = await server_of(socket).open_stories.carry_out(story, command)
        return Done(id=command.id, notes=notes)
    except Exception as error:  # answered, and the next command is another matter
        return problem_of(error, id_of(text))
