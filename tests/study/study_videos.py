"""Videos of several systems, each of one colour, so that a test can tell whose video a rater was shown."""

import json
from pathlib import Path

import numpy as np

from shotstream.core.video import write_video

COLOURS = {"bright": 220, "dark": 40, "middle": 128}
STORIES = ("boat", "fox", "train")
FRAMES = 24


def write_system(directory: Path, grey: int, stories: tuple[str, ...] = STORIES) -> Path:
    """Write a video of two shots and its script for each story; return the directory."""
    directory.mkdir(parents=True)
    for story in stories:
        frames = np.full((FRAMES, 48, 64, 3), grey, np.uint8)
        frames[FRAMES // 2 :, :24] = 255 - grey
        write_video(directory / f"{story}.mp4", frames, 16)
        write_script(directory / f"{story}.json", story)
    return directory


def write_script(path: Path, story: str) -> None:
    """Write the script of two shots."""
    shots = {"shot1": f"Wide shot: the {story}.", "shot2": f"Close-up: the {story}."}
    path.write_text(json.dumps({"global_caption": f"A {story} at noon."} | shots))


def write_systems(directory: Path, *names: str) -> list[str]:
    """Write the videos of the named systems; return NAME=DIR for each."""
    return [f"{name}={write_system(directory / name, COLOURS[name])}" for name in names]
