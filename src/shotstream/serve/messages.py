"""Messages that the server sends over the socket, as JSON (`docs/protocol.md`), and the field types they share."""

import logging
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from shotstream.core.errors import InputError
from shotstream.serve.doing import Doing, QueuedShot, ShotInWork
from shotstream.serve.errors import Code, code_of, message_of
from shotstream.serve.packets import PROTOCOL
from shotstream.story.cast import CastMember
from shotstream.story.history import History
from shotstream.story.shot_spec import MAX_SEED, Steer

_log = logging.getLogger(__name__)
MOST = 2**31 - 1
"""The largest number of a shot, a take, a frame or a length."""

UserText = Annotated[StrictStr, Field(min_length=1, max_length=100_000)]
Count = Annotated[StrictInt, Field(ge=0, le=MOST)]
FrameKeyText = Annotated[StrictStr, Field(pattern=r"^\d{1,9}\.\d{1,9}\.\d{1,9}$")]
"""A frame as text, SHOT.TAKE.FRAME, each from 0."""
Seed = Annotated[StrictInt, Field(ge=0, le=MAX_SEED)]


class Message(BaseModel):
    """Plain data; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SteerView(Message):
    """Another caption for a shot, from its chunk `at` (from 0) on."""

    at: Count
    text: UserText

    @classmethod
    def of(cls, steers: Sequence[Steer]) -> "list[SteerView]":
        """Return the views of steers."""
        return [cls(at=steer.at, text=steer.text) for steer in steers]


class CastView(Message):
    """A member of the cast: the number that is its own, and what its picture shows."""

    number: int
    caption: str

    @classmethod
    def of(cls, cast: Sequence[CastMember]) -> "list[CastView]":
        """Return the views of members."""
        return [cls(number=member.number, caption=member.caption) for member in cast]


class InWork(Message):
    """The shot that is being made: `made` of `chunks` chunks, and the caption that holds now."""

    shot: int
    take: int
    text: str
    made: int
    chunks: int

    @classmethod
    def of(cls, work: ShotInWork) -> "InWork":
        """Return the view of a shot in the making."""
        spec = work.spec
        text = [spec.text, *(steer.text for steer in spec.steers if steer.at <= work.made)][-1]
        return cls(shot=len(work.branch), take=work.take, text=text, made=work.made, chunks=spec.chunks)


class QueuedView(Message):
    """A shot that waits to be made; `id` names it in commands, `cast` is whom it may remember (null: all)."""

    id: int
    text: str
    chunks: int
    extend: bool
    seed: int | None
    cast: list[int] | None
    steers: list[SteerView]

    @classmethod
    def of(cls, queued: QueuedShot) -> "QueuedView":
        """Return the view of a queued shot."""
        spec = queued.spec
        return cls(
            id=queued.id,
            text=spec.text,
            chunks=spec.chunks,
            extend=spec.extend,
            seed=spec.seed,
            cast=None if spec.cast is None else list(spec.cast),
            steers=SteerView.of(spec.steers),
        )


class State(Message):
    """State of a story; sent whenever it changes.

    `guidance` is the scale of guidance that its shots are made with (null: none), and `negative_prompt` what that leads
    away from; neither changes. `undo` is the type of the latest command that can be undone.
    """

    type: Literal["state"] = "state"
    branch: list[int]
    frames: int
    work: InWork | None
    queue: list[QueuedView]
    paused: bool
    cast: list[CastView]
    guidance: float | None
    negative_prompt: str
    undo: str | None

    @classmethod
    def of(cls, doing: Doing, history: History, undo: str | None) -> "State":
        """Return the state of a story."""
        return cls(
            branch=list(history.branch),
            frames=sum(history.lengths),
            work=None if doing.work is None else InWork.of(doing.work),
            queue=[QueuedView.of(queued) for queued in doing.queue.shots],
            paused=doing.queue.paused,
            cast=CastView.of(history.cast),
            guidance=history.identity.guidance,
            negative_prompt=history.identity.negative_prompt,
            undo=undo,
        )

    @property
    def working(self) -> bool:
        """Return whether there is something to make now."""
        return self.work is not None or (bool(self.queue) and not self.paused)


class Hello(Message):
    """The first message: the story is open, frames follow."""

    type: Literal["hello"] = "hello"
    protocol: int = PROTOCOL
    story: str
    global_caption: str
    width: int
    height: int
    fps: int
    ahead_chunks: int


class Waiting(Message):
    """The server is full; the viewer's place in the line, from 1."""

    type: Literal["waiting"] = "waiting"
    position: int


class Flush(Message):
    """Drop the frames that wait to be shown: all of them, or those that came after frame `after`."""

    type: Literal["flush"] = "flush"
    after: FrameKeyText | None = None


class Note(Message):
    """Something to know about a request that was carried out: a code for programs, a line for people."""

    code: Literal["next_shot", "too_long", "unknown_words", "not_used"]
    message: str


class Done(Message):
    """The command with that id has been carried out."""

    type: Literal["done"] = "done"
    id: int | None
    notes: list[Note] = []


class Problem(Message):
    """Something could not be done."""

    type: Literal["error"] = "error"
    code: Code
    message: str
    id: int | None = None


ServerMessage = Annotated[Hello | Waiting | State | Flush | Done | Problem, Field(discriminator="type")]


def problem_of(error: Exception, id: int | None = None) -> Problem:
    """Return the message that tells a client of an error; one that nobody expected is logged."""
    if not isinstance(error, InputError):
        _log.error("something failed", exc_info=error)
    return Problem(code=code_of(error), message=message_of(error), id=id)
