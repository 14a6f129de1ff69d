"""Make the pictures of README and the model card again: docs/story.gif and docs/story.png, from examples/fox.yaml.

python recipes/storyworld/pictures.py [MODEL]
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import shotstream
from shotstream.core.spec import FPS
from shotstream.story.script_files import load_scripts

ROOT = Path(__file__).parents[2]
GAP, COLUMNS, SCALE = 2, 5, 2


def main() -> None:
    """Render the story, write its frames as a GIF, and two frames of every shot as one picture."""
    model = shotstream.open(sys.argv[1] if len(sys.argv) > 1 else "storyworld")
    (script,) = load_scripts(ROOT / "examples" / "fox.yaml")
    with model.story(script.global_caption, seed=script.seed or 0) as story:
        shots = [np.concatenate(list(story.shot(shot.text, shot.chunks))) for shot in script.shots]
    frames = [Image.fromarray(frame) for shot in shots for frame in shot]
    frames[0].save(
        ROOT / "docs" / "story.gif",
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 / FPS / 10) * 10,
        loop=0,
    )
    stills = [frame for shot in shots for frame in (shot[len(shot) // 4], shot[3 * len(shot) // 4])]
    height, width = stills[0].shape[:2]
    rows = -(-len(stills) // COLUMNS)
    sheet = np.full(
        (SCALE * height * rows + GAP * (rows - 1), SCALE * width * COLUMNS + GAP * (COLUMNS - 1), 3), 255, np.uint8
    )
    for index, still in enumerate(stills):
        row, column = divmod(index, COLUMNS)
        top, left = row * (SCALE * height + GAP), column * (SCALE * width + GAP)
        sheet[top : top + SCALE * height, left : left + SCALE * width] = still.repeat(SCALE, 0).repeat(SCALE, 1)
    Image.fromarray(sheet).save(ROOT / "docs" / "story.png", optimize=True)


if __name__ == "__main__":
    main()
