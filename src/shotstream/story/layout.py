"""Make the layout of a shot: temporal positions, shot phases and captions of its latents, as data.

Positions start again at every shot: the context takes 0 .. n-1, the shot's own latents follow. Shots differ in their
phase (`model.rotary`), given by the shot index. The first shot has no past: its context is all zeros with shot index 0,
and its own latents carry index 1 (reference: published code).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from shotstream.core.spec import ShotShape
from shotstream.core.types import FrameLayout
from shotstream.model.config import CaptionChoice

FIRST_SHOT_PHASE = 1


@dataclass(frozen=True)
class ShotLayout:
    """The layout of one shot: of its context, and of as many latents as it may get.

    A shot may have more latents than any in training. Positions then stay at those of the last chunk in training, and
    cached keys move back in time instead (`model.kv_cache`).

    Attributes:
        context: layout of the context; its `captions` index `context_captions`.
        target: layout of the shot's own latents, which all attend to the shot's own caption: `captions` are 0.
        context_captions: captions of the context, by shot index or by the numbers given to `shot_layout`; empty where
            the context attends to the shot's own caption.
    """

    context: FrameLayout
    target: FrameLayout
    context_captions: tuple[int, ...]

    @property
    def joined(self) -> FrameLayout:
        """Return one layout of context and target, for captions in one sequence: the context's, then the shot's own."""
        own = len(self.context_captions)
        return self.context + replace(self.target, captions=self.target.captions + own)


def frame_layout(positions: Sequence[int], shots: Sequence[int], captions: Sequence[int]) -> FrameLayout:
    """Make the layout of one sample from plain numbers."""
    rows = (torch.tensor([list(row)], dtype=torch.long) for row in (positions, shots, captions))
    return FrameLayout(*rows)


def shot_layout(
    shot_index: int,
    context_shots: Sequence[int],
    shape: ShotShape,
    latents: int,
    captions: CaptionChoice = "per_shot",
    described: Sequence[int] | None = None,
) -> ShotLayout:
    """Make the layout of shot `shot_index`, of `latents` latents, whose context came from `context_shots`.

    Args:
        shot_index: 0 for the first shot of a story.
        context_shots: the shot each context latent came from; empty for the first shot, which sees zeros instead.
        shape: of the model's shots: the size of the context, and from where positions no longer rise.
        latents: latents of the shot.
        captions: what the context attends to: each latent the caption of its own shot, or all the new shot's.
        described: numbers that tell the captions of the context apart, one a latent, where a shot has several (it was
            steered) or a latent comes from no shot (cast). None: one caption a shot.
    """
    context_latents = shape.context_latents
    assert not context_shots or len(context_shots) == context_latents
    numbers = context_shots if described is None else described
    kinds = tuple(sorted(set(numbers))) if captions == "per_shot" else ()
    phases = list(context_shots) or [0] * context_latents
    rows = [kinds.index(number) if kinds else 0 for number in numbers] or [0] * context_latents
    context = frame_layout(range(context_latents), phases, rows)
    phase = max(shot_index, FIRST_SHOT_PHASE)
    target = frame_layout(_positions(shape, latents), [phase] * latents, [0] * latents)
    return ShotLayout(context, target, kinds)


def _positions(shape: ShotShape, latents: int) -> list[int]:
    """Return positions of a shot's latents: rising, then those of the last chunk in training again and again."""
    first, most = shape.context_latents, shape.max_latents
    last = most - shape.chunk_latents
    return [first + (latent if latent < most else last + latent % shape.chunk_latents) for latent in range(latents)]
