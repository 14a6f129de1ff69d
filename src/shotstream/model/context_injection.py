"""Inject the context: as latents in front of the target (frame), or as channels of it (channel).

`frame` is the paper's choice: the context is part of the sequence, and at inference of the KV cache. With `channel` the
sequence is the target alone, and every latent of it, noisy or committed, carries all context latents as further
channels behind its own. Source: ShotStream section 3 (condition injection) and its ablation.

A network may also be given the last latent of the chunk before as channels, behind all others
(`TransformerConfig.previous`).
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from shotstream.core.types import FrameLayout
from shotstream.model.config import Injection, TransformerConfig

EMBEDDING = "patch_embedding.weight"


def latents_in_front(injection: Injection, context_latents: int) -> int:
    """Return the number of context latents in front of the target, in the sequence and in a cache: all or none."""
    return context_latents if injection == "frame" else 0


def sequence_layout(injection: Injection, layout: FrameLayout, context_latents: int) -> FrameLayout:
    """Return the part of a layout of context and target that stands in the sequence."""
    return layout[context_latents - latents_in_front(injection, context_latents) :]


def carry_context(
    config: TransformerConfig, context: Float[Tensor, "b n c h w"], target: Float[Tensor, "b f c h w"]
) -> Float[Tensor, "b f k h w"]:
    """Return target latents as they enter the network: as they are, or with the context's channels behind their own.

    A context of no latents counts as zeros.
    """
    if config.injection == "frame":
        return target
    batch, latents, channels, *size = context.shape
    assert latents in (0, config.shot.context_latents), "the patch embedding has channels for a whole context"
    if not latents:
        context = target.new_zeros(batch, config.shot.context_latents, channels, *size)
    carried = context.to(target).flatten(1, 2)[:, None].expand(-1, target.shape[1], -1, -1, -1)
    return torch.cat([target, carried], 2)


def join_context(
    config: TransformerConfig, context: Float[Tensor, "b n c h w"], target: Float[Tensor, "b f c h w"]
) -> Float[Tensor, "b m k h w"]:
    """Join context and target for a network without a cache; the target begins after `latents_in_front`."""
    front = context[:, : latents_in_front(config.injection, context.shape[1])]
    carrying = carry_context(config, context, target)
    return torch.cat([front.to(target), carrying], 1) if front.shape[1] else carrying


def carry_previous(
    target: Float[Tensor, "b f k h w"], previous: Float[Tensor, "b f c h w"] | None, channels: int
) -> Float[Tensor, "b f m h w"]:
    """Put the latent before its chunk behind the channels of every target latent.

    Args:
        target: with its own channels, and those of the context if they are carried.
        previous: last latent of the chunk before the chunk of each target latent; None: nothing was before, zeros.
        channels: of one latent.
    """
    if previous is None:
        return F.pad(target, (0, 0, 0, 0, 0, channels))
    return torch.cat([target, previous.to(target)], 2)


def previous_latents(history: Float[Tensor, "b p c h w"], each: int) -> Float[Tensor, "b f c h w"]:
    """Return the last latent of the chunk before, for every latent of a shot; zeros for its first chunk.

    Args:
        history: all chunks of the shot but the last.
        each: latents of a chunk.
    """
    last = F.pad(history[:, each - 1 :: each], (0, 0, 0, 0, 0, 0, 1, 0))
    return last.repeat_interleave(each, 1)


def begin_channels(state: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """Return the tensors of a network for one with more input channels; the new weights begin at zero."""
    own = state[EMBEDDING]
    new = own.new_zeros(own.shape[0], channels - own.shape[1], *own.shape[2:])
    return {**state, EMBEDDING: torch.cat([own, new], 1)}
