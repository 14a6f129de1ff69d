"""Render the frames of a story from its ground truth, at 16 frames a second, as softened pixel art."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from shotstream.core.errors import InputError
from shotstream.core.rng import derive_seed
from shotstream.world.canvas import Ellipse, Indices, Mask
from shotstream.world.framing import HEIGHT, LENSES, TILE_PX, WIDTH, pan_offset, walk_px, zoom_at
from shotstream.world.palette import Ink, palette_of
from shotstream.world.poses import Pose, lift_px, pose_at
from shotstream.world.scene import WorldStory
from shotstream.world.scenery import Scenery, draw_scenery
from shotstream.world.sprites import HEAD_Y, draw_character

Frames = NDArray[np.uint8]
"""Pictures, `[n, 80, 128, 3]`."""

BLINK_EVERY_FRAMES, BLINK_FRAMES = 48, 4
"""Nobody blinks in the first eight frames of a shot."""
LEAST_VISIBLE = 0.35


def render_story(story: WorldStory) -> Iterator[Frames]:
    """Yield the frames of each shot."""
    for shot_index in range(len(story.shots)):
        yield render_shot(story, shot_index)


def render_shot(story: WorldStory, shot_index: int) -> Frames:
    """Render all frames of a shot, `[12 chunks - 3, 80, 128, 3]`.

    Raises:
        InputError: the story has no such shot.
    """
    _check_shot(story, shot_index)
    return render_frames(story, shot_index, range(story.shots[shot_index].frames))


def render_frames(story: WorldStory, shot_index: int, frame_indices: Sequence[int]) -> Frames:
    """Render some frames of a shot, `[k, 80, 128, 3]`, with the same pixels as `render_shot`.

    An index may lie beyond the shot's length: it shows how the shot would go on.

    Raises:
        InputError: the story has no such shot, or an index is negative.
    """
    stage = _staged(story, shot_index, frame_indices)
    pictures = np.empty((len(frame_indices), HEIGHT, WIDTH), dtype=np.uint8)
    for row, frame in enumerate(frame_indices):
        pictures[row] = stage.picture(frame)
    return soften(np.take(palette_of(story), pictures, axis=0))


def soften(frames: Frames) -> Frames:
    """Blur by one pixel (binomial), so that pixel art survives a video codec."""
    padded = np.pad(frames, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge").astype(np.uint16)
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    columns = rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
    return ((columns + 8) >> 4).astype(np.uint8)


def character_masks(story: WorldStory, shot_index: int, frame_indices: Sequence[int]) -> Bool[np.ndarray, "k h w"]:
    """Tell which pixels of some frames of a shot show a character; their shadows do not count.

    Raises:
        InputError: the story has no such shot, or an index is negative.
    """
    stage = _staged(story, shot_index, frame_indices)
    return np.stack([stage.character_mask(frame) for frame in frame_indices])


def visible_slots(story: WorldStory, shot_index: int) -> tuple[bool, ...]:
    """Tell which slots' landmarks are visible in a shot: at least 35% of each, at the best of three frames.

    Raises:
        InputError: the story has no such shot.
    """
    _check_shot(story, shot_index)
    stage = _Stage(story, shot_index)
    whole = [int((stage.scenery.slots == slot).sum()) for slot in range(1, len(story.layout) + 1)]
    last = stage.shot.frames - 1
    seen = [0.0] * len(whole)
    for frame in (0, last // 2, last):
        picture, zoom = stage.slots_picture(frame)
        for index, pixels in enumerate(whole):
            share = int((picture == index + 1).sum()) / (pixels * zoom * zoom)
            seen[index] = max(seen[index], share)
    return tuple(share >= LEAST_VISIBLE for share in seen)


def head_positions(story: WorldStory, shot_index: int, frame: int) -> tuple[tuple[float, float], ...]:
    """Return row and column of the middle of each head in one frame, in pixels, in the order of the cast.

    Raises:
        InputError: the story has no such shot.
    """
    _check_shot(story, shot_index)
    stage = _Stage(story, shot_index)
    return tuple(stage.head(position, frame) for position in range(len(stage.shot.cast)))


def _staged(story: WorldStory, shot_index: int, frame_indices: Sequence[int]) -> "_Stage":
    _check_shot(story, shot_index)
    if any(index < 0 for index in frame_indices):
        raise InputError(f"expected frame indices from 0, got {min(frame_indices)}")
    return _Stage(story, shot_index)


def _check_shot(story: WorldStory, shot_index: int) -> None:
    if not 0 <= shot_index < len(story.shots):
        raise InputError(f"expected a shot index from 0 to {len(story.shots) - 1}, got {shot_index}")


class _Stage:
    """The parts that all frames of a shot share: scenery, positions of characters, and cached drawings."""

    def __init__(self, story: WorldStory, shot_index: int) -> None:
        self.story = story
        self.shot = story.shots[shot_index]
        self.lens = LENSES[self.shot.framing]
        rng = np.random.default_rng(derive_seed("staging", self.shot.seed))
        self.pair = len(self.shot.cast) > 1
        self.scale = self.lens.pair_scale if self.pair else self.lens.character_scale
        self.facing = [int(side) for side in rng.choice((-1, 1), len(self.shot.cast))]
        self.blink_start = [int(start) for start in rng.integers(2, BLINK_EVERY_FRAMES // BLINK_FRAMES, 2)]
        self.columns = self._start_columns(float(rng.random()))
        self.drawings: dict[tuple[int, Pose], tuple[Indices, tuple[int, int]]] = {}

    @cached_property
    def scenery(self) -> Scenery:
        return draw_scenery(self.story, self.lens)

    @cached_property
    def still(self) -> Indices:
        return self.scenery.view(0.0)

    def picture(self, frame: int) -> Indices:
        """Draw one frame as palette indices, `[80, 128]`."""
        offset = pan_offset(self.shot.camera, frame)
        return self._shoot(self.scenery.view(offset) if offset else self.still.copy(), frame, offset)

    def slots_picture(self, frame: int) -> tuple[Indices, float]:
        """Return a picture with 1, 2, 3 where each slot's landmark shows (other values mean nothing), and the zoom."""
        offset = pan_offset(self.shot.camera, frame)
        picture = self._shoot(self.scenery.slot_view(offset), frame, offset)
        return picture, zoom_at(self.lens, self.shot.camera, frame)

    def character_mask(self, frame: int) -> Mask:
        """Tell where one frame shows a character, `[80, 128]`."""
        offset = pan_offset(self.shot.camera, frame)
        bare = np.full((HEIGHT, WIDTH), Ink.SHADOW, np.uint8)
        return self._shoot(bare, frame, offset) != Ink.SHADOW

    def _shoot(self, picture: Indices, frame: int, offset: float) -> Indices:
        for position in range(len(self.shot.cast)):
            self._put_character(picture, position, frame, offset)
        return _zoom(picture, zoom_at(self.lens, self.shot.camera, frame), self.lens.zoom_row)

    def _start_columns(self, chance: float) -> list[int]:
        """Return the position of the feet in the first frame: a mark. A walk begins near the edge it comes from."""
        lens, action = self.lens, self.shot.action
        walking = action in ("walk left", "walk right")
        marks = lens.pair_marks if self.pair else lens.marks
        first = lens.walk_marks[self.pair] if walking else marks[int(chance * len(marks))]
        columns = [TILE_PX * (first + lens.pair_distance * position) for position in range(len(self.shot.cast))]
        return [WIDTH - column for column in columns] if action == "walk left" else columns

    def _put_character(self, picture: Indices, position: int, frame: int, offset: float) -> None:
        """Draw one of the cast, with its shadow."""
        shot, lens = self.shot, self.lens
        row, column = self._feet(position, frame, offset)
        blinking = frame // BLINK_FRAMES % (BLINK_EVERY_FRAMES // BLINK_FRAMES) == self.blink_start[position]
        pose = pose_at(shot.action, frame, self.facing[position], blinking, lens.sway_units)
        _put_shadow(picture, row, column, self.scale)
        drawing, (foot_row, foot_column) = self._drawing(shot.cast[position], pose)
        top = row - lift_px(shot.action, frame, lens.jump_px) - foot_row
        _paste(picture, drawing, top, column - foot_column)

    def _feet(self, position: int, frame: int, offset: float) -> tuple[int, int]:
        """Row and column where one of the cast stands. Who does not walk stays behind when the camera pans."""
        walking = self.shot.action in ("walk left", "walk right")
        drift = 0 if walking else -int(np.floor(offset))
        row = self.lens.pair_foot_row if self.pair else self.lens.foot_row
        return row, self.columns[position] + walk_px(self.lens, self.shot.action, frame) + drift

    def head(self, position: int, frame: int) -> tuple[float, float]:
        """Row and column of the middle of a head; a bow of the body is left out."""
        row, column = self._feet(position, frame, pan_offset(self.shot.camera, frame))
        up = HEAD_Y * self.scale + lift_px(self.shot.action, frame, self.lens.jump_px)
        zoom, middle = zoom_at(self.lens, self.shot.camera, frame), self.lens.zoom_row
        return middle + (row - up - middle) * zoom, WIDTH / 2 + (column - WIDTH / 2) * zoom

    def _drawing(self, index: int, pose: Pose) -> tuple[Indices, tuple[int, int]]:
        key = (index, pose)
        if key not in self.drawings:
            self.drawings[key] = draw_character(self.story.characters[index], index, pose, self.scale)
        return self.drawings[key]


