"""The cast: images that are context beside a story's own frames, such as a character sheet or a place.

Cast images use shot 0's rotary phase. It occurs in every context (of zeros, or of the first shot) and never on a new
shot's own latents. Their captions are composed as shot 0's. In the context the cast comes before all shots.

A member can get another caption or be removed. Shots that were made had it as it was then, so its picture is kept. A
shot may choose which members it knows (`ShotSpec.cast`).

While there is no shot, the cast fills the whole context; later it gets one frame for each member, at most half. The
story's selector chooses which, as if every member were a shot of one frame: the newest ones, or with `relevant` the
newest and those whose captions are nearest to the new one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
from jaxtyping import UInt8

from shotstream.core.errors import InputError
from shotstream.core.video import Frame, check_frames
from shotstream.story.selectors import PastShot

CAST_SHOT = 0


@dataclass(frozen=True)
class CastMember:
    """An image of the cast: its number, which stays its own, and its caption."""

    number: int
    caption: str


def cast_share(members: int, shots: int, budget: int) -> int:
    """Return how many of `budget` context frames the cast gets."""
    if not members:
        return 0
    return min(members, budget // 2) if shots else budget


def cast_as_shots(cast: Sequence[CastMember]) -> list[PastShot]:
    """Return the cast as a selector sees it: shots of one frame, with the numbers of the members."""
    return [PastShot(member.number, 1, member.caption) for member in cast]


def choose_members(cast: Sequence[CastMember], chosen: Sequence[int] | None) -> tuple[CastMember, ...]:
    """Return the members that a shot knows: those of the chosen numbers that are in the cast; None chooses all."""
    return tuple(member for member in cast if chosen is None or member.number in chosen)


def check_member(cast: Sequence[CastMember], number: int) -> CastMember:
    """Return the member of the cast that has a number.

    Raises:
        InputError: there is none.
    """
    found = choose_members(cast, [number])
    if not found:
        known = ", ".join(f"{member.number} ({member.caption[:40]})" for member in cast) or "nobody yet"
        raise InputError(f"expected the number of a member of the cast, which has {known}; got {number}")
    return found[0]


def fit_picture(image: Frame, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Crop a picture around its centre to the shape of height x width, and scale it to that size (bicubic).

    Raises:
        InputError: it is no single uint8 RGB picture.
    """
    frames = check_frames(image)
    if len(frames) != 1:
        raise InputError(f"expected one picture [h, w, 3], got {len(frames)}; add them one by one")
    have_height, have_width = frames.shape[1:3]
    scale = max(height / have_height, width / have_width)
    tall, wide = (max(round(side / scale), 1) for side in (height, width))
    top, left = (have_height - tall) // 2, (have_width - wide) // 2
    shown = np.ascontiguousarray(frames[0, top : top + tall, left : left + wide])
    if shown.shape[:2] == (height, width):
        return shown
    picture = av.VideoFrame.from_ndarray(shown, format="rgb24")
    return picture.reformat(width, height, interpolation="BICUBIC").to_ndarray()
