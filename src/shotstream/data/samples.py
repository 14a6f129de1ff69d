"""Training samples: their form, the interface of their sources, and how one is cut out of a story."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from shotstream.core.spec import ShotShape
from shotstream.core.types import FrameLayout
from shotstream.core.video import Frames
from shotstream.model.config import CaptionChoice
from shotstream.story.layout import shot_layout
from shotstream.story.script import Script
from shotstream.story.selectors import ContextSelector, FrameRef, PastShot

NO_CONTEXT_SHARE = 0.1
"""Share of the samples whose context is dropped (reference: section 7)."""


@dataclass(frozen=True)
class ShotSample:
    """One shot or picture to learn, as frames and text.

    Attributes:
        context: frames of earlier shots; None for a story's first shot, a dropped context, and a picture.
        target: frames of the shot.
        captions: in the order of the layout's caption indices.
        layout: position, shot and caption of every latent; that of a picture has no context latents.
        subjects: which pixels of the target show what the story is about; None: nobody knows.
    """

    context: UInt8[np.ndarray, "k h w c"] | None
    target: UInt8[np.ndarray, "f h w c"]
    captions: tuple[str, ...]
    layout: FrameLayout
    subjects: Bool[np.ndarray, "f h w"] | None = None


@runtime_checkable
class ShotSource(Protocol):
    """Interface of what draws training samples. Equal identities and equal generators give equal samples."""

    @property
    def identity(self) -> Mapping[str, object]:
        """Return plain data that changes whenever the samples would; pools on disk record it."""
        ...

    @property
    def shape(self) -> ShotShape:
        """Return the latents of a chunk and of the context of the samples."""
        ...

    def draw(self, rng: np.random.Generator, chunks: int) -> ShotSample:
        """Draw a random shot of `chunks` chunks with its context.

        Raises:
            InputError: there is no shot of that length, or it cannot be read.
        """
        ...

    def draw_picture(self, rng: np.random.Generator) -> ShotSample:
        """Draw the first frame of a random shot, without context.

        Raises:
            InputError: it cannot be read.
        """
        ...

    def draw_script(self, rng: np.random.Generator, shots: int) -> Script:
        """Draw a script: the captions of the first `shots` shots of a random story.

        Raises:
            InputError: there is no story of so many shots.
        """
        ...

    def draw_video(self, rng: np.random.Generator, chunks: Sequence[int]) -> "VideoSample":
        """Draw shots of these lengths that follow each other in a random story.

        Raises:
            InputError: no story has such shots.
        """
        ...


@runtime_checkable
class ShotFrames(Protocol):
    """The frames of a story's shots. Shots count from 0; frames are uint8 `[f, h, w, 3]`."""

    def shot_frames(self, shot: int, frames: int) -> Frames:
        """Return the first `frames` frames of a shot, at the size and frame rate that the model makes."""
        ...

    def subjects(self, shot: int, frames: int) -> Bool[np.ndarray, "f h w"] | None:
        """Tell which pixels of `shot_frames` show what the story is about; None where nobody knows."""
        ...


@runtime_checkable
class Footage(ShotFrames, Protocol):
    """One story with its frames."""

    @property
    def shots(self) -> Sequence[PastShot]:
        """Number, length and caption of every shot, as context selectors read them."""
        ...

    def context_frames(self, references: Sequence[FrameRef]) -> Frames:
        """Return the referenced frames in the order of `references`; frames are counted as in `shots`."""
        ...

    def caption(self, shot: int) -> str:
        """Return the composed caption of a shot; the phrasing may differ from call to call."""
        ...


@dataclass(frozen=True)
class VideoSample:
    """Shots of one story to learn together. Their frames are read when they are asked for.

    Attributes:
        script: captions and lengths of the shots.
        footage: the story.
        shape: of the shots.
        first: number of the first shot in the footage.
    """

    script: Script
    footage: ShotFrames
    shape: ShotShape
    first: int = 0

    def frames(self, *, one_stream: bool) -> list[Frames]:
        """Return the frames of each shot; `one_stream`: the codec runs on from one shot to the next."""
        return [self.footage.shot_frames(*one) for one in self._lengths(one_stream)]

    def subjects(self, *, one_stream: bool) -> list[Bool[np.ndarray, "f h w"]] | None:
        """Return which pixels of `frames` show what the story is about; None where nobody knows."""
        masks = [self.footage.subjects(*one) for one in self._lengths(one_stream)]
        known = [mask for mask in masks if mask is not None]
        return known if len(known) == len(masks) else None

    def _lengths(self, one_stream: bool) -> list[tuple[int, int]]:
        """Return the number of each shot in the footage, and how many frames it has."""
        frames = self.shape.frames_of_shots([shot.chunks for shot in self.script.shots], one_stream=one_stream)
        return list(enumerate(frames, self.first))


def cut_shot(
    footage: Footage,
    shot: int,
    chunks: int,
    shape: ShotShape,
    selector: ContextSelector,
    rng: np.random.Generator | None,
    captions: CaptionChoice = "per_shot",
) -> ShotSample:
    """Cut one shot of a story out as a sample of `chunks` chunks.

    Args:
        footage: the story.
        shot: number of the shot.
        chunks: length of the sample.
        shape: of the model's shots.
        selector: chooses the context frames.
        rng: decides whether the context is dropped; None: it never is.
        captions: which captions the context attends to (`story.layout.shot_layout`).
    """
    drop_context = rng is not None and rng.random() < NO_CONTEXT_SHARE
    past, own = footage.shots[:shot], footage.shots[shot].caption
    references = [] if drop_context else selector(past, own, shape.context_latents)
    placed = shot_layout(shot, [r.shot for r in references], shape, shape.latents_of_chunks(chunks), captions)
    frames = shape.frames_of_chunks(chunks)
    return ShotSample(
        footage.context_frames(references) if references else None,
        footage.shot_frames(shot, frames),
        tuple(footage.caption(index) for index in (*placed.context_captions, shot)),
        placed.joined,
        footage.subjects(shot, frames),
    )


def cut_picture(footage: Footage, shot: int, shape: ShotShape) -> ShotSample:
    """Cut the first frame of a shot out as a sample without context."""
    placed = shot_layout(shot, [], shape, 1)
    picture, caption = footage.shot_frames(shot, 1), footage.caption(shot)
    return ShotSample(None, picture, (caption,), placed.target, footage.subjects(shot, 1))


def stack_layouts(layouts: Sequence[FrameLayout]) -> FrameLayout:
    """Stack the layouts of several samples into one batch."""
    return FrameLayout(
        torch.cat([one.positions for one in layouts]),
        torch.cat([one.shots for one in layouts]),
        torch.cat([one.captions for one in layouts]),
    )


def as_pixels(
    frames: Sequence[UInt8[np.ndarray, "f h w c"]], device: torch.device | str = "cpu"
) -> Float[Tensor, "b f c h w"]:
    """Convert clips of equal length to pixels in [-1, 1] on a device; they are moved there as bytes."""
    return torch.from_numpy(np.stack(frames)).to(device).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
