"""What a prediction is conditioned on, and the prediction in both directions: the teacher's way to see a shot."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.types import FrameLayout
from shotstream.model.config import ContextTimestep, Injection
from shotstream.model.injection import join_context, latents_in_front, sequence_layout
from shotstream.model.transformer import Placement, Transformer

Network = Callable[..., Tensor]
"""A `Transformer`, or a wrapped or compiled form of one."""


@dataclass(frozen=True)
class Conditions:
    """What a prediction is conditioned on: clean context and how it enters, captions, and where latents sit.

    `placement` is of the latents in the sequence: of the context too only where it stands in front of the target.
    """

    context: Float[Tensor, "b n c h w"]
    text: Float[Tensor, "b s l e"]
    placement: Placement
    injection: Injection = "frame"

    @classmethod
    def of(
        cls,
        network: Transformer,
        context: Float[Tensor, "b n c h w"],
        text: Float[Tensor, "b s l e"],
        layout: FrameLayout,
    ) -> "Conditions":
        """The conditions of a network; `layout` is of context and target, for every sample."""
        injection = network.config.injection
        placed = sequence_layout(injection, layout, context.shape[1])
        placement = network.place(placed, (context.shape[-2], context.shape[-1]))
        return cls(context, text, placement, injection)

    @property
    def in_front(self) -> int:
        """Context latents that stand in the sequence in front of the target."""
        return latents_in_front(self.injection, self.context.shape[1])

    def join(self, target: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b m k h w"]:
        """The sequence that the network is given for target latents."""
        return join_context(self.injection, self.context, target)


def predict_velocity(
    network: Network,
    noisy: Float[Tensor, "b f c h w"],
    timestep: Float[Tensor, "b"],
    conditions: Conditions,
    context_timestep: ContextTimestep = "target",
) -> Float[Tensor, "b f c h w"]:
    """Velocity of the target latents, all at one timestep a sample, seen with the context in both directions."""
    labels = timestep[:, None].expand(-1, noisy.shape[1])
    before = timestep[:, None].expand(-1, conditions.in_front)
    before = before if context_timestep == "target" else torch.zeros_like(before)
    latents, all_labels = conditions.join(noisy), torch.cat([before, labels], 1)
    return network(latents, all_labels, conditions.text, conditions.placement)[:, conditions.in_front :]
