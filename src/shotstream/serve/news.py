"""Events that an open story sends to its watchers inside the server."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shotstream.core.video import Frames
from shotstream.serve.messages import Message
from shotstream.serve.packets import FrameKey
from shotstream.story.take_tree import Take


@dataclass(frozen=True)
class Chunk:
    """Frames of a chunk, `[n, h, w, 3]`: the first one's key, and its number in the video of its branch."""

    key: FrameKey
    first: int
    frames: Frames


@dataclass(frozen=True)
class Retract:
    """A take that is being made has only `frames` frames; later ones are no part of it any more."""

    shot: int
    take: int
    frames: int

    def covers(self, key: FrameKey) -> bool:
        """Return whether a frame is one of those that are no longer part of the take."""
        return key[:2] == (self.shot, self.take) and key.frame >= self.frames


@dataclass(frozen=True)
class FinishedTake:
    """A take of the current branch: its video, and the number of its first frame in the video of the branch."""

    take: Take
    video: Path
    first: int


News = Message | Chunk | Retract
Publish = Callable[[News], None]
"""Hands something to everybody who watches the story; called on the worker's thread, returns at once."""
