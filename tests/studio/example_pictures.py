"""The pictures of the page's example stories, drawn by StoryWorld; made again by hand:

.venv/bin/python tests/studio/example_pictures.py
"""

from pathlib import Path

from shotstream.core.images import write_png
from shotstream.world.render import render_frames
from shotstream.world.scene import Character, WorldShot, WorldStory
from shotstream.world.traits import Framing, Place, Time

PICTURES = Path(__file__).parents[2] / "src" / "shotstream" / "serve" / "web" / "pictures"
FRAME = 12


def example(
    characters: tuple[Character, ...], place: Place, time: Time, layout: tuple[str, str, str], framing: Framing
) -> WorldStory:
    """A story of one shot in which everybody waves."""
    shot = WorldShot(tuple(range(len(characters))), framing, "still", "wave", 3, seed=4)
    return WorldStory(characters, place, time, layout, (shot,), seed=5)


EXAMPLES = {
    "forest": example(
        (Character("fox", "red", "scarf", "plain"), Character("owl", "blue", "none", "plain")),
        "forest",
        "day",
        ("oak", "mushroom", "pine"),
        "medium",
    ),
    "beach": example(
        (Character("robot", "white", "none", "plain"), Character("frog", "green", "hat", "spots")),
        "beach",
        "dusk",
        ("palm", "lighthouse", "parasol"),
        "medium",
    ),
    "city": example(
        (Character("rabbit", "purple", "bow", "plain"), Character("bear", "yellow", "none", "stripes")),
        "city",
        "night",
        ("tower", "ferris wheel", "fountain"),
        "medium",
    ),
}


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for name, story in EXAMPLES.items():
        write_png(PICTURES / f"{name}.png", render_frames(story, 0, [FRAME])[0])
