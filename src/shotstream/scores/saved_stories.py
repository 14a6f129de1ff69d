"""Save the stories of an evaluation as lossless videos with their scripts.

An evaluation that stopped goes on from them, and `evaluate videos` reads them as it reads any others.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shotstream.core.atomic_files import make_directory, write_json
from shotstream.core.errors import InputError
from shotstream.core.spec import FPS
from shotstream.core.video import holds_frames, read_video, write_video
from shotstream.data.latents import claim_directory
from shotstream.scores.story_scores import ScoredStory
from shotstream.story.characters import SUFFIX
from shotstream.world.phrasing import Phrasing, captions_in
from shotstream.world.scene import WORLD_VERSION, WorldStory

SETTINGS = "evaluation.settings"
LENGTHS = "frames_per_shot"
"""Key of a script for the frames of each shot, which depend on how the model's policy decodes."""
MakeStory = Callable[[int, WorldStory], ScoredStory]


@dataclass(frozen=True)
class SavedStories:
    """Stories of one model under one set of options: `story000.mkv`, and its script and characters beside it."""

    directory: Path
    phrasing: Phrasing

    @classmethod
    def open(cls, directory: Path, phrasing: Phrasing, asked: Mapping[str, Any]) -> "SavedStories":
        """Make the directory, or check that what is in it was made from the same.

        Args:
            directory: of the stories.
            phrasing: of their captions.
            asked: what the stories depend on, as plain data; how many there are does not count.

        Raises:
            InputError: it cannot be made, or has stories of something else.
        """
        depends = {name: value for name, value in asked.items() if name != "stories"} | {"world": WORLD_VERSION}
        claim_stories(directory, depends)
        return cls(directory, phrasing)

    def complete(self, stories: Sequence[WorldStory], make: MakeStory) -> Iterator[ScoredStory]:
        """Yield the stories in order: those that are there read, the others made and saved.

        Raises:
            InputError: a file cannot be read or written.
        """
        for number, story in enumerate(stories):
            path = self.directory / f"story{number:03d}.mkv"
            lengths = _lengths(path)
            if holds_frames(path, sum(lengths)):
                yield ScoredStory(story, tuple(np.split(read_video(path), np.cumsum(lengths)[:-1])))
            else:
                made = make(number, story)
                self._write(path, made)
                yield made

    def _write(self, path: Path, made: ScoredStory) -> None:
        """Write a story; the video, which says that it is there, comes last."""
        global_caption, shots = captions_in(self.phrasing, made.story)
        keys = [f"shot{number + 1}" for number in range(len(shots))]
        cast = [[who.species for who in made.story.cast_of(index)] for index in range(len(shots))]
        script = {"global_caption": global_caption} | dict(zip(keys, shots, strict=True))
        write_json(path.with_suffix(".json"), script | {LENGTHS: [len(shot) for shot in made.shots]})
        write_json(path.with_suffix(SUFFIX), dict(zip(keys, cast, strict=True)))
        write_video(path, made.shots, FPS, lossless=True)


def claim_stories(directory: Path, depends: Mapping[str, Any]) -> None:
    """Make a directory for stories, or check that the stories in it depend on the same.

    Args:
        directory: of the stories.
        depends: what they depend on, as plain data.

    Raises:
        InputError: it cannot be made, or has stories of something else.
    """
    make_directory(directory)
    if not (directory / SETTINGS).exists() and any(directory.iterdir()):
        raise InputError(f"expected an empty directory to save stories in, got {directory}; name another one")
    claim_directory(directory / SETTINGS, json.loads(json.dumps(depends)))


def _lengths(video: Path) -> list[int]:
    """Return the frames of each shot of a story that was saved, from its script; none where there is no script."""
    script = video.with_suffix(".json")
    return json.loads(script.read_text(encoding="utf8"))[LENGTHS] if script.is_file() else []
