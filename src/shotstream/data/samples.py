"""What a training sample is, wherever it comes from, and how one is cut out of a story."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from shotstream.core.spec import CONTEXT_LATENTS, frames_of_chunks, latents_of_chunks
from shotstream.core.types import FrameLayout
from shotstream.core.video import Frames
from shotstream.model.config import CaptionChoice
from shotstream.story.layout import shot_layout
from shotstream.story.script import Script
from shotstream.story.selectors import ContextSelector, FrameRef, PastShot

NO_CONTEXT_SHARE = 0.1
"""How often a shot's past is withheld (reference: section 7)."""


@dataclass(frozen=True)
class ShotSample:
    """One shot or picture to learn: what is remembered, what comes, and which captions belong to which latent.

    `context` is None for a story's first shot and for a picture, whose layout has no place for one. `captions` stand in
    the order of the layout's caption indices.
    """

    context: UInt8[np.ndarray, "k h w c"] | None
    target: UInt8[np.ndarray, "f h w c"]
    captions: tuple[str, ...]
    layout: FrameLayout


@runtime_checkable
class ShotSource(Protocol):
    """Where training samples come from. Equal identities and equal generators give equal samples."""

    @property
    def identity(self) -> Mapping[str, object]:
        """Plain data that says what the samples come from; what is made of them is kept under it."""
        ...

    def draw(self, rng: np.random.Generator, chunks: int) -> ShotSample:
        """A random shot of `chunks` chunks with what is remembered of the shots before it.

        Raises:
            InputError: there is no shot of that length, or it cannot be read.
        """
        ...

    def draw_picture(self, rng: np.random.Generator) -> ShotSample:
        """The first frame of a random shot, alone and without a past: what a model makes first.

        Raises:
            InputError: it cannot be read.
        """
        ...

    def draw_script(self, rng: np.random.Generator, shots: int) -> Script:
        """What the first `shots` shots of a random story say.

        Raises:
            InputError: there is no story of so many shots.
        """
        ...


@runtime_checkable
class Footage(Protocol):
    """One story with its frames. Shots count from 0; frames are uint8 `[f, h, w, 3]`."""

    @property
    def shots(self) -> Sequence[PastShot]:
        """What a selector may know of every shot."""
        ...

    def remembered(self, references: Sequence[FrameRef]) -> Frames:
        """Frames of shots, in the order of `references`; a reference counts a shot's frames as `shots` does."""
        ...

    def shown(self, shot: int, frames: int) -> Frames:
        """The first `frames` frames of a shot, as a model is to make it."""
        ...

    def caption(self, shot: int) -> str:
        """The composed caption of a shot; it may be worded anew at every call."""
        ...


def cut_shot(
    footage: Footage,
    shot: int,
    chunks: int,
    selector: ContextSelector,
    rng: np.random.Generator | None,
    captions: CaptionChoice = "per_shot",
) -> ShotSample:
    """Shot `shot` of a story as a sample of `chunks` chunks.

    `rng` decides whether its past is withheld, None: it is not; `captions` what the context attends to
    (`story.layout.shot_layout`).
    """
    forget = rng is not None and rng.random() < NO_CONTEXT_SHARE
    past, own = footage.shots[:shot], footage.shots[shot].caption
    references = [] if forget else selector(past, own, CONTEXT_LATENTS)
    placed = shot_layout(shot, [r.shot for r in references], CONTEXT_LATENTS, latents_of_chunks(chunks), captions)
    return ShotSample(
        footage.remembered(references) if references else None,
        footage.shown(shot, frames_of_chunks(chunks)),
        tuple(footage.caption(index) for index in (*placed.context_captions, shot)),
        placed.context + placed.target,
    )


def cut_picture(footage: Footage, shot: int) -> ShotSample:
    """The first frame of a shot, alone."""
    placed = shot_layout(shot, [], CONTEXT_LATENTS, 1)
    return ShotSample(None, footage.shown(shot, 1), (footage.caption(shot),), placed.target)


def stack_layouts(layouts: Sequence[FrameLayout]) -> FrameLayout:
    """The layouts of several samples as one batch."""
    return FrameLayout(
        torch.cat([one.positions for one in layouts]),
        torch.cat([one.shots for one in layouts]),
        torch.cat([one.captions for one in layouts]),
    )


def as_pixels(
    frames: Sequence[UInt8[np.ndarray, "f h w c"]], device: torch.device | str = "cpu"
) -> Float[Tensor, "b f c h w"]:
    """Clips of equal length as pixels in [-1, 1] on a device, to which they are moved as bytes."""
    return torch.from_numpy(np.stack(frames)).to(device).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
