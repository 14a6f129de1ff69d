"""Requests and responses of HTTP about stories."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictStr

from shotstream.model.config import MAX_GUIDANCE
from shotstream.serve.commands import NewShot
from shotstream.serve.messages import CastView, Message, Note, Seed, SteerView, UserText
from shotstream.serve.store import StoryRow
from shotstream.story.record import StoryRecord
from shotstream.story.script import MAX_TITLE
from shotstream.story.take_tree import Take


class ShotView(Message):
    """A finished take as a viewer sees it; `cast` is whom it knew, as they were then."""

    shot: int
    take: int
    parent: int | None
    text: str
    seed: int
    chunks: int
    frames: int
    cast: list[CastView]
    steers: list[SteerView]


class BranchView(Message):
    """A way through the story: the take of every shot."""

    takes: list[int]
    captions: list[str]
    current: bool


Title = Annotated[StrictStr, Field(max_length=MAX_TITLE)]
"""The name of a story; empty: its global caption stands for it."""


class StoryTitle(Message):
    """Another title of a story."""

    title: Title


class ContextFrame(Message):
    """A frame that a shot remembers: of a take of the branch, or the picture of a member of the cast."""

    shot: int | None = None
    take: int | None = None
    frame: int | None = None
    cast: CastView | None = None


class ContextView(Message):
    """Context frames of the shot that is being made, or else of the next one, in the model's order."""

    shot: int
    frames: list[ContextFrame]


class NewStory(Message):
    """A story to begin, and its first shots, which are made once it is open, or wait with `paused`.

    `context` names the selector of context frames (None: the model's). `guidance` is the scale of guidance, and
    `negative_prompt` what it leads away from (None: the server's, or else the model's), for models that take them. With
    `strict` it is refused where the model would not follow a caption wholly.
    """

    global_caption: UserText
    title: Title = ""
    seed: Seed = 0
    context: Annotated[str, Field(max_length=100)] | None = None
    guidance: Annotated[float, Field(ge=1, le=MAX_GUIDANCE, strict=True)] | None = None
    negative_prompt: Annotated[StrictStr, Field(max_length=100_000)] | None = None
    shots: tuple[NewShot, ...] = ()
    paused: StrictBool = False
    strict: StrictBool = False


class StoryView(Message):
    """A story in a list. If `other_model` is true, another model made it: it can be shown, but not continued.

    An empty `title` means that the global caption stands for it.
    """

    id: str
    created_s: float
    title: str
    global_caption: str
    seed: int
    context: str
    guidance: float | None
    negative_prompt: str
    height: int
    width: int
    shots: int
    frames: int
    unfinished: bool
    other_model: bool

    @classmethod
    def of(cls, row: StoryRow, *, other_model: bool) -> "StoryView":
        """Return the view of a row."""
        plain = {name: getattr(row, name) for name in cls.model_fields if name != "other_model"}
        return cls(**plain, other_model=other_model)


class BegunStory(StoryView):
    """A story that was begun, and what to know of its captions."""

    notes: list[Note]


class TreeView(Message):
    """All takes of a story, its branches, and its cast."""

    current: list[int]
    takes: list[ShotView]
    branches: list[BranchView]
    cast: list[CastView]

    @classmethod
    def of(cls, record: StoryRecord | None) -> "TreeView":
        """Return the view of a record; without one (nothing has been made), an empty view."""
        if record is None:
            return cls(current=[], takes=[], branches=[], cast=[])
        tree = record.tree
        branches = [
            BranchView(takes=list(branch.takes), captions=list(branch.captions), current=branch.current)
            for branch in tree.branches()
        ]
        return cls(
            current=list(tree.branch),
            takes=[shot_view(take) for take in tree.takes],
            branches=branches,
            cast=CastView.of(record.cast),
        )


class ModelView(Message):
    """The model that tells the stories.

    A chunk has `chunk_latents` latents of four frames each; the first latent of a shot has one frame. A shot has
    `default_chunks` chunks where nothing is said, and up to `max_chunks`, with `extend` up to `longest_chunks`; its
    context has `context_latents` frames. `guidance` is the scale of guidance of stories that name none; null: the model
    takes no guidance and no negative prompt. `director` says whether the server can make a story of an idea.
    """

    name: str
    source: str
    fingerprint: str
    height: int
    width: int
    fps: int
    chunk_latents: int
    context_latents: int
    max_chunks: int
    default_chunks: int
    longest_chunks: int
    guidance: float | None
    director: bool


class Health(Message):
    """Health of the server: alive, and whether its model is open."""

    status: Literal["opening", "ready"]
    version: str


def shot_view(take: Take) -> ShotView:
    """Return the view of a take."""
    return ShotView(
        shot=take.shot,
        take=take.take,
        parent=take.parent,
        text=take.spec.text,
        seed=take.seed,
        chunks=take.spec.chunks,
        frames=take.length_frames,
        cast=CastView.of(take.cast),
        steers=SteerView.of(take.spec.steers),
    )