def _put_shadow(picture: Indices, row: int, column: int, scale: float) -> None:
    """Draw a character's shadow: a flat ellipse on the ground."""
    shape = Ellipse(column, -row, 8.5 * scale, 2.0 * scale)
    rows, columns = np.arange(HEIGHT, dtype=np.float32), np.arange(WIDTH, dtype=np.float32)
    top, bottom = max(0, int(row - 3 * scale)), min(HEIGHT, int(row + 3 * scale) + 1)
    if top < bottom:
        mask = shape.covers(columns[None, :], -rows[top:bottom, None], 0.0)
        picture[top:bottom][mask] = Ink.SHADOW


def _paste(picture: Indices, drawing: Indices, top: int, left: int) -> None:
    """Paste a picture into another, cut at its edges."""
    rows = slice(max(0, top), min(HEIGHT, top + drawing.shape[0]))
    columns = slice(max(0, left), min(WIDTH, left + drawing.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    source = drawing[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    np.copyto(picture[rows, columns], source, where=source > 0)


def _zoom(picture: Indices, zoom: float, centre_row: int) -> Indices:
    """Enlarge the picture about the middle column and one row, by the nearest pixel."""
    if zoom == 1.0:
        return picture
    rows = np.floor(centre_row + (np.arange(HEIGHT) + 0.5 - centre_row) / zoom).astype(np.int64)
    columns = np.floor(WIDTH / 2 + (np.arange(WIDTH) + 0.5 - WIDTH / 2) / zoom).astype(np.int64)
    return picture[rows[:, None], columns[None, :]]
