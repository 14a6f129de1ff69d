"""Make the palette of a story. Time of day tints the scenery strongly and the characters lightly."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from shotstream.world.scene import WorldStory
from shotstream.world.traits import Colour, Place, Time

Rgb = tuple[int, int, int]


class Ink(IntEnum):
    """Colours by the index of a picture."""

    NOTHING = 0
    # Sky
    SKY_TOP = 1
    SKY_HIGH = 2
    SKY_LOW = 3
    SKY_BOTTOM = 4
    SUN = 5
    GLOW = 6
    CLOUD = 7
    STAR = 8
    # Land
    FAR = 16
    FAR_TOP = 17
    NEAR = 18
    GROUND_BACK = 19
    GROUND = 20
    GROUND_FRONT = 21
    TUFT = 22
    SHADOW = 23
    # Landmarks
    WOOD = 32
    LEAF = 33
    LEAF_LIGHT = 34
    STONE = 35
    STONE_DARK = 36
    PLASTER = 37
    ROOF = 38
    CLOTH = 39
    WINDOW = 40
    WATER = 41
    STEEL = 42
    # Characters, things and accessories
    LINE = 64
    PUPIL = 65
    EYE = 66
    NOSE = 67
    CHEEK = 68
    BEAK = 69
    METAL = 70
    GLOWING = 71
    HAT = 72
    HAT_BAND = 73
    SCARF = 74
    SCARF_DARK = 75
    BOW = 76
    BOW_DARK = 77
    GOLD = 78
    JEWEL = 79
    LENS = 80
    MELON = 81
    RIND = 82
    SLEEP = 83
    # The first character; the second one's are INKS_A_CHARACTER further on
    BODY = 96
    HEAD = 97
    MARK = 98
    PALE = 99


INKS_A_CHARACTER = 4

SKIES: dict[Time, tuple[Rgb, Rgb, Rgb, Rgb]] = {
    "day": ((92, 178, 238), (124, 198, 244), (160, 217, 248), (202, 236, 250)),
    "dusk": ((98, 66, 134), (178, 88, 136), (240, 130, 104), (254, 192, 116)),
    "night": ((16, 20, 58), (24, 32, 80), (34, 46, 102), (48, 64, 126)),
}
LIGHTS: dict[Time, tuple[Rgb, Rgb, Rgb, Rgb]] = {
    "day": ((255, 240, 150), (214, 236, 240), (250, 252, 255), (250, 252, 255)),
    "dusk": ((255, 232, 140), (255, 160, 104), (250, 168, 150), (255, 228, 190)),
    "night": ((248, 244, 214), (46, 58, 116), (60, 74, 132), (236, 236, 255)),
}
"""Sun or moon, its glow, clouds, stars."""

LANDS: dict[Place, tuple[Rgb, ...]] = {
    "forest": (
        (86, 148, 122), (110, 170, 138), (62, 122, 84),
        (92, 152, 76), (112, 172, 84), (134, 190, 96), (76, 134, 66),
    ),
    "beach": (
        (52, 140, 200), (96, 182, 222), (70, 164, 210),
        (228, 204, 146), (244, 222, 166), (250, 234, 190), (214, 186, 126),
    ),
    "village": (
        (146, 188, 150), (166, 206, 160), (126, 180, 100),
        (150, 196, 96), (222, 200, 150), (170, 208, 104), (128, 176, 82),
    ),
    "desert": (
        (206, 128, 100), (222, 146, 110), (226, 150, 92),
        (226, 158, 88), (238, 176, 104), (246, 194, 126), (204, 134, 74),
    ),
    "lake": (
        (132, 150, 186), (240, 246, 252), (84, 172, 204),
        (110, 176, 138), (126, 190, 130), (150, 206, 144), (92, 158, 116),
    ),
    "city": (
        (132, 146, 170), (154, 168, 190), (112, 124, 150),
        (140, 180, 112), (166, 168, 176), (188, 190, 196), (144, 146, 156),
    ),
}  # fmt: skip
"""FAR, FAR_TOP, NEAR, GROUND_BACK, GROUND, GROUND_FRONT, TUFT by daylight."""

THINGS: dict[Ink, Rgb] = {
    Ink.WOOD: (122, 84, 58),
    Ink.LEAF: (44, 108, 68),
    Ink.LEAF_LIGHT: (78, 150, 72),
    Ink.STONE: (200, 176, 148),
    Ink.STONE_DARK: (156, 128, 110),
    Ink.PLASTER: (244, 234, 214),
    Ink.ROOF: (196, 78, 66),
    Ink.CLOTH: (240, 110, 90),
    Ink.WINDOW: (96, 130, 160),
    Ink.WATER: (84, 190, 240),
    Ink.STEEL: (96, 106, 130),
}
LIT_WINDOW: Rgb = (255, 220, 120)

FIXED: dict[Ink, Rgb] = {
    Ink.LINE: (40, 28, 44),
    Ink.PUPIL: (32, 24, 40),
    Ink.EYE: (255, 255, 255),
    Ink.NOSE: (56, 36, 52),
    Ink.CHEEK: (250, 150, 160),
    Ink.BEAK: (250, 166, 50),
    Ink.METAL: (126, 136, 152),
    Ink.GLOWING: (120, 250, 240),
    Ink.HAT: (62, 56, 78),
    Ink.HAT_BAND: (240, 196, 70),
    Ink.SCARF: (236, 84, 150),
    Ink.SCARF_DARK: (255, 214, 230),
    Ink.BOW: (60, 214, 224),
    Ink.BOW_DARK: (26, 150, 176),
    Ink.GOLD: (255, 208, 60),
    Ink.JEWEL: (226, 50, 80),
    Ink.LENS: (214, 240, 250),
    Ink.MELON: (240, 70, 96),
    Ink.RIND: (70, 170, 80),
    Ink.SLEEP: (255, 255, 255),
}

COATS: dict[Colour, tuple[Rgb, Rgb, Rgb]] = {
    "red": ((226, 66, 52), (132, 22, 30), (255, 206, 184)),
    "yellow": ((252, 206, 48), (184, 112, 14), (255, 246, 200)),
    "green": ((88, 196, 74), (24, 104, 50), (220, 248, 196)),
    "blue": ((58, 122, 238), (22, 46, 140), (204, 228, 255)),
    "purple": ((164, 84, 216), (84, 28, 124), (238, 212, 252)),
    "white": ((246, 244, 240), (150, 146, 160), (255, 255, 255)),
}
"""Coat, its marks, and the pale parts (muzzle, belly)."""

LAND_TINTS: dict[Time, tuple[tuple[float, float, float], Rgb, float]] = {
    "day": ((1.0, 1.0, 1.0), (0, 0, 0), 0.0),
    "dusk": ((0.96, 0.78, 0.80), (176, 84, 110), 0.16),
    "night": ((0.46, 0.54, 0.80), (26, 36, 104), 0.22),
}
CHARACTER_TINTS: dict[Time, tuple[float, float, float]] = {
    "day": (1.0, 1.0, 1.0),
    "dusk": (1.0, 0.92, 0.86),
    "night": (0.84, 0.87, 0.98),
}


def palette_of(story: WorldStory) -> NDArray[np.uint8]:
    """Return the colours of a story's pictures, `[256, 3]`, by `Ink`."""
    palette = np.zeros((256, 3), dtype=np.float64)
    palette[Ink.SKY_TOP : Ink.SKY_BOTTOM + 1] = SKIES[story.time]
    palette[Ink.SUN : Ink.STAR + 1] = LIGHTS[story.time]
    palette[Ink.FAR : Ink.TUFT + 1] = LANDS[story.place]
    palette[Ink.SHADOW] = palette[Ink.GROUND] * 0.72
    for ink, rgb in THINGS.items():
        palette[ink] = rgb
    _tint_land(palette, story.time)
    for ink, rgb in FIXED.items():
        palette[ink] = rgb
    for index, character in enumerate(story.characters):
        first = index * INKS_A_CHARACTER
        coat, mark, pale = COATS[character.colour]
        palette[Ink.BODY + first : Ink.PALE + first + 1] = coat, coat, mark, pale
    palette[Ink.LINE :] *= CHARACTER_TINTS[story.time]
    return np.rint(palette).astype(np.uint8)


def _tint_land(palette: NDArray[np.float64], time: Time) -> None:
    """Tint land and landmarks by the time of day; after dark the windows are lit."""
    gain, haze, share = LAND_TINTS[time]
    land = palette[Ink.FAR : Ink.LINE]
    land[:] = land * gain * (1 - share) + np.array(haze) * share
    if time != "day":
        palette[Ink.WINDOW] = LIT_WINDOW
