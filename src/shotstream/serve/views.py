"""What HTTP says of stories, and what it is asked for them."""

from typing import Annotated

from pydantic import Field

from shotstream.serve.protocol import BranchView, Message, Seed, ShotView, Text
from shotstream.serve.store import StoryRow
from shotstream.story.record import StoryRecord
from shotstream.story.tree import Take


class NewStory(Message):
    """A story to begin; `context` says which past frames are remembered (None: as the model does)."""

    global_caption: Text
    seed: Seed = 0
    context: Annotated[str, Field(max_length=100)] | None = None


class StoryView(Message):
    """A story in a list."""

    id: str
    created_s: float
    global_caption: str
    seed: int
    context: str
    height: int
    width: int
    shots: int
    frames: int
    unfinished: bool

    @classmethod
    def of(cls, row: StoryRow) -> "StoryView":
        """The view of a row."""
        plain = {name: getattr(row, name) for name in cls.model_fields if name != "unfinished"}
        return cls(**plain, unfinished=row.doing.work is not None or bool(row.doing.queue))


class TreeView(Message):
    """All takes of a story, and its branches."""

    current: list[int]
    takes: list[ShotView]
    branches: list[BranchView]

    @classmethod
    def of(cls, record: StoryRecord | None) -> "TreeView":
        """The view of a record; an empty one where nothing has been made."""
        if record is None:
            return cls(current=[], takes=[], branches=[])
        tree = record.tree
        branches = [
            BranchView(takes=list(branch.takes), captions=list(branch.captions), current=branch.current)
            for branch in tree.branches()
        ]
        return cls(current=list(tree.branch), takes=[shot_view(take) for take in tree.takes], branches=branches)


class ModelView(Message):
    """The model that tells the stories."""

    name: str
    source: str
    fingerprint: str
    height: int
    width: int
    fps: int


class Health(Message):
    """That the server lives."""

    status: str
    version: str


def shot_view(take: Take) -> ShotView:
    """The view of a take."""
    return ShotView(
        shot=take.shot,
        take=take.take,
        parent=take.parent,
        text=take.caption,
        seed=take.seed,
        chunks=take.chunks,
        frames=take.length_frames,
    )
