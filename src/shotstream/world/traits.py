"""Every trait of StoryWorld and its values.

Accessory, pattern and layout are *hidden*: no caption names them, so a later shot can get them right only by
remembering the shots before it.
"""

from typing import Literal, get_args

Species = Literal["fox", "rabbit", "bear", "frog", "owl", "robot"]
Colour = Literal["red", "yellow", "green", "blue", "purple", "white"]
Accessory = Literal["none", "hat", "scarf", "glasses", "bow", "crown"]
Pattern = Literal["plain", "spots", "stripes"]
Place = Literal["forest", "beach", "village", "desert", "lake", "city"]
Time = Literal["day", "dusk", "night"]
Framing = Literal["wide", "medium", "close-up"]
Camera = Literal["still", "pan left", "pan right", "push in"]
Action = Literal["walk left", "walk right", "jump", "wave", "sleep", "dance", "eat"]

SPECIES: tuple[Species, ...] = get_args(Species)
COLOURS: tuple[Colour, ...] = get_args(Colour)
ACCESSORIES: tuple[Accessory, ...] = get_args(Accessory)
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
PLACES: tuple[Place, ...] = get_args(Place)
TIMES: tuple[Time, ...] = get_args(Time)
FRAMINGS: tuple[Framing, ...] = get_args(Framing)
CAMERAS: tuple[Camera, ...] = get_args(Camera)
ACTIONS: tuple[Action, ...] = get_args(Action)
MOVING_ACTIONS: tuple[Action, ...] = ("walk left", "walk right", "jump", "dance")
"""Actions that move the whole body."""

SLOTS = ("left", "centre", "right")
"""Places of landmarks, seen from the middle."""

LANDMARKS: dict[Place, tuple[str, str, str]] = {
    "forest": ("pine", "oak", "mushroom"),
    "beach": ("palm", "parasol", "lighthouse"),
    "village": ("house", "windmill", "church"),
    "desert": ("cactus", "pyramid", "arch"),
    "lake": ("fir", "tent", "sailing boat"),
    "city": ("tower", "fountain", "ferris wheel"),
}
"""The landmarks a place can have; each slot holds one of the three, so a place has 27 layouts."""

HIDDEN_TRAITS = ("accessory", "pattern", "layout")
