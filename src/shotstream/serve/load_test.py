"""A load test: simulated viewers direct stories on a running server, and note what they see and when.

Each viewer first directs as a person does, one instruction after another, which shows how long the picture takes to
follow. Then it lets a whole story play, which shows whether the picture ever has to wait.
"""

import asyncio
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from shotstream.bench.timing import Spread
from shotstream.core.errors import InputError
from shotstream.core.spec import FPS, PAPER_SHOT, ShotShape
from shotstream.serve.packets import FrameKey, FramePacket
from shotstream.world.captions import story_captions
from shotstream.world.stories import sample_story

START_BUFFER_S = 0.5
"""How much a viewer has before it begins to show."""
STEER_GOAL_S = 1.0
"""Time within which a steer should be seen."""
MIN_CHUNKS = 3
"""Of a shot that is steered when its first chunk shows: the second is being made by then."""
PATIENCE_S = 120
"""Of a viewer that nothing comes to."""


@dataclass(frozen=True)
class LoadTestPlan:
    """`viewers` at once, each with a story of its own: `shots` shots of `chunks` chunks directed, then as many played.

    `seed` chooses the stories.
    """

    viewers: int = 1
    shots: int = 5
    chunks: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.viewers < 1 or self.shots < 1:
            raise InputError(f"expected at least one viewer and shot, got {self.viewers} and {self.shots}")
        if self.chunks < MIN_CHUNKS:
            least = f"at least {MIN_CHUNKS} chunks"
            raise InputError(f"expected shots of {least}, which can be steered while they play, got {self.chunks}")


@dataclass(frozen=True)
class Playback:
    """A story as it was shown at 16 frames a second after a buffer of half a second; `lost` frames never came."""

    stalls: int
    stalled_s: float
    frames: int
    lost: int
    fps: float


@dataclass(frozen=True)
class Seen:
    """Times of one viewer: from asking for a shot to its first picture, from steering to the first picture after."""

    picture_s: tuple[float, ...]
    steer_s: tuple[float, ...]
    playback: Playback


@dataclass(frozen=True)
class LoadTestResult:
    """Times of all viewers. `fair_share` is the slowest viewer's speed over the fastest one's, while stories played."""

    plan: LoadTestPlan
    picture_s: Spread
    steer_s: Spread
    fair_share: float
    viewers: tuple[Seen, ...]

    @property
    def steers_in_time(self) -> float:
        """Return the share of steers that were seen within `STEER_GOAL_S`."""
        steers = [value for one in self.viewers for value in one.steer_s]
        return sum(value <= STEER_GOAL_S for value in steers) / len(steers)


