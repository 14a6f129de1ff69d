"""Draw accessories. Each sits at the head or the neck, so it shows in every framing."""

from dataclasses import dataclass

from shotstream.world.canvas import Box, Canvas, Ellipse, FilledShape, Limb, Polygon
from shotstream.world.palette import Ink
from shotstream.world.traits import Accessory


@dataclass(frozen=True)
class Face:
    """Positions on a head, in units from its centre: eyes, skull top, neck and half the head's width."""

    eye_x: float
    eye_y: float
    eye_radius: float
    top: float
    neck: float
    half_width: float


def draw_accessory(canvas: Canvas, accessory: Accessory, face: Face, x: float, y: float, turn: float) -> None:
    """Draw an accessory on the head with centre (x, y) whose face looks `turn` units to the right."""
    if accessory == "none":
        return
    parts = {"hat": _hat, "scarf": _scarf, "glasses": _glasses, "bow": _bow, "crown": _crown}[accessory](
        face, x, y, turn
    )
    canvas.draw(parts, Ink.LINE, line_px=max(1.0, canvas.scale * 0.5))


def _hat(face: Face, x: float, y: float, turn: float) -> list[FilledShape]:
    top, x = y + face.top - 1.2, x + turn * 0.3
    return [
        (Box(x - 4, top, x + 4, top + 6.5, 0.5), Ink.HAT),
        (Box(x - 4, top + 1, x + 4, top + 2.8), Ink.HAT_BAND),
        (Box(x - 7, top - 0.8, x + 7, top + 0.9, 0.6), Ink.HAT),
    ]


def _crown(face: Face, x: float, y: float, turn: float) -> list[FilledShape]:
    top, x = y + face.top - 1.2, x + turn * 0.3
    points = [
        (Polygon(((x + peak - 2.4, top + 1.5), (x + peak + 2.4, top + 1.5), (x + peak * 1.15, top + 6.5))), Ink.GOLD)
        for peak in (-3.6, 0.0, 3.6)
    ]
    return [*points, (Box(x - 6, top, x + 6, top + 2.6), Ink.GOLD), (Ellipse(x, top + 1.4, 1.1), Ink.JEWEL)]


def _bow(face: Face, x: float, y: float, turn: float) -> list[FilledShape]:
    x, y = x + turn * 0.3, y + face.top + 1.0
    return [
        (Polygon(((x, y), (x - 6, y + 3.4), (x - 6, y - 3.0))), Ink.BOW),
        (Polygon(((x, y), (x + 6, y + 3.4), (x + 6, y - 3.0))), Ink.BOW),
        (Ellipse(x, y, 1.8), Ink.BOW_DARK),
    ]


def _glasses(face: Face, x: float, y: float, turn: float) -> list[FilledShape]:
    x, y, radius = x + turn, y + face.eye_y, face.eye_radius + 1.1
    parts: list[FilledShape] = [(Limb(x - face.half_width, y + 0.4, x + face.half_width, y + 0.4, 0.4), Ink.LINE)]
    for side in (-1, 1):
        parts += [
            (Ellipse(x + side * face.eye_x, y, radius), Ink.LINE),
            (Ellipse(x + side * face.eye_x, y, radius - 0.7), Ink.LENS),
            (Ellipse(x + side * face.eye_x, y, 1.2, 1.5), Ink.PUPIL),
        ]
    return parts


def _scarf(face: Face, x: float, y: float, turn: float) -> list[FilledShape]:
    y, width = y + face.neck, face.half_width
    tail = x + (3.4 if turn >= 0 else -3.4)
    return [
        (Box(tail - 1.8, y - 6, tail + 1.8, y, 0.8), Ink.SCARF),
        (Box(tail - 1.8, y - 4.6, tail + 1.8, y - 3.2), Ink.SCARF_DARK),
        (Box(x - width * 0.8, y - 1.8, x + width * 0.8, y + 1.8, 1.6), Ink.SCARF),
        (Box(x - 1, y - 1.8, x + 1, y + 1.8), Ink.SCARF_DARK),
    ]
