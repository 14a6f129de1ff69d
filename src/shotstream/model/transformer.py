"""The diffusion transformer: one network for teacher and student, in training and at inference.

What differs between them is an argument: a plan of attention, or room in a cache. Parameters carry Wan's
original names. Source: Wan2.1 (the network), ShotStream section 3 (captions by shot, rotary phase, dual cache).
"""

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from shotstream.core.types import FrameLayout
from shotstream.model.activation import TanhGELU
from shotstream.model.attention import LayerPlan, Plan
from shotstream.model.attention_kernels import TORCH, Kernel
from shotstream.model.blocks import Block, Head, TextKeys, TokenPositions
from shotstream.model.config import EMBEDDED_SHOTS, TransformerConfig
from shotstream.model.device import send
from shotstream.model.frame_cache import FrameCache, StagedFrames
from shotstream.model.kv_cache import CacheShape, KVCache, Staged
from shotstream.model.rotary import SHOT_PHASE, make_rotary
from shotstream.model.schedule import TRAIN_TIMESTEPS, velocity_from_clean

SHOT_EMBEDDING_STD = 0.02
COPY_START = -4.0
"""Added to the logits of the head's gates, so that gates whose weights begin at zero copy 2%."""
ADDED_PARTS = MappingProxyType({"ffn_conv": ".ffn.conv.", "copy_previous": "head.copy."})
"""Parts that Wan does not have: the field of the configuration, and what the names of their parameters contain."""


