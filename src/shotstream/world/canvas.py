"""Draw flat shapes on a grid of palette indices (pixel art).

Shapes are given in units, y upwards, and land on whole pixels without blending, so one drawing serves every framing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Grid = NDArray[np.float32]


@runtime_checkable
class Shape(Protocol):
    """A region of the plane, `grow` units larger on every side if asked."""

    def bounds(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of a box around it, in units."""
        ...

    def covers(self, x: Grid, y: Grid, grow: float) -> Mask:
        """Tell for each point whether it is inside."""
        ...


@dataclass(frozen=True)
class Ellipse:
    """An ellipse around (x, y) with half axes `rx` and `ry` (a circle where `ry` is left out)."""

    x: float
    y: float
    rx: float
    ry: float | None = None

    def bounds(self) -> tuple[float, float, float, float]:
        ry = self.rx if self.ry is None else self.ry
        return self.x - self.rx, self.y - ry, self.x + self.rx, self.y + ry

    def covers(self, x: Grid, y: Grid, grow: float) -> Mask:
        ry = self.rx if self.ry is None else self.ry
        return ((x - self.x) / (self.rx + grow)) ** 2 + ((y - self.y) / (ry + grow)) ** 2 <= 1


@dataclass(frozen=True)
class Box:
    """A rectangle with corners rounded by `radius`."""

    x0: float
    y0: float
    x1: float
    y1: float
    radius: float = 0.0

    def bounds(self) -> tuple[float, float, float, float]:
        return self.x0, self.y0, self.x1, self.y1

    def covers(self, x: Grid, y: Grid, grow: float) -> Mask:
        half_x, half_y = (self.x1 - self.x0) / 2, (self.y1 - self.y0) / 2
        outside_x = np.abs(x - (self.x0 + half_x)) - (half_x - self.radius)
        outside_y = np.abs(y - (self.y0 + half_y)) - (half_y - self.radius)
        if not self.radius:
            return (outside_x <= grow) & (outside_y <= grow)
        return np.hypot(np.maximum(outside_x, 0), np.maximum(outside_y, 0)) <= self.radius + grow


@dataclass(frozen=True)
class Limb:
    """A thick line with round ends."""

    x0: float
    y0: float
    x1: float
    y1: float
    radius: float

    def bounds(self) -> tuple[float, float, float, float]:
        return (
            min(self.x0, self.x1) - self.radius,
            min(self.y0, self.y1) - self.radius,
            max(self.x0, self.x1) + self.radius,
            max(self.y0, self.y1) + self.radius,
        )

    def covers(self, x: Grid, y: Grid, grow: float) -> Mask:
        dx, dy = self.x1 - self.x0, self.y1 - self.y0
        along = np.clip(((x - self.x0) * dx + (y - self.y0) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
        return (x - self.x0 - along * dx) ** 2 + (y - self.y0 - along * dy) ** 2 <= (self.radius + grow) ** 2


@dataclass(frozen=True)
class Polygon:
    """A convex polygon."""

    points: tuple[tuple[float, float], ...]

    def bounds(self) -> tuple[float, float, float, float]:
        xs, ys = [x for x, _ in self.points], [y for _, y in self.points]
        return min(xs), min(ys), max(xs), max(ys)

    def covers(self, x: Grid, y: Grid, grow: float) -> Mask:
        points = self.points
        area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, points[1:] + points[:1], strict=True))
        inside: Mask = np.ones(np.broadcast(x, y).shape, dtype=bool)
        for a, b in zip(points, points[1:] + points[:1], strict=True):
            dx, dy = b[0] - a[0], b[1] - a[1]
            side = (dx * (y - a[1]) - dy * (x - a[0])) * (1 if area > 0 else -1)
            inside &= side >= -grow * float(np.hypot(dx, dy))
        return inside


FilledShape = tuple[Shape, int]
"""A shape and the palette index it is filled with."""


class Canvas:
    """A grid of palette indices (0 = nothing) with its own units: `scale` pixels a unit, the origin at a pixel."""

    def __init__(self, height: int, width: int, scale: float, origin: tuple[float, float]) -> None:
        """`origin` is the row and the column of the point (0, 0)."""
        self.pixels: Indices = np.zeros((height, width), dtype=np.uint8)
        self.scale = scale
        self.origin = origin
        row, column = origin
        self.x: Grid = ((np.arange(width, dtype=np.float32) + 0.5 - column) / scale)[None, :]
        self.y: Grid = ((row - np.arange(height, dtype=np.float32) - 0.5) / scale)[:, None]

    def fill(self, shape: Shape, ink: int, grow: float = 0.0) -> None:
        """Fill the shape with one palette index."""
        rows, columns = self._window(shape, grow)
        mask = shape.covers(self.x[:, columns], self.y[rows], grow)
        self.pixels[rows, columns][mask] = ink

    def draw(self, parts: Sequence[FilledShape], outline: int | None = None, line_px: float = 1.0) -> None:
        """Fill the shapes in order, with an outline around all of them together where `outline` is given."""
        if outline is not None:
            for shape, _ in parts:
                self.fill(shape, outline, line_px / self.scale)
        for shape, ink in parts:
            self.fill(shape, ink)

    def _window(self, shape: Shape, grow: float) -> tuple[slice, slice]:
        """Return the rows and columns the shape can touch."""
        x0, y0, x1, y1 = shape.bounds()
        height, width = self.pixels.shape
        row, column = self.origin
        margin = grow * self.scale + 1
        top, bottom = int(row - y1 * self.scale - margin), int(row - y0 * self.scale + margin) + 1
        left, right = int(column + x0 * self.scale - margin), int(column + x1 * self.scale + margin) + 1
        return slice(max(top, 0), min(max(bottom, 0), height)), slice(max(left, 0), min(max(right, 0), width))
