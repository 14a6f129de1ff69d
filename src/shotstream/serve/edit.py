"""Edit a story for export: choose shots, cross-fade and enlarge them. Frames are uint8 RGB `[h, w, 3]`."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shotstream.core.display import Frame
from shotstream.core.video import iter_video
from shotstream.serve.errors import RequestError
from shotstream.story.history import History
from shotstream.story.script import ScriptExport
from shotstream.story.take_tree import Take


@dataclass(frozen=True)
class ExportOptions(ScriptExport):
    """Options of an export: those of a script, and the part of the story.

    Attributes:
        shot: this shot alone, from 0; None: the whole branch.
        take: of that shot; None: the one on the branch.
        frame: of that shot, from 0, for a still; None: its last one.
    """

    shot: int | None = None
    take: int | None = None
    frame: int | None = None


class Edit:
    """The frames of an export of a story."""

    def __init__(self, history: History, options: ExportOptions) -> None:
        """Choose the takes.

        Raises:
            InputError: there is no such take, no shot at all, or a shot is too short to fade in and out.
        """
        self._history, self._options = history, options
        self._takes = _chosen(history, options)
        options.check_fade([take.length_frames for take in self._takes])

    @property
    def length_frames(self) -> int:
        """Return how many frames there are."""
        return sum(take.length_frames for take in self._takes) - self._options.fade * (len(self._takes) - 1)

    @property
    def height(self) -> int:
        """Return the height in pixels."""
        return self._history.identity.height * self._options.scale

    @property
    def width(self) -> int:
        """Return the width in pixels."""
        return self._history.identity.width * self._options.scale

    def frames(self) -> Iterator[Frame]:
        """Yield the frames of the video."""
        clips = (iter_video(self._history.take_file(take)) for take in self._takes)
        return (self._enlarge(frame) for frame in cross_fade(clips, self._options.fade))

    def still(self) -> Frame:
        """Return the frame that is asked for; the last one of all where none is.

        Raises:
            RequestError: the shot has no such frame.
        """
        take = self._takes[-1]
        index = take.length_frames - 1 if self._options.frame is None else self._options.frame
        if index >= take.length_frames:
            raise RequestError("not_found", f"this shot has frames 0 to {take.length_frames - 1}; choose one of them")
        return self._enlarge(next(islice(iter_video(self._history.take_file(take)), index, None)))

    def _enlarge(self, frame: Frame) -> NDArray[np.uint8]:
        if self._options.scale == 1:
            return frame
        how = Image.Resampling[self._options.filter.upper()]
        return np.asarray(Image.fromarray(frame).resize((self.width, self.height), how))


def cross_fade(clips: Iterable[Iterable[Frame]], frames: int) -> Iterator[Frame]:
    """Yield the frames of clips, the last `frames` of each one mixed with the first ones of the next.

    Each clip has at least twice as many.
    """
    fading: list[Frame] = []
    for clip in clips:
        waiting: deque[Frame] = deque()
        for index, frame in enumerate(clip):
            mixed = _mix(fading[index], frame, (index + 1) / (frames + 1)) if index < len(fading) else frame
            waiting.append(mixed)
            if len(waiting) > frames:
                yield waiting.popleft()
        fading = list(waiting)
    yield from fading


def _mix(first: Frame, second: Frame, share: float) -> Frame:
    """Return a frame that has `share` of the second one."""
    return np.rint(first * (1 - share) + second * share).astype(np.uint8)


def _chosen(history: History, options: ExportOptions) -> tuple[Take, ...]:
    if options.shot is None and (options.take, options.frame) != (None, None):
        raise RequestError("invalid", "A take or a frame is that of a shot. Add shot=NUMBER, from 0.")
    if options.take is not None:
        known = [take for take in history.tree.takes if take.shot == options.shot]
        found = tuple(take for take in known if take.take == options.take)
    else:
        found = tuple(take for take in history.records if options.shot in (None, take.shot))
    if found:
        return found
    if options.shot is not None:
        raise RequestError("not_found", "The story has no such shot or take. See the story's tree.")
    raise RequestError("conflict", "This branch has no shot yet. Make one first.")
