"""Run a server: open the model, take the port, serve until it is stopped."""

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from shotstream.api import Model
from shotstream.core import sockets
from shotstream.serve.http.app import make_app
from shotstream.serve.limits import Settings

MESSAGE_BYTES = 2**20
LEAVE_S = 5


def serve(open_model: Callable[[], Model], settings: Settings, started: Callable[[str], None]) -> None:
    """Run the server until it is interrupted; `started` is called with its address once it answers.

    Raises:
        InputError: there is no such model, the address cannot be used, or another server uses the stories.
    """
    listening = open_listener(settings)
    try:
        asyncio.run(serve_model(lambda: open_ready(open_model), settings, listening, started))
    finally:
        listening.close()


def open_listener(settings: Settings) -> socket.socket:
    """Open the socket at which the server listens.

    Raises:
        InputError: the address cannot be used.
    """
    return sockets.listen(settings.host, settings.port)


def open_ready(open_model: Callable[[], Model]) -> Model:
    """Open the model and make a first chunk, which takes longer than later ones.

    Raises:
        InputError: there is no such model.
    """
    model = open_model()
    model.warm_up()
    return model


async def serve_model(
    open_model: Callable[[], Model], settings: Settings, listening: socket.socket, started: Callable[[str], None]
) -> None:
    """Serve a model at a socket until the process is told to stop.

    Raises:
        InputError: the model cannot be opened, or the directory of stories cannot be used.
    """
    app = make_app(open_model, settings)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws_max_size=MESSAGE_BYTES,
        timeout_graceful_shutdown=LEAVE_S,
        server_header=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listening]))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.02)
    if server.started:
        name = f"[{settings.host}]" if ":" in settings.host else settings.host
        started(f"http://{name}:{listening.getsockname()[1]}/")
        await asyncio.wait([serving, app.state.opening], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = server.should_exit or _failed(app.state.opening)
    await serving
    if server.started and _failed(app.state.opening):
        app.state.opening.result()


def _failed(task: "asyncio.Task[None]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
