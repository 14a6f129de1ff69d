"""What travels between a viewer and the server (`docs/protocol.md`): JSON both ways, frames as binary.

A frame is a JPEG behind a header of fixed length. JPEG, because it is the one lossy picture that every browser decodes
natively and off its main thread, and that is encoded many times faster than WebP: one core keeps up with many viewers.
"""

import logging
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, TypeAdapter, ValidationError

from shotstream.core.errors import InputError
from shotstream.serve.errors import Code, RequestError, code_of, message_of
from shotstream.story.shot_spec import DEFAULT_CHUNKS, MAX_SEED

_log = logging.getLogger(__name__)
PROTOCOL = 1
JPEG = 1
_HEADER = struct.Struct(">2sBB8sIIII")
_MAGIC = b"SF"
MOST = 2**31 - 1
"""The largest number that stands for a shot, a take, a frame or a length."""

Text = Annotated[StrictStr, Field(min_length=1, max_length=100_000)]
Count = Annotated[StrictInt, Field(ge=0, le=MOST)]
Place = Annotated[StrictStr, Field(pattern=r"^\d{1,9}\.\d{1,9}\.\d{1,9}$")]
"""A frame as text, SHOT.TAKE.FRAME, each from 0."""
Seed = Annotated[StrictInt, Field(ge=0, le=MAX_SEED)]


class Message(BaseModel):
    """Plain data; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Command(Message):
    id: Count | None = None
    """Comes back in the answer."""


class _Direction(_Command):
    shown: Place | None = None
    """The last frame that the viewer has shown; None: by the server's own clock."""


class NewShot(Message):
    """What a shot is to be; more chunks than the model learnt need `extend`."""

    text: Text
    chunks: Annotated[StrictInt, Field(ge=1, le=MOST)] = DEFAULT_CHUNKS
    extend: StrictBool = False
    seed: Seed | None = None


class MakeShot(_Direction, NewShot):
    """Makes a shot at once, in place of what is being made and queued; with `queue` after all of that."""

    type: Literal["shot"]
    queue: StrictBool = False


class RetryShot(_Command):
    """Make a shot of the branch (from 0) again with another seed, steers and all, in place of all that follows it.

    With `rest`, the shots that followed it are queued again, each with its own captions and seed.
    """

    type: Literal["retry"]
    shot: Count
    seed: Seed
    rest: StrictBool = False


class SteerShot(_Direction):
    """Gives the shot another caption from the first chunk on of which nothing has been shown.

    Chunks that were made and not shown are made again. Where nothing of the shot is left to change, the caption becomes
    the next shot.
    """

    type: Literal["steer"]
    text: Text


class CutShot(_Direction):
    """Ends the shot after the chunk that is shown, and forgets what is queued."""

    type: Literal["cut"]


class Rewind(_Command):
    """Goes back to before a shot (from 0), of which the next one made is another take."""

    type: Literal["rewind"]
    shot: Count


class Switch(_Command):
    """Stands on another branch, given by the take of each of its shots."""

    type: Literal["switch"]
    takes: Annotated[list[Count], Field(max_length=10_000)]


class DraftCaption(_Command):
    """A caption that is being written and may come: it is read ahead when nothing else is to be made."""

    type: Literal["draft"]
    text: Text


Spoken = MakeShot | RetryShot | SteerShot | CutShot | Rewind | Switch | DraftCaption
Command = Annotated[Spoken, Field(discriminator="type")]
_COMMAND: TypeAdapter[Spoken] = TypeAdapter(Command)


class SteerView(Message):
    """Another caption for a shot, from after `at` of its chunks on."""

    at: int
    text: str


class ShotView(Message):
    """A take as a viewer sees it."""

    shot: int
    take: int
    parent: int | None
    text: str
    seed: int
    chunks: int
    frames: int
    steers: list[SteerView]


class BranchView(Message):
    """A way through the story: the take of every shot."""

    takes: list[int]
    captions: list[str]
    current: bool


class InWork(Message):
    """The shot that is being made: `made` of `chunks` chunks."""

    shot: int
    take: int
    text: str
    made: int
    chunks: int


class State(Message):
    """Where the story stands; sent whenever that changes."""

    type: Literal["state"] = "state"
    branch: list[int]
    frames: int
    work: InWork | None
    queue: list[str]


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


class Queued(Message):
    """The server is full; the viewer's place in the line, from 1."""

    type: Literal["queued"] = "queued"
    position: int


class Flush(Message):
    """Drop the frames that wait to be shown: all of them, or those that came after frame `after`."""

    type: Literal["flush"] = "flush"
    after: Place | None = None


class Note(Message):
    """Something to know about a command that was carried out: a code for programs, a line for people."""

    code: Literal["next_shot"]
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


class FrameKey(NamedTuple):
    """Which frame of which take of which shot."""

    shot: int
    take: int
    frame: int

    def __str__(self) -> str:
        return f"{self.shot}.{self.take}.{self.frame}"

    @classmethod
    def parse(cls, text: str | None) -> "FrameKey | None":
        """Return the key of SHOT.TAKE.FRAME, None of None.

        Raises:
            RequestError: it is no such text.
        """
        if text is None:
            return None
        parts = text.split(".")
        if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
            raise RequestError("invalid", "a frame is SHOT.TAKE.FRAME, three whole numbers, as in 0.0.12")
        return cls(*map(int, parts))


@dataclass(frozen=True)
class Retract:
    """Inside the server: a take that is being made has only `frames` frames; later ones are no part of it any more."""

    shot: int
    take: int
    frames: int

    def covers(self, key: FrameKey) -> bool:
        """Whether a frame is no part of its take any more."""
        return key[:2] == (self.shot, self.take) and key.frame >= self.frames


@dataclass(frozen=True)
class FramePacket:
    """One frame as it is sent. `time_ms` is its time in the video of its branch."""

    story: str
    key: FrameKey
    time_ms: int
    picture: bytes

    @cached_property
    def packed(self) -> bytes:
        """Header and picture, as bytes that are made once for all viewers."""
        place = (self.key.shot, self.key.take, self.key.frame, self.time_ms)
        return _HEADER.pack(_MAGIC, PROTOCOL, JPEG, bytes.fromhex(self.story), *place) + self.picture

    @classmethod
    def unpack(cls, data: bytes) -> "FramePacket":
        """The inverse of `packed`.

        Raises:
            RefusedError: it is no such packet.
        """
        if len(data) < _HEADER.size or data[:4] != _MAGIC + bytes((PROTOCOL, JPEG)):
            raise RequestError("invalid", f"expected a frame of protocol {PROTOCOL}, got other bytes")
        *_, story, shot, take, index, time_ms = _HEADER.unpack_from(data)
        return cls(story.hex(), FrameKey(shot, take, index), time_ms, data[_HEADER.size :])


def read_command(text: str | bytes) -> Spoken:
    """A command from its JSON.

    Raises:
        RefusedError: it is none; says where.
    """
    try:
        return _COMMAND.validate_json(text)
    except ValidationError as error:
        raise RequestError("invalid", describe(error.errors(include_url=False, include_input=False))) from error


def describe(errors: Sequence[Any]) -> str:
    """The first of pydantic's errors as a line: where, and what is wrong."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"]) or "message"
    return f"{where}: {first['msg']}; see docs/protocol.md"


def problem_of(error: Exception, id: int | None = None) -> Problem:
    """What a client is told of an error; one that nobody expected is logged."""
    if not isinstance(error, InputError):
        _log.error("something failed", exc_info=error)
    return Problem(code=code_of(error), message=message_of(error), id=id)
