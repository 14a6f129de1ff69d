"""Draw the eighteen landmarks. Units are pixels of a wide shot, (0, 0) is the foot."""

import math

from shotstream.world.canvas import Box, Ellipse, FilledShape, Limb, Polygon
from shotstream.world.palette import Ink


def landmark_parts(name: str) -> list[FilledShape]:
    """Return the shapes of a landmark, back to front; about 28 units wide and 34 high."""
    return LANDMARK_PARTS[name]


def _triangle(x: float, base: float, half: float, height: float, ink: Ink) -> FilledShape:
    return Polygon(((x - half, base), (x + half, base), (x, base + height))), ink


def _conifer(layers: int, half: float, ink: Ink, lit: Ink) -> list[FilledShape]:
    parts: list[FilledShape] = [(Box(-2, 0, 2, 7), Ink.WOOD)]
    for layer in range(layers):
        width, base = half * (1 - 0.22 * layer), 5 + 8.5 * layer
        parts.append(_triangle(0, base, width, 15, ink))
        parts.append((Polygon(((0, base), (width, base), (0, base + 15))), lit))
    return parts


def _oak() -> list[FilledShape]:
    return [
        (Box(-2.5, 0, 2.5, 16), Ink.WOOD),
        (Ellipse(-7, 18, 8), Ink.LEAF),
        (Ellipse(7, 18, 8), Ink.LEAF),
        (Ellipse(0, 24, 10), Ink.LEAF),
        (Ellipse(2, 26, 6.5), Ink.LEAF_LIGHT),
    ]


def _mushroom() -> list[FilledShape]:
    return [
        (Box(-5, 0, 5, 18, 2), Ink.PLASTER),
        (Ellipse(0, 17, 15, 14), Ink.ROOF),
        (Box(-16, 2, 16, 16), Ink.NOTHING),
        (Box(-5, 0, 5, 16, 2), Ink.PLASTER),
        (Ellipse(-7, 21, 3), Ink.PLASTER),
        (Ellipse(1, 26, 3), Ink.PLASTER),
        (Ellipse(8, 20.5, 3), Ink.PLASTER),
        (Box(-2, 0, 2, 7, 1.5), Ink.WOOD),
    ]


def _palm() -> list[FilledShape]:
    crown = [(Limb(2, 28, 2 + dx, 28 + dy, 2.2), ink) for dx, dy, ink in (
        (-12, -4, Ink.LEAF), (12, -4, Ink.LEAF), (-9, 4, Ink.LEAF_LIGHT), (9, 4, Ink.LEAF_LIGHT), (0, 6, Ink.LEAF),
    )]  # fmt: skip
    return [(Limb(-2, 1, 0, 14, 2), Ink.WOOD), (Limb(0, 14, 2, 28, 1.6), Ink.WOOD), *crown]


def _parasol() -> list[FilledShape]:
    dome: list[FilledShape] = [
        (Ellipse(0, 16, 15, 11), Ink.CLOTH),
        (Ellipse(0, 16, 9, 11), Ink.PLASTER),
        (Ellipse(0, 16, 4, 11), Ink.CLOTH),
        (Box(-16, 4, 16, 16), Ink.NOTHING),
    ]
    return [*dome, (Box(-1, 0, 1, 16), Ink.WOOD), (Box(5, 0, 14, 3, 1), Ink.WATER)]


def _lighthouse() -> list[FilledShape]:
    tower: list[FilledShape] = [
        (Polygon(((-6, 0), (6, 0), (4, 26), (-4, 26))), Ink.PLASTER),
        (Polygon(((-5.4, 7), (5.4, 7), (4.9, 13), (-4.9, 13))), Ink.ROOF),
        (Polygon(((-4.5, 19), (4.5, 19), (4.0, 25), (-4.0, 25))), Ink.ROOF),
    ]
    return [*tower, (Box(-5, 25, 5, 27), Ink.STEEL), (Box(-3, 27, 3, 32), Ink.WINDOW), _triangle(0, 32, 5, 5, Ink.ROOF)]


def _house() -> list[FilledShape]:
    return [
        (Box(6, 18, 9, 29), Ink.STONE_DARK),
        (Box(-11, 0, 11, 16), Ink.PLASTER),
        _triangle(0, 15, 15, 14, Ink.ROOF),
        (Box(-2.5, 0, 2.5, 9), Ink.WOOD),
        (Box(-9, 6, -5, 11), Ink.WINDOW),
        (Box(5, 6, 9, 11), Ink.WINDOW),
    ]


def _windmill() -> list[FilledShape]:
    sails: list[FilledShape] = [
        (Limb(0, 23, 13 * math.cos(turn), 23 + 13 * math.sin(turn), 1.7), Ink.PLASTER)
        for turn in (math.pi / 4 + quarter * math.pi / 2 for quarter in range(4))
    ]
    return [
        (Polygon(((-7, 0), (7, 0), (4.5, 24), (-4.5, 24))), Ink.STONE_DARK),
        _triangle(0, 23, 6.5, 7, Ink.ROOF),
        (Box(-2, 0, 2, 7), Ink.WOOD),
        *sails,
        (Ellipse(0, 23, 2), Ink.WOOD),
    ]


