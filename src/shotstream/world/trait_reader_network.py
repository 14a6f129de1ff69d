"""The trait reader's network: a small convolutional reader of five frames.

One map of the picture is made from all five frames together, so that motion is seen. Every species looks at that map
through its own attention and so finds its own character; no matching of characters is needed, because the two
characters of a story differ in species.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from shotstream.world.traits import (
    ACCESSORIES,
    ACTIONS,
    CAMERAS,
    COLOURS,
    FRAMINGS,
    LANDMARKS,
    PATTERNS,
    PLACES,
    SLOTS,
    SPECIES,
    TIMES,
)

CLIP_OFFSETS = (0, 2, 4, 6, 8)
"""Which of nine consecutive frames the network is shown: one period of every action."""
READER_FRAMES = CLIP_OFFSETS[-1] + 1
ALL_LANDMARKS = tuple(name for names in LANDMARKS.values() for name in names)

SHOT_HEADS: dict[str, int] = {
    "place": len(PLACES),
    "time": len(TIMES),
    "framing": len(FRAMINGS),
    "camera": len(CAMERAS),
    "action": len(ACTIONS),
}
CHARACTER_HEADS: dict[str, int] = {
    "colour": len(COLOURS),
    "accessory": len(ACCESSORIES),
    "pattern": len(PATTERNS),
}
FINE_CHANNELS, MAP_CHANNELS, LOOK_CHANNELS = 64, 96, 128
MAP_HEIGHT, MAP_WIDTH = 10, 16
MAP_STRIDE = 8
"""Pixels of a frame that one place of the map stands for."""


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return torch.relu_(x + self.layers(x))


def _halve(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class TraitReaderNetwork(nn.Module):
    """A convolutional network from five frames to logits of every trait."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            _halve(3 * len(CLIP_OFFSETS), 24),
            _halve(24, FINE_CHANNELS),
            _Residual(FINE_CHANNELS),
            _Residual(FINE_CHANNELS),
        )
        self.coarse = nn.Sequential(
            _halve(FINE_CHANNELS, MAP_CHANNELS),
            _Residual(MAP_CHANNELS),
            _Residual(MAP_CHANNELS),
            _Residual(MAP_CHANNELS),
        )
        self.attention = nn.Conv2d(MAP_CHANNELS, len(SPECIES), 1)
        self.look = nn.Linear(FINE_CHANNELS + MAP_CHANNELS, LOOK_CHANNELS)
        self.species = nn.Parameter(torch.zeros(len(SPECIES), LOOK_CHANNELS))
        self.character = nn.ModuleDict({name: nn.Linear(LOOK_CHANNELS, n) for name, n in CHARACTER_HEADS.items()})
        self.present = nn.Linear(FINE_CHANNELS + MAP_CHANNELS, len(SPECIES))
        self.summary = nn.Sequential(nn.Linear(2 * MAP_CHANNELS, 96), nn.ReLU())
        self.shot = nn.ModuleDict({name: nn.Linear(96, size) for name, size in SHOT_HEADS.items()})
        self.layout = nn.Linear(32 * MAP_WIDTH, len(SLOTS) * len(ALL_LANDMARKS))
        self.columns = nn.Conv2d(MAP_CHANNELS, 32, 1)

    def forward(self, clips: Float[Tensor, "b f 3 80 128"]) -> dict[str, Tensor]:
        """Return the logits of clips with values in [-1, 1].

        Returns `[b, values]` for every trait of a shot, `[b, species, values]` for every trait of a character,
        `[b, species]` for `present`, `[b, slots, landmarks]` for `layout` and `[b, species, places]` for `where`: the
        place of each one's head on the map; `summary`, the 96 features that the traits of a shot are read from; and
        `map`, `[b, 96, 10, 16]`, the features of the picture's places from which all else is read.
        """
        fine = self.fine(clips.flatten(1, 2).contiguous(memory_format=torch.channels_last))
        features = self.coarse(fine)
        where = self.attention(features).flatten(2)
        looked_at = torch.cat([features, F.max_pool2d(fine, 2)], 1)
        found = torch.einsum("bsp,bcp->bsc", where.softmax(-1), looked_at.flatten(2))
        look = torch.relu(self.look(found) + self.species)
        logits = {name: head(look) for name, head in self.character.items()}
        logits["present"] = torch.diagonal(self.present(found), dim1=1, dim2=2)
        logits["where"] = where
        summary = self.summary(torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1))
        logits |= {name: head(summary) for name, head in self.shot.items()} | {"summary": summary}
        columns = torch.relu(self.columns(features)).amax(2).flatten(1)
        logits["layout"] = self.layout(columns).unflatten(1, (len(SLOTS), len(ALL_LANDMARKS)))
        logits["map"] = features
        return logits


def pixels_of_clips(clips: UInt8[Tensor, "b f 80 128 3"]) -> Float[Tensor, "b f 3 80 128"]:
    """Convert uint8 frames to values in [-1, 1]."""
    return clips.permute(0, 1, 4, 2, 3).float() / 127.5 - 1


def half_weights(network: nn.Module) -> Mapping[str, Tensor]:
    """Return the weights with floats in bfloat16, as they are stored."""
    return {
        name: value.to(torch.bfloat16).contiguous() if value.is_floating_point() else value.contiguous()
        for name, value in network.state_dict().items()
    }
