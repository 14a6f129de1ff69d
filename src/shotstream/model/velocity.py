"""Predict the velocity of a whole shot: bidirectionally (the teacher), or with teacher forcing (the student).

With teacher forcing each chunk sees the clean chunks before it, as the student does at inference.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.types import FrameLayout
from shotstream.model.attention import teacher_forcing_plan
from shotstream.model.blocks import TokenPositions
from shotstream.model.config import ContextTimestep, TransformerConfig
from shotstream.model.context_injection import (
    carry_previous,
    join_context,
    latents_in_front,
    previous_latents,
    sequence_layout,
)
from shotstream.model.transformer import Transformer

Network = Callable[..., Tensor]
"""A `Transformer`, or a wrapped or compiled form of one."""


@dataclass(frozen=True)
class Conditions:
    """Conditions of a prediction: clean context, captions, positions of latents, and the network's configuration.

    `placement` is of the latents in the sequence: of the context too only where it stands in front of the target.
    `history` is None where all latents see each other; with teacher forcing it is all clean chunks but the last, which
    come before the target. `copies` is how many noisy copies of the shot, one after another, share context and history.
    """

    context: Float[Tensor, "b n c h w"]
    text: Float[Tensor, "b s l e"]
    placement: TokenPositions
    config: TransformerConfig
    history: Float[Tensor, "b p c h w"] | None = None
    copies: int = 1

    @classmethod
    def of(
        cls,
        network: Transformer,
        context: Float[Tensor, "b n c h w"],
        text: Float[Tensor, "b s l e"],
        layout: FrameLayout,
        history: Float[Tensor, "b p c h w"] | None = None,
        copies: int = 1,
    ) -> "Conditions":
        """Make the conditions of a network; `layout` is of context and target, for every sample.

        Several copies need a history.
        """
        if history is not None:
            before = context.shape[1]
            target = layout[before:]
            layout = sum([target] * copies, start=layout[: before + history.shape[1]])
        placed = sequence_layout(network.config.injection, layout, context.shape[1])
        placement = network.make_positions(placed, (context.shape[-2], context.shape[-1]))
        return cls(context, text, placement, network.config, history, copies)

    @property
    def in_front(self) -> int:
        """Return the number of context latents in front of the target in the sequence."""
        return latents_in_front(self.config.injection, self.context.shape[1])

    def join(self, target: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b m k h w"]:
        """Join the context, where it stands in front, and target latents to the network's sequence."""
        return join_context(self.config, self.context, target)


def predict_velocity(
    network: Network,
    noisy: Float[Tensor, "b f c h w"],
    sigma: Float[Tensor, "b"],
    conditions: Conditions,
    context_timestep: ContextTimestep = "target",
) -> Float[Tensor, "b f c h w"]:
    """Return the velocity of the target latents, at one noise level a sample.

    All latents see each other; with a history, each chunk sees the context and the clean chunks before it.
    """
    if conditions.history is not None:
        return predict_teacher_forced_velocity(network, noisy, sigma[:, None].repeat(1, noisy.shape[1]), conditions)
    front, latents = conditions.in_front, conditions.join(noisy)
    sigmas = sigma[:, None].repeat(1, latents.shape[1])
    if context_timestep == "clean":
        sigmas[:, :front] = 0
    return network(latents, sigmas, conditions.text, conditions.placement)[:, front:]


def predict_teacher_forced_velocity(
    network: Network, noisy: Float[Tensor, "b f c h w"], sigmas: Float[Tensor, "b f"], conditions: Conditions
) -> Float[Tensor, "b f c h w"]:
    """Return the velocity of target latents; each chunk sees the context and the clean chunks before it.

    Args:
        network: of any injection.
        noisy: chunks of one length, or one picture; or several copies of these.
        sigmas: the noise level of every latent.
        conditions: with a history.
    """
    history, front, copies = conditions.history, conditions.in_front, conditions.copies
    assert history is not None
    latents, channels = noisy.shape[1], noisy.shape[2]
    each = latents // copies - history.shape[1]
    sequence = conditions.join(torch.cat([history, noisy], 1))
    if conditions.config.previous:
        previous = previous_latents(history, each)
        unseen = history.new_zeros(len(history), front, *history.shape[2:])
        previous = torch.cat([unseen, previous[:, : history.shape[1]], *[previous] * copies], 1)
        sequence = carry_previous(sequence, previous, channels)
    clean = sequence.shape[1] - latents
    every = torch.cat([sigmas.new_zeros(len(sigmas), clean), sigmas], 1)
    plan = teacher_forcing_plan(front, latents // copies // each, each, copies)
    return network(sequence, every, conditions.text, conditions.placement, plan=plan)[:, clean:]
