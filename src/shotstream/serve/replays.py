"""Encode takes as videos that browsers play: once, and kept on disk."""

import threading
from collections.abc import Iterable
from pathlib import Path

from shotstream.core.spec import FPS
from shotstream.core.video import iter_video, write_video
from shotstream.serve.exports import clear
from shotstream.story.take_files import StoryFiles
from shotstream.story.take_tree import Take

MAX_REPLAYS = 64
"""Videos that are kept at most; beyond that, the one that was asked for longest ago makes room."""


class Replays:
    """MP4s of takes, named by what is in them, since the number of a take that was lost is given again.

    May be used from any thread.
    """

    def __init__(self, directory: Path) -> None:
        """Empty the directory, or make it.

        Raises:
            InputError: the directory cannot be made.
        """
        self._directory, self._lock = clear(directory), threading.Lock()
        self._kept: dict[str, Path] = {}

    def video(self, take: Take, files: StoryFiles) -> Path:
        """Return the path of a take's MP4; encode it if it is not kept, while other callers wait.

        Raises:
            InputError: the take's video is damaged, or the disk is full.
        """
        with self._lock:
            path = self._kept.pop(take.sha256, None) or self._encode(take, files)
            self._kept[take.sha256] = path
            while len(self._kept) > MAX_REPLAYS:
                self._kept.pop(next(iter(self._kept))).unlink(missing_ok=True)
            return path

    def forget(self, takes: Iterable[Take]) -> None:
        """Remove the videos of takes that were removed."""
        with self._lock:
            for take in takes:
                if path := self._kept.pop(take.sha256, None):
                    path.unlink(missing_ok=True)

    def _encode(self, take: Take, files: StoryFiles) -> Path:
        path = self._directory / f"{take.sha256}.mp4"
        write_video(path, iter_video(files.video(take.shot, take.take)), FPS)
        return path
