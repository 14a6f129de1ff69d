"""Draw one character in one pose, at any scale."""

from collections.abc import Callable

import numpy as np

from shotstream.world.accessories import Face, draw_accessory
from shotstream.world.canvas import Box, Canvas, Ellipse, FilledShape, Grid, Indices, Limb, Mask, Polygon
from shotstream.world.palette import INKS_A_CHARACTER, Ink
from shotstream.world.poses import Pose
from shotstream.world.scene import Character
from shotstream.world.traits import Pattern, Species

HALF_WIDTH, HEIGHT, BELOW = 19, 42, 2
"""The room a drawing takes, in units: to either side of the feet, above and below them."""
HEAD_Y = 19.0
SHOULDER_Y = 10.5

FACES: dict[Species, Face] = {
    "fox": Face(eye_x=3.4, eye_y=1.0, eye_radius=1.5, top=6.4, neck=-7.0, half_width=8.6),
    "rabbit": Face(eye_x=3.0, eye_y=0.8, eye_radius=1.5, top=6.8, neck=-7.2, half_width=7.2),
    "bear": Face(eye_x=3.6, eye_y=1.2, eye_radius=1.4, top=7.4, neck=-7.4, half_width=8.8),
    "frog": Face(eye_x=5.2, eye_y=5.2, eye_radius=2.2, top=8.2, neck=-6.4, half_width=9.6),
    "owl": Face(eye_x=3.7, eye_y=1.2, eye_radius=3.0, top=6.8, neck=-7.0, half_width=8.4),
    "robot": Face(eye_x=3.2, eye_y=0.6, eye_radius=1.6, top=6.4, neck=-7.2, half_width=8.0),
}


