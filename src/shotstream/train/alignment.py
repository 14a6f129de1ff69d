"""Representation alignment: tokens of a middle layer learn to predict a frozen network's features of the true frames.

In training only: a small network, `network.alignment`, predicts the feature maps of the true frames from the layer's
tokens of noisy latents. Exported models do not have it. Source: Yu et al. 2025, Representation
Alignment for Generation (arXiv 2410.06940), there with DINOv2; here with the trait reader of StoryWorld.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.core.spec import VideoSize
from shotstream.model.transformer import Transformer
from shotstream.train.config import BaseTraining
from shotstream.world.trait_reader_network import MAP_CHANNELS, MAP_HEIGHT, MAP_WIDTH

HEAD = "alignment"
"""The attribute of a transformer in training that holds its alignment head."""
HIDDEN = 2
"""How many times wider than the transformer the head's hidden layer is."""


class AlignmentHead(nn.Module):
    """Predicts the feature maps of a latent from the tokens of a layer, at every forward with gradient."""

    def __init__(self, network: Transformer, layer: int, size: tuple[int, int]) -> None:
        """Watch a layer of `network`, counted from 1; `size` is that of the latents, (height, width).

        Raises:
            InputError: there is no such layer, or tokens do not cover the places of the feature maps evenly.
        """
        super().__init__()
        dim, layers = network.config.dim, network.config.num_layers
        if not 1 <= layer <= layers:
            raise InputError(f"expected base.alignment_layer from 1 to {layers}, got {layer}; choose one of the layers")
        _, ph, pw = network.config.patch_size
        self.grid = (size[0] // ph, size[1] // pw)
        if MAP_HEIGHT % self.grid[0] or MAP_WIDTH % self.grid[1]:
            raise InputError(
                f"expected tokens that divide a map of {MAP_HEIGHT}x{MAP_WIDTH} features, got {self.grid[0]}x"
                f"{self.grid[1]} tokens a latent; set base.alignment=0"
            )
        self.places = (MAP_HEIGHT // self.grid[0], MAP_WIDTH // self.grid[1])
        self.layers = nn.Sequential(
            nn.Linear(dim, HIDDEN * dim),
            nn.SiLU(),
            nn.Linear(HIDDEN * dim, MAP_CHANNELS * self.places[0] * self.places[1]),
        )
        self.predicted: Tensor | None = None
        network.blocks[layer - 1].register_forward_hook(self._keep)

    def _keep(self, block: nn.Module, inputs: tuple[Any, ...], tokens: Float[Tensor, "b n dim"]) -> None:  # noqa: ARG002
        """Predict inside the transformer's forward, because only there sharded weights are complete."""
        if torch.is_grad_enabled():
            self.predicted = self.layers(tokens)

    def loss(self, features: Float[Tensor, "b t k fh fw"], copies: int) -> Float[Tensor, ""]:
        """Return 1 less the mean cosine between predicted and true features, of the last forward with gradient.

        Each channel of the true features is first scaled to a mean of 0 and a variance of 1 over the batch. Otherwise
        all cosines would be near 1, because the features are never negative.

        Args:
            features: of the true target latents.
            copies: how many noisy copies of the target stand at the end of the sequence.
        """
        assert self.predicted is not None, "a forward of the transformer with gradient comes first"
        (height, width), (ph, pw) = self.grid, self.places
        tokens = copies * features.shape[1] * height * width
        shape = (copies, features.shape[1], height, width, ph, pw, features.shape[2])
        predicted = self.predicted[:, -tokens:].float().unflatten(1, shape[:4]).unflatten(-1, shape[4:])
        self.predicted = None
        variance, mean = torch.var_mean(features, (0, 1, 3, 4), keepdim=True)
        scaled = (features - mean) / (variance + 1e-6).sqrt()
        true = scaled.unflatten(4, (width, pw)).unflatten(3, (height, ph)).permute(0, 1, 3, 5, 4, 6, 2)
        return 1 - F.cosine_similarity(predicted, true[:, None], dim=-1).mean()


def add_alignment(network: Transformer, config: BaseTraining, video: VideoSize) -> None:
    """Add an alignment head to a transformer in training, if the configuration wants alignment.

    Raises:
        InputError: there is no such layer, or tokens do not cover the places of the feature maps evenly.
    """
    if config.alignment:
        size = (video.latent_height, video.latent_width)
        network.add_module(HEAD, AlignmentHead(network, config.alignment_layer, size))


def alignment_loss(
    network: Transformer, features: Float[Tensor, "b t k fh fw"], config: BaseTraining
) -> Float[Tensor, ""]:
    """Return the loss of the network's alignment head for its last forward with gradient; features are of the truth."""
    head = network.get_submodule(HEAD)
    assert isinstance(head, AlignmentHead)
    return head.loss(features, config.noise_copies)


def without_alignment(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a transformer in training without those of its alignment head."""
    return {name: value for name, value in weights.items() if not name.startswith(f"{HEAD}.")}
