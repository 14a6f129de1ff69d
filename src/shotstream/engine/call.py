"""Inputs of one forward besides weights and latents: positions, keys, text, and visibility."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.types import FrameLayout
from shotstream.model.attention import LayerPlan
from shotstream.model.blocks import TextKeys
from shotstream.model.frame_cache import Key

Captions = TextKeys | Tensor
"""Captions as forwards take them: keys and values of every layer, or embeddings in training."""


@dataclass(frozen=True, eq=False)
class Text:
    """Captions ready for cross-attention.

    Attributes:
        keys: keys and values of every layer, `[b, s, l, heads, d]`: of s captions, or of one sequence that joins them.
            A model of two transformers has the layers of both, one after the other. In training: embeddings.
        negative: the same for the branch without guidance; None: the sampler needs none.
        spans: tokens of each prompt within a joined sequence; empty where prompts are not joined.
        padding: tokens behind the last prompt of a joined sequence.
    """

    keys: Captions
    negative: Captions | None = None
    spans: tuple[slice, ...] = ()
    padding: slice = field(default_factory=lambda: slice(0, 0))

    @cached_property
    def both(self) -> Captions:
        """Return what both branches attend to, in one batch."""
        assert self.negative is not None, "guidance needs a negative prompt"
        if isinstance(self.keys, Tensor) or isinstance(self.negative, Tensor):
            return torch.cat([cast(Tensor, self.keys), cast(Tensor, self.negative)])
        pairs = zip(self.keys, self.negative, strict=True)
        return [(torch.cat([k, no_k]), torch.cat([v, no_v])) for (k, v), (no_k, no_v) in pairs]


@dataclass(frozen=True, eq=False)
class Call:
    """One kind of forward; a policy makes one a chunk and uses it for every step and for the commit.

    Attributes:
        frames: numbers of the latents in the video, from 0; they are the queries.
        layout: positions, shots (rotary phase) and captions of these latents. `captions` index prompts that are not
            joined.
        text: from `CachedTransformer.project`, or of a policy from `Engine.text` or `Engine.joined_text`.
        keys: what is seen of the cache, in this order; None: everything, as it was committed.
        sees: self-attention groups of a layer, in latents, with those of the cache first; None: everyone sees everyone.
        reads: cross-attention groups of a layer: queries in latents, keys in tokens of a joined text; None: each latent
            reads the prompt that `layout.captions` names.
        guided_reads_only: whether `reads` holds for the guided branch alone; the other one then reads everything.
        text_positions: rotary position of each latent's queries in cross-attention; None: they are not rotated.
        diagonal: what is added to the row and column positions of each latent; None: nothing.
        previous: the last latent of the chunk before, for each latent; None: nothing was before. Only networks that
            carry it (`TransformerConfig.previous`) use it.
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
    previous: Float[Tensor, "b f c h w"] | None = None


def as_sigmas(sigma: float | Tensor, latents: int) -> Tensor:
    """Return noise levels of latents, `[latents]` in float64, from one number or from one a latent."""
    return torch.as_tensor(sigma, dtype=torch.float64).expand(latents)
