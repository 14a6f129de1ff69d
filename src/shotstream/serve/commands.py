"""Commands that viewers send, as JSON (`docs/protocol.md`)."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field, StrictBool, StrictInt, TypeAdapter, ValidationError

from shotstream.core.display import Frame
from shotstream.core.spec import ShotShape
from shotstream.serve.errors import RequestError
from shotstream.serve.messages import MOST, Count, FrameKeyText, Message, Seed, SteerView, UserText
from shotstream.serve.wrong_fields import describe_wrong_fields
from shotstream.story.shot_spec import ShotSpec, Steer


class _Command(Message):
    id: Count | None = None
    """Comes back in the answer."""


class _Named(BaseModel):
    id: Count | None = None


class _Direction(_Command):
    shown: FrameKeyText | None = None
    """The last frame that the viewer has shown; None: by the server's own clock."""


class _Captioned(_Command):
    strict: StrictBool = False
    """Refuses the command where the model would not follow a caption of it wholly, in place of a note."""


class NewShot(Message):
    """A shot to be made; more chunks than the model learnt need `extend`. Its steers are at chunks that rise.

    `chunks` None: as many as the model's `default_chunks`.
    `cast` names the members of the cast that it may remember; None: all of them.
    """

    text: UserText
    chunks: Annotated[StrictInt, Field(ge=1, le=MOST)] | None = None
    extend: StrictBool = False
    seed: Seed | None = None
    cast: Annotated[tuple[Count, ...], Field(max_length=1000)] | None = None
    steers: tuple[SteerView, ...] = ()

    def spec(self, shape: ShotShape) -> ShotSpec:
        """Return the shot that is asked for, of a model whose shots have this shape; its length is not checked.

        Raises:
            InputError: its caption is empty, or a steer is not within it.
        """
        steers = tuple(Steer(steer.at, steer.text) for steer in self.steers)
        cast = None if self.cast is None else tuple(sorted(set(self.cast)))
        return ShotSpec(self.text, self.chunks or shape.default_chunks, self.extend, self.seed, cast, steers)


class MakeShot(_Direction, _Captioned, NewShot):
    """Make a shot at once, in place of the one being made and all that is queued."""

    type: Literal["shot"]


class QueueShots(_Captioned):
    """Queue shots, at the end or from place `at` (from 0) on; `paused` as in `pause`, None: as it is."""

    type: Literal["queue"]
    shots: Annotated[tuple[NewShot, ...], Field(min_length=1, max_length=1000)]
    at: Count | None = None
    paused: StrictBool | None = None


class EditQueued(_Captioned, NewShot):
    """Replace what a queued shot is to be; `queued` is its id.

    Without `steers` it keeps those that fit its length; with an empty list it has none any more.
    """

    type: Literal["edit"]
    queued: Count

    @property
    def keeps_steers(self) -> bool:
        """Return whether the command says nothing of steers."""
        return "steers" not in self.model_fields_set


class MoveQueued(_Command):
    """Move a queued shot to place `to` (from 0) of the queue."""

    type: Literal["move"]
    queued: Count
    to: Count


class DuplicateQueued(_Command):
    """Queue a shot once more, right behind itself."""

    type: Literal["duplicate"]
    queued: Count


class RemoveQueued(_Command):
    """Remove a shot from the queue."""

    type: Literal["remove"]
    queued: Count


class PauseQueue(_Command):
    """Begin no more queued shots (the one being made is finished), or go on with them."""

    type: Literal["pause"]
    paused: StrictBool


class Undo(_Command):
    """Take back the latest command that changed the story or its queue, of those since the story was opened."""

    type: Literal["undo"]


class RetryShot(_Command):
    """Make a shot of the branch (from 0) again with another seed, steers and all, in place of all that follows it.

    With `rest`, the shots that followed it are queued again, each with its own captions and seed.
    """

    type: Literal["retry"]
    shot: Count
    seed: Seed
    rest: StrictBool = False


class SteerShot(_Direction, _Captioned):
    """Give the shot another caption from the first chunk on of which nothing has been shown.

    Chunks that were made and not shown are made again. Where nothing of the shot is left to change, the caption becomes
    the next shot.
    """

    type: Literal["steer"]
    text: UserText


class CutShot(_Direction):
    """End the shot after the chunk that is shown, and forget what is queued."""

    type: Literal["cut"]


class Rewind(_Command):
    """Go back to before a shot (from 0), of which the next one made is another take."""

    type: Literal["rewind"]
    shot: Count


class Switch(_Command):
    """Stand on another branch, given by the take of each of its shots."""

    type: Literal["switch"]
    takes: Annotated[list[Count], Field(max_length=10_000)]


class RenameCast(_Captioned):
    """Give a member of the cast another caption, under which later shots remember it; `member` is its number."""

    type: Literal["rename_cast"]
    member: Count
    caption: UserText


class RemoveCast(_Command):
    """Remove a member of the cast: later shots do not remember it."""

    type: Literal["remove_cast"]
    member: Count


class DraftCaption(_Command):
    """Encode a caption that is being written and may come, when nothing else is to be made."""

    type: Literal["draft"]
    text: UserText


@dataclass(frozen=True)
class AddCast:
    """Add a picture, uint8 `[h, w, 3]`, to the cast of later shots. Comes over HTTP alone."""

    image: Frame
    caption: str
    strict: bool = False
    type: str = "cast"


QueueCommand = QueueShots | EditQueued | MoveQueued | DuplicateQueued | RemoveQueued | PauseQueue
StoryCommand = MakeShot | RetryShot | SteerShot | CutShot | Rewind | Switch
SocketCommand = StoryCommand | QueueCommand | RenameCast | RemoveCast | Undo | DraftCaption
Command = Annotated[SocketCommand, Field(discriminator="type")]
CastCommand = AddCast | RenameCast | RemoveCast
AnyCommand = StoryCommand | QueueCommand | CastCommand | Undo
COMMAND_TYPES = frozenset(get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(SocketCommand))
_COMMAND: TypeAdapter[SocketCommand] = TypeAdapter(Command)


def id_of(text: str | bytes) -> int | None:
    """Return the id of a message that may be no command, so that its sender knows which one was refused."""
    try:
        return _Named.model_validate_json(text).id
    except ValidationError:
        return None


def read_command(text: str | bytes) -> SocketCommand:
    """Return the command of a JSON text.

    Raises:
        RequestError: it is none; says where.
    """
    try:
        return _COMMAND.validate_json(text)
    except ValidationError as error:
        raise RequestError("invalid", describe_wrong_fields(error.errors(include_url=False), COMMAND_TYPES)) from error
