"""Make the pictures of the start page's examples: the first shot of each, by the embedded model.

.venv/bin/python tests/studio/example_pictures.py
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

import shotstream
from shotstream.api import Model
from shotstream.core.images import write_png
from shotstream.core.spec import FPS
from shotstream.core.video import Frames, write_video

WEB = Path(__file__).parents[2] / "src" / "shotstream" / "serve" / "web"
PICTURES = WEB / "pictures"
EXAMPLES: list[dict[str, Any]] = json.loads((WEB / "examples.json").read_text())


def first_shot(model: Model, example: dict[str, Any]) -> Frames:
    """Return the frames of an example's first shot, `[n, h, w, 3]`, as the studio makes it."""
    shot = example["shots"][0]
    with model.story(example["caption"], seed=example["seed"]) as story:
        return np.concatenate(list(story.shot(shot["text"], shot["chunks"])))


def main() -> None:
    """Write a still (the middle frame) and a video of every example."""
    model = shotstream.open("storyworld")
    for example in EXAMPLES:
        frames = first_shot(model, example)
        write_png(PICTURES / f"{example['name']}.png", frames[len(frames) // 2])
        write_video(PICTURES / f"{example['name']}.mp4", frames, FPS)


if __name__ == "__main__":
    main()