def _church() -> list[FilledShape]:
    return [
        (Box(-2, 0, 13, 13), Ink.PLASTER),
        (Polygon(((-3, 12), (14, 12), (11, 19), (0, 19))), Ink.STEEL),
        (Box(-11, 0, -2, 24), Ink.PLASTER),
        _triangle(-6.5, 24, 6, 13, Ink.STEEL),
        (Box(-8.5, 14, -4.5, 20, 1.5), Ink.WOOD),
        (Box(3, 0, 8, 8, 1.5), Ink.WOOD),
    ]


def _cactus() -> list[FilledShape]:
    return [
        (Limb(0, 0, 0, 27, 3.6), Ink.LEAF),
        (Limb(0, 10, -9, 11, 2.4), Ink.LEAF),
        (Limb(-9, 11, -9, 20, 2.4), Ink.LEAF),
        (Limb(0, 14, 9, 15, 2.4), Ink.LEAF),
        (Limb(9, 15, 9, 25, 2.4), Ink.LEAF),
        (Limb(1, 3, 1, 26, 0.8), Ink.LEAF_LIGHT),
    ]


def _pyramid() -> list[FilledShape]:
    return [_triangle(0, 0, 19, 28, Ink.STONE), (Polygon(((4, 0), (19, 0), (0, 28))), Ink.STONE_DARK)]


def _arch() -> list[FilledShape]:
    return [
        (Box(-14, 0, 14, 26, 6), Ink.ROOF),
        (Box(-14, 0, 14, 8), Ink.ROOF),
        (Box(-6, -2, 6, 17, 5), Ink.NOTHING),
        (Box(-6, 0, 6, 8), Ink.NOTHING),
        (Box(-11, 23, 9, 26, 1), Ink.STONE),
    ]


def _tent() -> list[FilledShape]:
    return [
        _triangle(0, 0, 17, 24, Ink.CLOTH),
        (Polygon(((4, 0), (17, 0), (0, 24))), Ink.ROOF),
        _triangle(-2, 0, 5, 15, Ink.WINDOW),
    ]


def _sailing_boat() -> list[FilledShape]:
    return [
        (Polygon(((-13, 9), (13, 9), (9, 3), (-9, 3))), Ink.WOOD),
        (Box(-0.8, 9, 0.8, 34), Ink.WOOD),
        (Polygon(((2, 11), (12, 11), (2, 33))), Ink.PLASTER),
        (Polygon(((-2, 11), (-10, 11), (-2, 28))), Ink.PLASTER),
    ]


def _tower() -> list[FilledShape]:
    windows: list[FilledShape] = [
        (Box(x, y, x + 3, y + 3.5), Ink.WINDOW) for x in (-6.5, -1.5, 3.5) for y in (6, 13, 20, 27)
    ]
    return [(Box(-9, 0, 9, 35), Ink.STEEL), (Box(-1, 35, 1, 41), Ink.STEEL), *windows]


def _fountain() -> list[FilledShape]:
    jets: list[FilledShape] = [
        (Ellipse(0, 17, 10.5, 11), Ink.WATER),
        (Ellipse(0, 17, 5, 8), Ink.PLASTER),
        (Box(-11, 6, 11, 15), Ink.NOTHING),
    ]
    return [
        *jets,
        (Box(-15, 0, 15, 6, 2), Ink.STONE),
        (Box(-13, 5, 13, 8, 1), Ink.WATER),
        (Box(-2.5, 5, 2.5, 13), Ink.STONE_DARK),
        (Box(-8, 12, 8, 15.5, 1), Ink.STONE),
    ]


def _ferris_wheel() -> list[FilledShape]:
    centre = 20.0
    parts: list[FilledShape] = [
        (Limb(0, centre, -8, 0, 1.2), Ink.STONE_DARK),
        (Limb(0, centre, 8, 0, 1.2), Ink.STONE_DARK),
    ]
    spokes = [turn * math.pi / 3 for turn in range(6)]
    ring = [(13 * math.cos(turn), centre + 13 * math.sin(turn)) for turn in spokes]
    parts += [(Limb(0, centre, x, y, 0.8), Ink.PLASTER) for x, y in ring]
    parts += [(Limb(*a, *b, 1.0), Ink.PLASTER) for a, b in zip(ring, ring[1:] + ring[:1], strict=True)]
    return parts + [(Ellipse(x, y, 3.0), Ink.ROOF if i % 2 else Ink.WINDOW) for i, (x, y) in enumerate(ring)]


LANDMARK_PARTS: dict[str, list[FilledShape]] = {
    "pine": _conifer(3, 13, Ink.LEAF, Ink.LEAF_LIGHT),
    "oak": _oak(),
    "mushroom": _mushroom(),
    "palm": _palm(),
    "parasol": _parasol(),
    "lighthouse": _lighthouse(),
    "house": _house(),
    "windmill": _windmill(),
    "church": _church(),
    "cactus": _cactus(),
    "pyramid": _pyramid(),
    "arch": _arch(),
    "fir": _conifer(3, 11, Ink.LEAF, Ink.LEAF),
    "tent": _tent(),
    "sailing boat": _sailing_boat(),
    "tower": _tower(),
    "fountain": _fountain(),
    "ferris wheel": _ferris_wheel(),
}
