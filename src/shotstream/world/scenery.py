"""Draw sky, hills, ground and landmarks once a shot, as layers wider than the picture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shotstream.core.rng import derive_seed
from shotstream.world.canvas import Box, Canvas, Ellipse, Indices, Limb
from shotstream.world.framing import HEIGHT, PAN_LIMIT_PX, SLOT_DISTANCE_PX, TILE_PX, WIDTH, Lens
from shotstream.world.landmarks import landmark_parts
from shotstream.world.palette import Ink
from shotstream.world.scene import WorldStory

MARGIN = PAN_LIMIT_PX + 8
"""Pixels drawn beyond the picture on either side, for pans."""
LANDMARK_DROP_UNITS = 4.0
"""Distance of its foot below the horizon, in pixels."""


@dataclass(frozen=True)
class Scenery:
    """Three layers of palette indices, back to front; 0 is see-through. The sky has the picture's size.

    `slots` is no layer: it says where the landmark of slot 0, 1, 2 is (as 1, 2, 3).
    """

    sky: Indices
    hills: Indices
    land: Indices
    slots: Indices

    def view(self, offset: float) -> Indices:
        """Return the picture `[80, 128]` with the camera `offset` pixels right of the middle of the place."""
        picture = self.sky.copy()
        for layer, share in ((self.hills, 0.5), (self.land, 1.0)):
            window = _window(layer, offset * share)
            np.copyto(picture, window, where=window > 0)
        return picture

    def slot_view(self, offset: float) -> Indices:
        """Return which slot's landmark is at each pixel of `view`, from 1; 0 where there is none."""
        return _window(self.slots, offset).copy()


def _window(layer: Indices, offset: float) -> Indices:
    left = MARGIN + int(np.floor(offset))
    return layer[:, left : left + WIDTH]


def draw_scenery(story: WorldStory, lens: Lens) -> Scenery:
    """Draw the layers of a story's place for one framing. All randomness comes from the story's seed."""
    rng = np.random.default_rng(derive_seed("scenery", story.seed))
    details = rng.random(32)
    land, slots = _draw_land(story, lens, details)
    return Scenery(_draw_sky(story, details), _draw_hills(story, lens, details), land, slots)


def _layer(lens: Lens) -> Canvas:
    return Canvas(HEIGHT, WIDTH + 2 * MARGIN, lens.scenery_scale, (lens.horizon_row, MARGIN + WIDTH / 2))


def _draw_sky(story: WorldStory, details: NDArray[np.float64]) -> Indices:
    """Four flat bands, sun or moon, clouds or stars: the same in every framing."""
    canvas = Canvas(HEIGHT, WIDTH, 1.0, (HEIGHT, 0))
    for top, ink in ((0, Ink.SKY_TOP), (13, Ink.SKY_HIGH), (26, Ink.SKY_LOW), (38, Ink.SKY_BOTTOM)):
        canvas.pixels[top:] = ink
    x = TILE_PX * (1.5 + int(6 * details[0]))
    y = {"day": 68.0, "dusk": 44.0, "night": 66.0}[story.time]
    radius = {"day": 6.5, "dusk": 10.0, "night": 6.5}[story.time]
    canvas.fill(Ellipse(x, y, radius + 3), Ink.GLOW)
    canvas.fill(Ellipse(x, y, radius), Ink.SUN)
    if story.time == "night":
        canvas.fill(Ellipse(x + 3.5, y + 2, radius - 0.8), Ink.GLOW)
        for index in range(9):
            star_x, star_y = int((index * 14.4 + 30 * details[1 + index]) % 126), int(48 + 30 * details[10 + index])
            canvas.fill(Box(star_x, star_y, star_x + 2, star_y + 2), Ink.STAR)
        return canvas.pixels
    for index in range(2):
        cloud_x, cloud_y = (x + 3 * TILE_PX * (index + 1)) % WIDTH, 58 + 12 * details[22 + index]
        canvas.fill(Limb(cloud_x - 10, cloud_y, cloud_x + 10, cloud_y, 2.5), Ink.CLOUD)
        canvas.fill(Ellipse(cloud_x - 2, cloud_y + 2.5, 6, 4), Ink.CLOUD)
    return canvas.pixels