async def run_load_test(url: str, plan: LoadTestPlan, token: str | None = None) -> LoadTestResult:
    """Run a load test on the server at `url` (`http://host:port/`); the stories are removed afterwards.

    Raises:
        InputError: there is no server, or it refuses something.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"expected the address of a server as http://HOST:PORT, got {url!r}; correct it")
    viewers = [_Viewer(url.rstrip("/"), plan, plan.seed + number, token) for number in range(plan.viewers)]
    try:
        seen = await asyncio.gather(*(viewer.watch() for viewer in viewers))
    except (OSError, WebSocketException, TimeoutError) as error:
        raise InputError(
            f"cannot run a load test at {url}: {error or 'nothing comes from it'}; is a server there?"
        ) from error
    picture_s = Spread.of([value for one in seen for value in one.picture_s])
    steer_s = Spread.of([value for one in seen for value in one.steer_s])
    assert picture_s is not None, "a plan has shots"
    assert steer_s is not None, "a plan has shots"
    speeds = [one.playback.fps for one in seen]
    return LoadTestResult(plan, picture_s, steer_s, min(speeds) / max(speeds), tuple(seen))


class _Viewer:
    """One simulated viewer."""

    def __init__(self, url: str, plan: LoadTestPlan, seed: int, token: str | None) -> None:
        self._url, self._plan = url, plan
        self._rng = random.Random(seed)
        self._shape = PAPER_SHOT
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._global, self._captions = story_captions(sample_story(seed, shots=2 * plan.shots))

    async def watch(self) -> Seen:
        (model,) = await self._ask("GET", "/api/models")
        self._shape = ShotShape(*(model[name] for name in ("chunk_latents", "context_latents", "max_chunks")))
        self._shape.check_chunks(self._plan.chunks)
        story = (await self._ask("POST", "/api/stories", {"global_caption": self._global}))["id"]
        address = f"ws{self._url.removeprefix('http')}/api/stories/{story}/watch"
        try:
            async with connect(address, additional_headers=self._headers, max_size=None) as socket:
                await _until(socket, "hello")
                begun, later = self._captions[: self._plan.shots], self._captions[self._plan.shots :]
                directed = [await self._direct(socket, *texts) for texts in zip(begun, later, strict=True)]
                arrivals = await self._play(socket, later)
                playback = play(arrivals, await self._frames_made(story, arrivals[0][1].shot))
        finally:
            await self._ask("DELETE", f"/api/stories/{story}")
        return Seen(tuple(picture for picture, _ in directed), tuple(steer for _, steer in directed), playback)

    async def _direct(self, socket: ClientConnection, text: str, steer: str) -> tuple[float, float]:
        """Begin a shot, and steer it at a random time while it is shown; return the seconds until each is seen.

        The frames of the shot are shown at their pace from its first one on; the first frame after the steer is seen
        once it has come and its time has come, too.
        """
        asked_s = time.perf_counter()
        await socket.send(json.dumps({"type": "shot", "text": text, "chunks": self._plan.chunks}))
        await _until(socket, "flush")
        first = await _next_frame(socket)
        begun_s = time.perf_counter()
        shown_s = (self._shape.frames_of_chunks(self._plan.chunks) - 1) / FPS
        came = [first, *await _read_for(socket, self._rng.uniform(0.0, shown_s))]
        steered_s = time.perf_counter()
        await socket.send(json.dumps({"type": "steer", "text": steer}))
        came += await _until(socket, "flush")
        key = await _next_frame(socket)
        due_s = begun_s + frames_before(key, came) / FPS
        return begun_s - asked_s, max(time.perf_counter(), due_s) - steered_s

    async def _play(self, socket: ClientConnection, texts: Sequence[str]) -> list[tuple[float, FrameKey]]:
        """Queue all shots of a story at once, and receive it to its end; return when each frame came."""
        first, *others = ({"text": text, "chunks": self._plan.chunks} for text in texts)
        await socket.send(json.dumps({"type": "shot", **first}))
        if others:
            await socket.send(json.dumps({"type": "queue", "shots": others}))
        await _until(socket, "flush")
        arrivals: list[tuple[float, FrameKey]] = []
        state: dict[str, Any] = {"work": True}
        while state["work"] or state["queue"]:
            news = await _receive(socket)
            if isinstance(news, FramePacket):
                arrivals.append((time.perf_counter(), news.key))
            elif news["type"] == "state":
                state = news
        return arrivals

    async def _frames_made(self, story: str, first: int) -> int:
        """Return how many frames the shots of the branch have from shot `first` on, which depends on the policy."""
        tree = await self._ask("GET", f"/api/stories/{story}/tree")
        current = enumerate(tree["current"])
        lengths = {(take["shot"], take["take"]): take["frames"] for take in tree["takes"]}
        return sum(lengths[place] for place in current if place[0] >= first)

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, "Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        return await asyncio.to_thread(_fetch, request)


def frames_before(key: FrameKey, came: Sequence[FrameKey]) -> int:
    """Return how many frames are shown from the first one that came until `key`, of its shot or of the next one."""
    first = came[0]
    if key.shot == first.shot:
        return key.frame - first.frame
    return 1 + max(one.frame for one in came if one.shot == first.shot) - first.frame


def play(arrivals: Sequence[tuple[float, FrameKey]], expected: int) -> Playback:
    """Simulate playback at the video's frame rate, and return its stalls and lost frames.

    A frame is shown when it is due or, if it is late, when it arrives.

    Args:
        arrivals: the time (seconds) at which each frame arrived, in that order.
        expected: how many frames the story has.
    """
    began_s = arrivals[min(round(START_BUFFER_S * FPS), len(arrivals)) - 1][0]
    due_s, stalls, stalled_s = began_s, 0, 0.0
    for arrival_s, _ in arrivals:
        late_s = max(0.0, arrival_s - due_s)
        stalls, stalled_s = stalls + (late_s > 0), stalled_s + late_s
        due_s += late_s + 1 / FPS
    took_s = arrivals[-1][0] - arrivals[0][0]
    return Playback(stalls, stalled_s, len(arrivals), expected - len(arrivals), (len(arrivals) - 1) / max(took_s, 1e-9))


async def _until(socket: ClientConnection, kind: str) -> list[FrameKey]:
    """Read up to a message of that type, and return the frames that came before it."""
    came: list[FrameKey] = []
    while isinstance(news := await _receive(socket), FramePacket) or news["type"] != kind:
        came += [news.key] if isinstance(news, FramePacket) else []
    return came


async def _next_frame(socket: ClientConnection) -> FrameKey:
    while not isinstance(packet := await _receive(socket), FramePacket):
        pass
    return packet.key


async def _read_for(socket: ClientConnection, seconds: float) -> list[FrameKey]:
    """Read for so long, and return the frames that came."""
    came: list[FrameKey] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                news = await _receive(socket)
                came += [news.key] if isinstance(news, FramePacket) else []
    return came


async def _receive(socket: ClientConnection) -> Any:
    """Return the next frame, or the next message as plain data.

    Raises:
        InputError: the server says that something cannot be done.
    """
    data = await asyncio.wait_for(socket.recv(), PATIENCE_S)
    if isinstance(data, bytes):
        return FramePacket.unpack(data)
    news = json.loads(data)
    if news["type"] == "error":
        raise InputError(f"the server refuses: {news['message']}")
    return news


def _fetch(request: urllib.request.Request) -> Any:
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            return json.loads(reply.read() or b"null")
    except urllib.error.HTTPError as error:
        raise InputError(f"the server refuses: {json.loads(error.read())['message']}") from error
