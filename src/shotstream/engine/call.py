"""Inputs of one forward of a policy besides weights and latents: positions, keys, text, and visibility."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from shotstream.core.types import FrameLayout
from shotstream.model.attention import LayerPlan
from shotstream.model.blocks import TextKeys
from shotstream.model.frame_cache import Key


@dataclass(frozen=True, eq=False)
class Text:
    """Prompts ready for cross-attention.

    Attributes:
        keys: keys and values of every layer, `[1, s, l, heads, d]`: of s prompts, or of one sequence that joins them. A
            model of two transformers has the layers of both, one after the other.
        negative: the same for the branch without guidance; None: the sampler needs none.
        spans: tokens of each prompt within a joined sequence; empty where prompts are not joined.
        padding: tokens behind the last prompt of a joined sequence.
    """

    keys: TextKeys
    negative: TextKeys | None = None
    spans: tuple[slice, ...] = ()
    padding: slice = field(default_factory=lambda: slice(0, 0))

    @cached_property
    def both(self) -> TextKeys:
        """Return the keys and values of both branches as one batch of two."""
        assert self.negative is not None, "guidance needs a negative prompt"
        pairs = zip(self.keys, self.negative, strict=True)
        return [(torch.cat([k, no_k]), torch.cat([v, no_v])) for (k, v), (no_k, no_v) in pairs]


@dataclass(frozen=True, eq=False)
class Call:
    """One kind of forward; a policy makes one a chunk and uses it for every step and for the commit.

    Attributes:
        frames: numbers of the latents in the video, from 0; they are the queries.
        layout: positions, shots (rotary phase) and captions of these latents. `captions` index prompts that are not
            joined.
        text: from `Engine.text` or `Engine.joined_text`.
        keys: what is seen of the cache, in this order; None: everything, as it was committed.
        sees: self-attention groups of a layer, in latents, with those of the cache first; None: everyone sees everyone.
        reads: cross-attention groups of a layer: queries in latents, keys in tokens of a joined text; None: each latent
            reads the prompt that `layout.captions` names.
        guided_reads_only: whether `reads` holds for the guided branch alone; the other one then reads everything.
        text_positions: rotary position of each latent's queries in cross-attention; None: they are not rotated.
        diagonal: what is added to the row and column positions of each latent; None: nothing.
    """

    frames: range
    layout: FrameLayout
    text: Text
    keys: tuple[Key, ...] | None = None
    sees: LayerPlan | None = None
    reads: LayerPlan | None = None
    guided_reads_only: bool = False
    text_positions: tuple[int, ...] | None = None
    diagonal: tuple[int, ...] | None = None


def as_sigmas(sigma: float | Tensor, latents: int) -> Tensor:
    """Return noise levels of latents, `[latents]` in float64, from one number or from one a latent."""
    return torch.as_tensor(sigma, dtype=torch.float64).expand(latents)