def _draw_hills(story: WorldStory, lens: Lens, details: NDArray[np.float64]) -> Indices:
    """Draw two ridges, in the shape of the place."""
    canvas = _layer(lens)
    x = canvas.x[0]
    for ridge, (ink, top_ink) in enumerate(((Ink.FAR, Ink.FAR_TOP), (Ink.NEAR, Ink.NEAR))):
        height, cap = _profile(story, ridge, x.astype(np.float64), details[24 + 3 * ridge : 27 + 3 * ridge])
        canvas.pixels[canvas.y <= height[None]] = ink
        canvas.pixels[(canvas.y <= height[None]) & (canvas.y > (height - cap)[None])] = top_ink
    return canvas.pixels


def _profile(
    story: WorldStory, ridge: int, x: NDArray[np.float64], details: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | float]:
    """Height of a ridge above the horizon at each x, and how thick its lighter top is, in units."""
    near = ridge == 1
    start, bend, size = details * 2 * np.pi
    size /= 2 * np.pi
    waves = np.sin(x / 17 + start) + 0.6 * np.sin(x / 9 + bend)
    if story.place == "forest":
        bumps = np.abs(np.sin(x / (7 if near else 10) + start))
        return (3 + 4 * bumps if near else 11 + 5 * bumps + 2 * waves), 0.0 if near else 2.5
    if story.place == "beach":
        return np.full_like(x, 3.0 if near else 9.0), 0.0 if near else 1.5
    if story.place == "desert":
        return (3.5 + 2 * waves if near else 9 + 4 * waves * (0.6 + size)), 0.0 if near else 2.0
    if story.place == "lake":
        if near:
            return np.full_like(x, 4.0), 0.0
        saw = np.abs(((x / (34 + 10 * size) + start) % 2) - 1)
        height = 8 + 20 * saw
        return height, np.clip(height - 20, 0, None)
    if story.place == "city":
        block = np.floor((x + 40 * start) / (8 if near else 11))
        return (3 + 6 * (np.sin(block * 12.9 + bend) > 0) if near else 13 + 7 * np.sin(block * 7.3 + bend)), 0.0
    return (4 + 1.5 * waves if near else 10 + 3 * waves), 0.0 if near else 2.0


def _draw_land(story: WorldStory, lens: Lens, details: NDArray[np.float64]) -> tuple[Indices, Indices]:
    """Ground in three bands, the three landmarks, a few tufts; and where the landmarks are."""
    canvas, slots = _layer(lens), np.zeros_like(_layer(lens).pixels)
    depth = HEIGHT - lens.horizon_row
    for share, ink in ((0.0, Ink.GROUND_BACK), (0.30, Ink.GROUND), (0.78, Ink.GROUND_FRONT)):
        canvas.pixels[lens.horizon_row + round(depth * share) :] = ink
    for slot, landmark in enumerate(story.layout):
        stamp = _landmark_stamp(landmark, lens.scenery_scale)
        left = round(canvas.origin[1] + (slot - 1) * SLOT_DISTANCE_PX - stamp.shape[1] / 2)
        bottom = lens.horizon_row + round(LANDMARK_DROP_UNITS * lens.scenery_scale)
        source = stamp[max(0, stamp.shape[0] - bottom) :]
        place = (slice(bottom - source.shape[0], bottom), slice(left, left + stamp.shape[1]))
        np.copyto(canvas.pixels[place], source, where=source > 0)
        np.copyto(slots[place], np.uint8(slot + 1), where=source > 0)
    for index in range(6):
        x, share = (index - 2.5) * 30 + 18 * float(details[6 + index]), 0.36 + 0.3 * float(details[12 + index])
        y = -depth * share / lens.scenery_scale
        canvas.fill(Limb(x - 2.5, y, x + 2.5, y, 1.0), Ink.TUFT)
    return canvas.pixels, slots


def _landmark_stamp(landmark: str, scale: float) -> Indices:
    """Draw a landmark alone, its foot on the last row."""
    height, width = round(48 * scale), round(44 * scale)
    stamp = Canvas(height, width, scale, (height - 1, width / 2))
    for shape, ink in landmark_parts(landmark):
        stamp.fill(shape, ink)
    return stamp.pixels
