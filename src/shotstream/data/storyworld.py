"""StoryWorld rendered on the fly as training samples: the same numbers for the same seed and step, nothing stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from shotstream.core.rng import derive_seed
from shotstream.core.spec import CONTEXT_LATENTS, frames_of_chunks, latents_of_chunks
from shotstream.core.types import FrameLayout
from shotstream.story.captions import compose_caption
from shotstream.story.context import select_dynamic
from shotstream.story.layout import shot_layout
from shotstream.world.captions import global_caption, shot_caption
from shotstream.world.render import render_frames
from shotstream.world.scene import Story
from shotstream.world.stories import sample_story

TRAINING_SEEDS = 2**30
"""Stories with seeds below this are for training; the first held-out story is `TRAINING_SEEDS` itself."""
CAPTION_VARIANTS = 1000
NO_CONTEXT_SHARE = 0.1
"""How often a shot's past is withheld (reference: section 7)."""


@dataclass(frozen=True)
class ShotSample:
    """One shot or picture to learn: what is remembered, what comes, and which captions belong to which latent.

    `context` is None for a story's first shot and for a picture, whose layout has no place for one. `captions` stand in
    the order of the layout's caption indices.
    """

    context: UInt8[np.ndarray, "f h w c"] | None
    target: UInt8[np.ndarray, "f h w c"]
    captions: tuple[str, ...]
    layout: FrameLayout


def sample_shot(seed: int, chunks: int, first_share: float = 0.15) -> ShotSample:
    """A shot of a random training story with its ground-truth context.

    Args:
        seed: decides everything.
        chunks: length of the target; the story's shot is shown as it would go on where it is shorter.
        first_share: how often it is the first shot of its story, without a past.
    """
    rng = np.random.default_rng(derive_seed("shot-sample", seed))
    story = sample_story(int(rng.integers(TRAINING_SEEDS)))
    shot = 0 if rng.random() < first_share else int(rng.integers(1, len(story.shots)))
    return shot_of_story(story, shot, chunks, rng)


def sample_picture(seed: int) -> ShotSample:
    """One frame of a random shot of a random training story, without a past, as the first latent of its shot."""
    rng = np.random.default_rng(derive_seed("picture-sample", seed))
    story = sample_story(int(rng.integers(TRAINING_SEEDS)))
    shot = int(rng.integers(len(story.shots)))
    frame = int(rng.integers(story.shots[shot].frames))
    placed = shot_layout(shot, [], CONTEXT_LATENTS, 1)
    return ShotSample(None, render_frames(story, shot, [frame]), (caption_of(story, shot, rng),), placed.target)


def shot_of_story(story: Story, shot: int, chunks: int, rng: np.random.Generator) -> ShotSample:
    """Shot `shot` of a story as a sample, its captions worded by `rng`."""
    forget = rng.random() < NO_CONTEXT_SHARE
    references = [] if forget else select_dynamic([past.frames for past in story.shots[:shot]], CONTEXT_LATENTS)
    placed = shot_layout(shot, [r.shot for r in references], CONTEXT_LATENTS, latents_of_chunks(chunks))
    by_shot = groupby(references, key=attrgetter("shot"))
    context = [render_frames(story, past, [r.frame for r in chosen]) for past, chosen in by_shot]
    described = (*placed.context_captions, shot)
    return ShotSample(
        np.concatenate(context) if context else None,
        render_frames(story, shot, range(frames_of_chunks(chunks))),
        tuple(caption_of(story, index, rng) for index in described),
        placed.context + placed.target,
    )


def stack_layouts(layouts: Sequence[FrameLayout]) -> FrameLayout:
    """The layouts of several samples as one batch."""
    return FrameLayout(
        torch.cat([one.positions for one in layouts]),
        torch.cat([one.shots for one in layouts]),
        torch.cat([one.captions for one in layouts]),
    )


def as_pixels(frames: Sequence[UInt8[np.ndarray, "f h w c"]]) -> Float[Tensor, "b f c h w"]:
    """Clips of equal length as pixels in [-1, 1]."""
    return torch.from_numpy(np.stack(frames)).permute(0, 1, 4, 2, 3).float() / 127.5 - 1


def caption_of(story: Story, shot: int, rng: np.random.Generator) -> str:
    """The composed caption of a shot, worded by `rng`."""
    whole, own = (int(variant) for variant in rng.integers(CAPTION_VARIANTS, size=2))
    space = " " if rng.random() < 0.5 else ""  # people write both
    return compose_caption(global_caption(story, whole) + space, shot, shot_caption(story, shot, own))