def draw_character(character: Character, index: int, pose: Pose, scale: float) -> tuple[Indices, tuple[int, int]]:
    """Return the drawing, and the row and column of the point between the feet.

    Args:
        character: who.
        index: which of the story's characters it is: decides the palette indices of its coat.
        pose: what it does.
        scale: pixels a unit.
    """
    height, width = round((HEIGHT + BELOW) * scale), 2 * round(HALF_WIDTH * scale)
    foot = (round(HEIGHT * scale), width // 2)
    canvas = Canvas(height, width, scale, foot)
    figure = _Figure(character, index * INKS_A_CHARACTER, pose, canvas)
    figure.draw_body()
    figure.draw_head()
    figure.draw_arms()
    figure.draw_extras()
    return _lean(canvas, pose.lean), foot


def _lean(canvas: Canvas, lean: float) -> Indices:
    """Shift every row sideways in proportion to its height: `lean` units at the top of the head."""
    if not lean:
        return canvas.pixels
    shift = np.rint(lean * canvas.scale * np.clip(canvas.y[:, 0], 0, None) / (HEAD_Y + 7)).astype(np.int64)
    columns = np.arange(canvas.pixels.shape[1])[None, :] - shift[:, None]
    return np.take_along_axis(canvas.pixels, columns % canvas.pixels.shape[1], axis=1)


def _pattern_mask(pattern: Pattern, x: Grid, y: Grid) -> Mask:
    """Return the mask of the coat's marks, around its own centre, in units."""
    if pattern == "stripes":
        return np.broadcast_to((y + 0.8) % 4.4 < 1.8, np.broadcast(x, y).shape)
    row = np.floor((y + 1.2) / 4.2)
    across = (x + 3.0 * (row % 2)) % 6.0 - 3.0
    up = (y + 1.2) % 4.2 - 2.1
    return across**2 + up**2 <= 1.75**2


class _Figure:
    """One character being drawn: the parts all species share, then each head."""

    def __init__(self, character: Character, first_ink: int, pose: Pose, canvas: Canvas) -> None:
        self.character, self.pose, self.canvas = character, pose, canvas
        self.body, self.head = Ink.BODY + first_ink, Ink.HEAD + first_ink
        self.mark, self.pale = Ink.MARK + first_ink, Ink.PALE + first_ink
        self.sunk = 2.0 if pose.sitting else 0.0
        self.head_y = HEAD_Y - self.sunk - pose.drop
        self.face = FACES[character.species]
        self.line_px = max(1.0, canvas.scale * 0.55)

    def draw_body(self) -> None:
        """Tail, legs and trunk."""
        robot, owl = self.character.species == "robot", self.character.species == "owl"
        self.canvas.draw(self._tail(), Ink.LINE, self.line_px)
        limb = Ink.METAL if robot else Ink.BEAK if owl else self.body
        y, trunk = 7.6 - self.sunk, 6.6 if self.character.species == "bear" else 5.6
        spread = self.pose.stride * 2.6
        legs: list[FilledShape] = [
            (Limb(-2.8, 4 - self.sunk, -2.8 - spread, 1.6, 1.7), limb),
            (Limb(2.8, 4 - self.sunk, 2.8 + spread, 1.6, 1.7), limb),
        ]
        if self.pose.sitting:
            legs = [(Ellipse(-5.4, 2.0, 3.2, 2.0), limb), (Ellipse(5.4, 2.0, 3.2, 2.0), limb)]
        self.canvas.draw(legs, Ink.LINE, self.line_px)
        shape = Box(-5.4, y - 5, 5.4, y + 5, 1.0) if robot else Ellipse(0, y, trunk, 5.8)
        self.canvas.draw([(shape, self.body)], Ink.LINE, self.line_px)
        self._put_marks(self.body, 0.0, y)
        belly = Ellipse(self.pose.turn * 0.5, y - 0.8, 2.6, 3.2)
        self.canvas.draw([(Box(-2.4, y - 2.4, 2.4, y + 1.6), Ink.METAL) if robot else (belly, self.pale)])

    def draw_head(self) -> None:
        """Draw ears, skull, marks and face."""
        ears, skull, features = HEADS[self.character.species](self)
        self.canvas.draw(ears + skull, Ink.LINE, self.line_px)
        self._put_marks(self.head, 0.0, self.head_y)
        self.canvas.draw(features)
        self._draw_eyes()
        accessory = self.character.accessory
        draw_accessory(self.canvas, accessory, self.face, 0.0, self.head_y, self.pose.turn)
        if accessory == "glasses" and not self.pose.eyes_open:
            self._draw_shut_eyes(Ink.LENS)

    def draw_arms(self) -> None:
        """Both arms, in front of everything."""
        for side, angle in zip((-1, 1), self.pose.arms, strict=True):
            turn = np.deg2rad(angle)
            x, y = side * 5.2, SHOULDER_Y - self.sunk
            reach = 7.6 if angle > 90 else 5.6
            hand = (x + side * reach * float(np.sin(turn)), y - reach * float(np.cos(turn)))
            owl, robot = self.character.species == "owl", self.character.species == "robot"
            parts: list[FilledShape] = [(Limb(x, y, *hand, 2.4 if owl else 1.7), Ink.METAL if robot else self.body)]
            if not owl:
                parts.append((Ellipse(*hand, 1.9), self.pale))
            self.canvas.draw(parts, Ink.LINE, self.line_px)

    def draw_extras(self) -> None:
        """Draw the melon that is eaten, or the letters of sleep."""
        if self.pose.melon:
            x, y = self.pose.turn * 2.4, self.head_y - 5.4
            y -= 0.0 if self.pose.mouth_open else 1.2
            slice_of_melon: list[FilledShape] = [
                (Polygon(((x - 5.4, y + 2.6), (x + 5.4, y + 2.6), (x + 2.6, y - 2.6), (x - 2.6, y - 2.6))), Ink.RIND),
                (Polygon(((x - 4.0, y + 2.6), (x + 4.0, y + 2.6), (x + 1.8, y - 1.2), (x - 1.8, y - 1.2))), Ink.MELON),
            ]
            self.canvas.draw(slice_of_melon, Ink.LINE, self.line_px)
        side = 1 if self.pose.turn >= 0 else -1
        for letter in range(self.pose.dreams):
            x, y, size = side * (10.4 + 3.2 * letter), self.head_y + 3.0 + 6.5 * letter, 1.8 + 0.6 * letter
            strokes: list[FilledShape] = [
                (Limb(x - size, y + size, x + size, y + size, 0.55), Ink.SLEEP),
                (Limb(x + size, y + size, x - size, y - size, 0.55), Ink.SLEEP),
                (Limb(x - size, y - size, x + size, y - size, 0.55), Ink.SLEEP),
            ]
            self.canvas.draw(strokes, Ink.LINE, self.line_px)

    def _put_marks(self, coat: int, x: float, y: float) -> None:
        """Turn coat pixels under the pattern into marks."""
        if self.character.pattern != "plain":
            mask = _pattern_mask(self.character.pattern, self.canvas.x - x, self.canvas.y - y)
            self.canvas.pixels[(self.canvas.pixels == coat) & mask] = self.mark

    def _tail(self) -> list[FilledShape]:
        side = -1 if self.pose.turn >= 0 else 1
        if self.character.species == "fox":
            return [
                (Limb(side * 4, 4, side * 10, 8, 2.8), self.body),
                (Limb(side * 10, 8, side * 11.5, 12, 2.4), self.pale),
            ]
        if self.character.species == "rabbit":
            return [(Ellipse(side * 6.4, 5, 2.6), self.pale)]
        return []

    def _draw_eyes(self) -> None:
        """Draw dark eyes with a glint; those of owl and frog lie on white, the robot's glow."""
        if not self.pose.eyes_open:
            self._draw_shut_eyes(None)
            return
        face, y = self.face, self.head_y + self.face.eye_y
        for side in (-1, 1):
            x = self.pose.turn + side * face.eye_x
            if self.character.species == "robot":
                self.canvas.draw([(Ellipse(x, y, 1.5, 1.9), Ink.GLOWING)])
                continue
            if self.character.species in ("owl", "frog"):
                self.canvas.draw([(Ellipse(x, y, face.eye_radius), Ink.EYE)])
                x += 0.3 * self.pose.turn
            self.canvas.draw([(Ellipse(x, y, 1.3, 1.9), Ink.PUPIL), (Ellipse(x + 0.4, y + 0.8, 0.5), Ink.EYE)])

    def _draw_shut_eyes(self, lid: int | None) -> None:
        face, y = self.face, self.head_y + self.face.eye_y
        ink = Ink.GLOWING if self.character.species == "robot" and lid is None else Ink.PUPIL
        for side in (-1, 1):
            x = self.pose.turn + side * face.eye_x
            parts: list[FilledShape] = [(Limb(x - 1.7, y - 0.4, x + 1.7, y - 0.4, 0.5), ink)]
            if lid is not None:
                parts.insert(0, (Ellipse(x, y, face.eye_radius + 0.4), lid))
            self.canvas.draw(parts)


HeadDrawing = tuple[list[FilledShape], list[FilledShape], list[FilledShape]]
"""Ears, skull and features."""


def _mouth(figure: _Figure, x: float, y: float) -> list[FilledShape]:
    if figure.pose.mouth_open:
        return [(Ellipse(x, y - 0.6, 1.3, 1.2), Ink.JEWEL)]
    return [(Limb(x - 1, y, x + 1, y, 0.4), Ink.NOSE)]


def _fox(figure: _Figure) -> HeadDrawing:
    y, x = figure.head_y, figure.pose.turn
    ears: list[FilledShape] = []
    for side in (-1, 1):
        ears += [
            (Polygon(((side * 8.2, y + 2), (side * 1.6, y + 5), (side * 7.6, y + 12.5))), figure.head),
            (Polygon(((side * 6.9, y + 5), (side * 4.2, y + 6), (side * 7.0, y + 10.2))), Ink.LINE),
        ]
    skull: list[FilledShape] = [
        (Ellipse(0, y + 0.4, 8.4, 6.2), figure.head),
        (Polygon(((-8.4, y), (8.4, y), (x, y - 7.4))), figure.head),
    ]
    features: list[FilledShape] = [
        (Polygon(((x - 6.4, y - 1.6), (x - 1.4, y - 0.6), (x, y - 6.8))), figure.pale),
        (Polygon(((x + 6.4, y - 1.6), (x + 1.4, y - 0.6), (x, y - 6.8))), figure.pale),
        (Ellipse(x, y - 3.8, 2.8, 2.6), figure.pale),
        (Ellipse(x + 0.2 * x, y - 3.0, 1.6, 1.2), Ink.NOSE),
    ]
    return ears, skull, features + ([(Ellipse(x, y - 5.4, 1.0, 1.0), Ink.JEWEL)] if figure.pose.mouth_open else [])


def _rabbit(figure: _Figure) -> HeadDrawing:
    y, x = figure.head_y, figure.pose.turn
    ears: list[FilledShape] = []
    for side in (-1, 1):
        foot, tip = side * 2.8, side * 4.2 - 0.6 * x
        ears.append((Limb(foot, y + 5, tip, y + 14.5, 2.2), figure.head))
        ears.append((Limb(foot, y + 7, tip, y + 14, 0.9), Ink.CHEEK))
    skull: list[FilledShape] = [(Ellipse(0, y, 7.4, 6.8), figure.head)]
    features: list[FilledShape] = [
        (Ellipse(x, y - 3.2, 3.6, 2.8), figure.pale),
        (Ellipse(x, y - 1.8, 1.3, 0.9), Ink.CHEEK),
        *_mouth(figure, x, y - 3.6),
        (Box(x - 1.1, y - 6.0, x + 1.1, y - 4.2), Ink.EYE),
    ]
    return ears, skull, features


def _bear(figure: _Figure) -> HeadDrawing:
    y, x = figure.head_y, figure.pose.turn
    ears: list[FilledShape] = []
    for side in (-1, 1):
        ears.append((Ellipse(side * 6.6, y + 6.2, 3.4), figure.head))
        ears.append((Ellipse(side * 6.6, y + 6.2, 1.7), figure.pale))
    skull: list[FilledShape] = [(Ellipse(0, y, 9.0, 7.4), figure.head)]
    features: list[FilledShape] = [
        (Ellipse(x * 1.2, y - 3.0, 4.2, 3.2), figure.pale),
        (Ellipse(x * 1.3, y - 1.4, 2.2, 1.4), Ink.NOSE),
        *_mouth(figure, x * 1.2, y - 4.4),
    ]
    return ears, skull, features


def _frog(figure: _Figure) -> HeadDrawing:
    y, x = figure.head_y, figure.pose.turn
    ears: list[FilledShape] = [(Ellipse(x + side * 5.2, y + 4.6, 3.6), figure.head) for side in (-1, 1)]
    skull: list[FilledShape] = [(Ellipse(0, y - 0.6, 10.0, 6.0), figure.head)]
    features: list[FilledShape] = [
        (Ellipse(x - 6.8, y - 1.6, 1.6, 1.1), Ink.CHEEK),
        (Ellipse(x + 6.8, y - 1.6, 1.6, 1.1), Ink.CHEEK),
        (Limb(x - 4.8, y - 3.0, x + 4.8, y - 3.0, 0.6), Ink.NOSE),
    ]
    if figure.pose.mouth_open:
        features.append((Ellipse(x, y - 3.4, 3.4, 1.8), Ink.JEWEL))
    return ears, skull, features


def _owl(figure: _Figure) -> HeadDrawing:
    y, x = figure.head_y, figure.pose.turn
    ears: list[FilledShape] = [
        (Polygon(((side * 8.6, y + 1), (side * 2.0, y + 6), (side * 8.8, y + 9.6))), figure.head) for side in (-1, 1)
    ]
    skull: list[FilledShape] = [(Ellipse(0, y - 0.4, 8.6, 7.4), figure.head)]
    features: list[FilledShape] = [(Ellipse(x + side * 3.7, y + 1.0, 4.3), figure.pale) for side in (-1, 1)]
    beak = -4.6 if figure.pose.mouth_open else -3.6
    features.append((Polygon(((x - 1.8, y - 0.6), (x + 1.8, y - 0.6), (x, y + beak))), Ink.BEAK))
    return ears, skull, features


def _robot(figure: _Figure) -> HeadDrawing:
    y, x = figure.head_y, figure.pose.turn
    ears: list[FilledShape] = [
        (Limb(0, y + 6, 0, y + 10, 0.7), Ink.METAL),
        (Ellipse(0, y + 11, 1.8), Ink.JEWEL),
        (Box(-9.8, y - 2.5, 9.8, y + 2.5, 1.0), Ink.METAL),
    ]
    skull: list[FilledShape] = [(Box(-8.2, y - 6.6, 8.2, y + 6.6, 2.0), figure.head)]
    features: list[FilledShape] = [(Box(x * 0.6 - 6.0, y - 2.4, x * 0.6 + 6.0, y + 3.4, 1.4), Ink.PUPIL)]
    mouth = 1.6 if figure.pose.mouth_open else 0.6
    features.append((Box(x - 2.6, y - 4.4 - mouth / 2, x + 2.6, y - 4.4 + mouth / 2), Ink.NOSE))
    return ears, skull, features


HEADS: dict[Species, Callable[[_Figure], HeadDrawing]] = {
    "fox": _fox,
    "rabbit": _rabbit,
    "bear": _bear,
    "frog": _frog,
    "owl": _owl,
    "robot": _robot,
}