class Transformer(nn.Module):
    """The velocity of noisy latents, given captions, positions, and cached keys and values."""

    def __init__(self, config: TransformerConfig, shot_phase: float = SHOT_PHASE) -> None:
        super().__init__()
        self.config, self.shot_phase = config, shot_phase if config.indicator == "phase" else 0.0
        dim = config.dim
        self.patch_embedding = nn.Conv3d(config.embedded_channels, dim, config.patch_size, stride=config.patch_size)
        self.text_embedding = nn.Sequential(nn.Linear(config.text_dim, dim), TanhGELU(), nn.Linear(dim, dim))
        self.time_embedding = nn.Sequential(nn.Linear(config.freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.head = Head(config)
        learned = config.indicator == "learned"
        self.shot_embedding = nn.Parameter(torch.empty(EMBEDDED_SHOTS, dim)) if learned else None
        if self.shot_embedding is not None:
            nn.init.normal_(self.shot_embedding, std=SHOT_EMBEDDING_STD)
        self.use(TORCH)

    def use(self, kernel: Kernel) -> None:
        """Switch attention to another kernel (`model.attention_kernels`)."""
        self.kernel = kernel
        for block in cast("Iterable[Block]", self.blocks):
            block.self_attn.attend = block.cross_attn.attend = kernel.attend

    def make_positions(
        self, layout: FrameLayout, latent_size: tuple[int, int], diagonal: Sequence[int] = (0,)
    ) -> TokenPositions:
        """Make the positions of tokens of latents of (height, width): once a chunk, for every step.

        `diagonal` is added to the row and column positions of each latent, or of all.
        """
        device = self.patch_embedding.weight.device
        rotary = make_rotary(layout, latent_size, self.config.head_dim, device, self.shot_phase, diagonal)
        first = int(layout.captions[0, 0])
        caption = first if bool((layout.captions == first).all()) else None
        shots = None if self.shot_embedding is None else send(layout.shots.clamp(max=EMBEDDED_SHOTS - 1), device)
        differing = (layout.captions != layout.captions[:, -1:]).any(0).nonzero()
        alone = int(differing.max()) + 1 if len(differing) else 0
        _, ph, pw = self.config.patch_size
        size = (latent_size[0] // ph, latent_size[1] // pw)
        return TokenPositions(rotary, caption, send(layout.captions, device), alone, shots, size)

    def project_text(self, text: Float[Tensor, "b s l e"]) -> TextKeys:
        """Project s captions to the keys and values of cross-attention, once for a whole shot."""
        embedded = self.text_embedding(text.to(self.patch_embedding.weight.dtype))
        return [cast(Block, block).project_text(embedded) for block in self.blocks]

    def new_cache(
        self,
        batch: int,
        latent_size: tuple[int, int],
        capacity: int,
        pinned: int,
        *,
        straight_through: bool = True,
        dtype: torch.dtype | None = None,
    ) -> KVCache:
        """Make an empty cache for this network and latents of (height, width); the rest is as in `KVCache`.

        `dtype` is that of the keys and values, None for that of the weights; another one is for forwards under
        autocast.
        """
        weight = self.patch_embedding.weight
        shape = CacheShape.of(self.config, batch, latent_size)
        return KVCache(shape, capacity, pinned, dtype or weight.dtype, weight.device, straight_through=straight_through)

    def new_frame_cache(
        self, batch: int, latent_size: tuple[int, int], capacity: int, *, dtype: torch.dtype | None = None
    ) -> FrameCache:
        """Return an empty cache of latents by their numbers, for this network and latents of (height, width).

        `dtype` is as in `new_cache`.
        """
        weight = self.patch_embedding.weight
        shape = CacheShape.of(self.config, batch, latent_size)
        return FrameCache(shape, capacity, dtype or weight.dtype, weight.device)

    def forward(
        self,
        latents: Float[Tensor, "b f k h w"],
        sigmas: Float[Tensor, "b f"],
        text: TextKeys | Float[Tensor, "b s l e"],
        placement: TokenPositions,
        staged: Staged | StagedFrames | None = None,
        plan: Plan | LayerPlan = (),
    ) -> Float[Tensor, "b f c h w"]:
        """Return the velocity (noise - clean) of each latent.

        Args:
            latents: noisy or clean latents, all of which are queries, with further channels where they carry context
                (`model.context_injection`). Channels that are left out count as zeros.
            sigmas: noise level of each latent, 0 (clean) to 1.
            text: embeddings of s captions (zero rows are padding and are attended), or their keys from `project_text`.
            placement: from `make_positions`, for exactly these latents.
            staged: room in a cache; the latents see its committed latents, and each other. None: there is no cache.
            plan: who sees whom, with a cache's latents before the new ones; empty means everyone sees everyone. A
                function gives the plan of a layer.
        """
        dtype = self.patch_embedding.weight.dtype
        missing = self.config.embedded_channels - latents.shape[2]
        given = F.pad(latents, (0, 0, 0, 0, 0, missing)) if missing else latents
        x = self._indicate(self._patchify(given.to(dtype)), placement)
        time = self.time_embedding(timestep_features(sigmas, self.config.freq_dim).to(self.head.modulation.dtype))
        modulation = self.time_projection(time).unflatten(-1, (6, -1))
        embedded = self.text_embedding(text.to(dtype)) if isinstance(text, Tensor) else None
        with self.kernel.scope():
            for layer, block in enumerate(self.blocks):
                captions = text[layer] if embedded is None else embedded
                seen = plan(layer) if callable(plan) else plan
                x = block(x, modulation, captions, placement, layer, staged, seen)
        predicted = self._unpatchify(self.head(x, time), latents.shape)
        if self.config.prediction == "velocity":
            return predicted
        own = latents[:, :, : self.config.in_dim]
        if self.config.copy_previous:
            predicted = copy_previous(predicted.to(given), given[:, :, -self.config.in_dim :])
        return velocity_from_clean(own, predicted.to(latents.dtype), sigmas)

    def _indicate(self, x: Float[Tensor, "b n dim"], placement: TokenPositions) -> Float[Tensor, "b n dim"]:
        """Add the embedding of their shot to tokens, where the network has one."""
        if self.shot_embedding is None:
            return x
        assert placement.shots is not None, "a placement is used by the network that made it"
        embedded = self.shot_embedding[placement.shots][:, :, None]
        return (x.unflatten(1, (placement.shots.shape[1], -1)) + embedded).flatten(1, 2)

    def _patchify(self, latents: Float[Tensor, "b f k h w"]) -> Float[Tensor, "b n dim"]:
        b, f, k, h, w = latents.shape
        _, ph, pw = self.config.patch_size
        patches = latents.reshape(b, f, k, h // ph, ph, w // pw, pw).permute(0, 1, 3, 5, 2, 4, 6)
        weight, bias = self.patch_embedding.weight, self.patch_embedding.bias
        return F.linear(patches.reshape(b, -1, k * ph * pw), weight.flatten(1), bias)

    def _unpatchify(self, patches: Float[Tensor, "b n out"], shape: torch.Size) -> Float[Tensor, "b f c h w"]:
        b, f, _, h, w = shape
        _, ph, pw = self.config.patch_size
        grid = patches.reshape(b, f, h // ph, w // pw, ph, pw, -1).permute(0, 1, 6, 2, 4, 3, 5)
        return grid.reshape(b, f, -1, h, w)


def copy_previous(
    predicted: Float[Tensor, "b f k h w"], previous: Float[Tensor, "b f c h w"]
) -> Float[Tensor, "b f c h w"]:
    """Blend predicted latents with the previous ones: (1 - gate) predicted + gate previous.

    Where nothing moves, the network then need not draw the picture again, which would lose its outlines.

    Args:
        predicted: with the logits of the gates as the last of k = c + 1 channels.
        previous: last latent of the previous chunk; zeros where there is none, and there nothing is copied.
    """
    values, logits = predicted[:, :, :-1], predicted[:, :, -1:]
    gates = torch.sigmoid(logits + COPY_START) * (previous != 0).any(2, keepdim=True)
    return torch.lerp(values, previous, gates)


def begins_at_zero(name: str) -> bool:
    """Return whether a parameter of that name begins at zero, so that what was trained without it goes on as it was."""
    return any(part in name for part in ADDED_PARTS.values())


def is_modulation(name: str) -> bool:
    """Return whether a parameter of that name makes or adds the shifts, scales and gates of tokens.

    Where these alone are in float32, so are all sums of tokens and their norms: the precision that Wan was trained in.
    """
    return name.startswith(("time_", "head.")) or name.endswith(".modulation") or ".norm3." in name


def timestep_features(sigmas: Float[Tensor, "b f"], dim: int) -> Float[Tensor, "b f dim"]:
    """Return sinusoidal features of the timesteps 1000 sigma: cosines, then sines.

    Frequencies fall from 1 to 1/10000. They are computed in float64 where the device has it.
    """
    half = dim // 2
    precise = torch.float32 if sigmas.device.type == "mps" else torch.float64
    exponents = torch.arange(half, dtype=precise, device=sigmas.device) / half
    angles = (TRAIN_TIMESTEPS * sigmas.to(precise))[..., None] * 10000.0**-exponents
    return torch.cat([angles.cos(), angles.sin()], -1).float()
