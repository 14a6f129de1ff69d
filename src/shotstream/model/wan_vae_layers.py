"""The layers of Wan's causal 3-D VAE, and the state of a stream through them.

Video is `b c f h w` in channels-last memory. A layer that convolves over time takes a `StreamState`, or None when `x`
is a single frame with nothing before it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from shotstream.model.device import cuda_capability

FUSED_CAPABILITY = (8, 0)
"""Least CUDA capability at which the kernels of `model.wan_vae_triton` are used, in half precision."""
MOST_VALUES = 2**29
"""Largest input of the kernels: they index with 32 bits, and staged input and result are up to three times larger."""


@dataclass
class StreamState:
    """State of a stream through the encoder or decoder: the last input frames of each convolution over time.

    The tensors are allocated when a convolution first runs and from then on overwritten in place, at fixed addresses.
    A state belongs to one clip, of one batch and picture size.
    """

    history: list[Tensor | None]
    started: bool = False

    def past(self, slot: int, like: Float[Tensor, "b c f h w"], frames: int) -> Float[Tensor, "b c n h w"]:
        """Return the last `frames` frames before `like`, zeros at the start; the caller overwrites them in place."""
        past = self.history[slot]
        if past is None:
            batch, channels, _, height, width = like.shape
            past = like.new_zeros(batch, frames, height, width, channels).movedim(-1, 1)
            self.history[slot] = past
        assert past.shape[:2] + past.shape[3:] == like.shape[:2] + like.shape[3:], "a state belongs to one clip"
        return past


class CausalConv3d(nn.Conv3d):
    """Causal 3-D convolution: it reads the current frame and those before it.

    With a state, the frames before come from it. Without, `x` must be a single frame with nothing before it: the taps
    on the past then meet zeros only, and a 2-D convolution with the tap on the present is all there is to compute.
    The result is channels-last also where the backend's small convolutions are not: a fixed layout keeps the rounding
    of all that follows independent of how many frames come in a call.
    """

    def __init__(
        self, channels: int, out_channels: int, kernel: tuple[int, int, int], stride: tuple[int, int, int] = (1, 1, 1)
    ) -> None:
        super().__init__(channels, out_channels, kernel, stride, padding=(0, kernel[1] // 2, kernel[2] // 2))
        self.history_frames = kernel[0] - stride[0]
        self.slot = -1  # the place of this layer's history in a state; given out by `number_slots`

    def forward(  # type: ignore[override]
        self,
        x: Float[Tensor, "b c f h w"],
        state: StreamState | None,
        norm: "ChannelRMSNorm | None" = None,
        added: Float[Tensor, "b k g y x"] | None = None,
    ) -> Float[Tensor, "b k g y x"]:
        """Convolve `x`, or SiLU(norm(x)) if `norm` is given, and add `added`."""
        if self._fuses(x, state):
            return self._fused(x, state, norm, added)
        if norm is not None:
            x = F.silu(norm(x), inplace=True)
        made = self._convolved(x, state)
        return made if added is None else added + made

    def _convolved(self, x: Float[Tensor, "b c f h w"], state: StreamState | None) -> Float[Tensor, "b k g y x"]:
        if state is None:
            assert x.shape[2] == 1, "without a state, a clip is one frame"
            return F.conv2d(x[:, :, 0], self.weight[:, :, -1], self.bias, padding=self.padding[1:]).unsqueeze(2)
        if self.history_frames:
            past = state.past(self.slot, x, self.history_frames)
            x = torch.cat([past, x], dim=2)
            past.copy_(x[:, :, -self.history_frames :])
        return super().forward(x).contiguous(memory_format=torch.channels_last_3d)

    def _fuses(self, x: Tensor, state: StreamState | None) -> bool:
        one_clip, plain = state is None or len(x) == 1, self.stride == (1, 1, 1) and self.kernel_size != (1, 1, 1)
        return one_clip and plain and fuses(x)

    def _fused(
        self, x: Tensor, state: StreamState | None, norm: "ChannelRMSNorm | None", added: Tensor | None
    ) -> Float[Tensor, "b k f h w"]:
        from shotstream.model.wan_vae_triton import product, stage

        past = None if state is None else rows(state.past(self.slot, x, self.history_frames))
        border, (batch, _, _, height, width) = self.kernel_size[1] // 2, x.shape
        gamma = None if norm is None else norm.gamma.flatten()
        staged = stage(rows(x), past, gamma, border)
        if past is not None:
            past.copy_(staged[-len(past) :, border : border + height, border : border + width])
        weight = self.weight[:, :, -1:] if state is None else self.weight
        out = x.new_empty(batch * x.shape[2], height, width, self.out_channels)
        taps = (weight.shape[2], weight.shape[3], weight.shape[4])
        product(staged, filters(weight), self.bias, None if added is None else rows(added), out, taps)
        return out.unflatten(0, (batch, -1)).movedim(-1, 1)


def fuses(x: Tensor) -> bool:
    """Return whether kernels of `model.wan_vae_triton` can compute convolutions of `x`."""
    if not x.is_cuda or x.dtype not in (torch.bfloat16, torch.float16) or torch.is_grad_enabled():
        return False
    if x.shape[1] % 16 or x.numel() > MOST_VALUES:
        return False
    return (cuda_capability(x.device) or (0, 0)) >= FUSED_CAPABILITY and find_spec("triton") is not None


def rows(x: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b_f h w c"]:
    """Reshape video to channels-last frames, one clip after the other."""
    return x.movedim(1, -1).contiguous().flatten(0, 1)


def filters(weight: Float[Tensor, "k c *taps"]) -> Float[Tensor, "1 k taps_c"]:
    """Flatten each filter to one row of taps and channels."""
    return weight.movedim(1, -1).flatten(1)[None].contiguous()


def number_slots(network: nn.Module) -> int:
    """Assign every convolution over time its index in a state, and return their number."""
    convolutions = [layer for layer in network.modules() if isinstance(layer, CausalConv3d) and layer.history_frames]
    for slot, layer in enumerate(convolutions):
        layer.slot = slot
    return len(convolutions)


def map_frames(layer: Callable[[Tensor], Tensor], x: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b k f y x"]:
    """Apply a 2-D layer to every frame."""
    frames = x.movedim(2, 1)
    mapped = layer(frames.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
    return mapped.unflatten(0, frames.shape[:2]).movedim(1, 2)


def skip_first(layer: Callable[[Tensor], Tensor], x: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b c g h w"]:
    """Apply a layer to all frames but the first, which is kept in front unchanged."""
    first, rest = x[:, :, :1], x[:, :, 1:]
    return torch.cat([first, layer(rest)], dim=2) if rest.shape[2] else first


class ChannelRMSNorm(nn.Module):
    """Normalisation by the root mean square over the channels (the second axis), scaled by `gamma`.

    Equal to Wan's unit length over the channels times the root of their number; zeros stay zeros.
    """

    def __init__(self, channels: int, *, pictures: bool = False) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *([1] * (2 if pictures else 3))))

    def forward(self, x: Float[Tensor, "b c *rest"]) -> Float[Tensor, "b c *rest"]:
        gamma = self.gamma.flatten()
        return F.rms_norm(x.movedim(1, -1), gamma.shape, gamma, eps=1e-24).movedim(-1, 1)


class Chain(nn.ModuleList):
    """Sequence of layers; those that convolve over time are given the state."""

    def forward(self, x: Float[Tensor, "b c f h w"], state: StreamState | None) -> Float[Tensor, "b k g y x"]:
        for layer in self:
            x = layer(x, state) if isinstance(layer, LOOKS_BACK) else layer(x)
        return x


class NormedConv(nn.ModuleList):
    """Norm, SiLU and convolution."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__([ChannelRMSNorm(channels), nn.SiLU(), CausalConv3d(channels, out_channels, (3, 3, 3))])

    def forward(self, x: Float[Tensor, "b c f h w"], state: StreamState | None) -> Float[Tensor, "b k f h w"]:
        norm, _, conv = self
        return conv(x, state, norm)


class ResidualBlock(nn.Module):
    """Residual block: twice norm, SiLU and convolution."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = nn.ModuleList(
            [
                ChannelRMSNorm(channels),
                nn.SiLU(),
                CausalConv3d(channels, out_channels, (3, 3, 3)),
                ChannelRMSNorm(out_channels),
                nn.SiLU(),
                nn.Identity(),  # dropout in training of the published model
                CausalConv3d(out_channels, out_channels, (3, 3, 3)),
            ]
        )
        self.shortcut = CausalConv3d(channels, out_channels, (1, 1, 1)) if channels != out_channels else None

    def forward(self, x: Float[Tensor, "b c f h w"], state: StreamState | None) -> Float[Tensor, "b k f h w"]:
        skipped = x if self.shortcut is None else self.shortcut(x, state)
        norm1, _, conv1, norm2, _, _, conv2 = self.residual
        return conv2(conv1(x, state, norm1), state, norm2, skipped)


class AttentionBlock(nn.Module):
    """Residual block: single-head self-attention over the positions of each frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelRMSNorm(channels, pictures=True)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b c f h w"]:
        return x + map_frames(self._attend, x)

    def _attend(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        tokens = self.to_qkv(self.norm(x)).flatten(2).mT.unsqueeze(1)
        attended = F.scaled_dot_product_attention(*tokens.chunk(3, dim=-1))
        return self.proj(attended.squeeze(1).mT.unflatten(2, x.shape[2:]))


class Downsample(nn.Module):
    """Downsampling of height and width by 2 and, if temporal, of the frames after the first."""

    def __init__(self, channels: int, *, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, channels, 3, stride=2))
        self.time_conv = CausalConv3d(channels, channels, (3, 1, 1), (2, 1, 1)) if temporal else None

    def forward(self, x: Float[Tensor, "b c f h w"], state: StreamState | None) -> Float[Tensor, "b c g y x"]:
        x = map_frames(self.resample, x)
        time_conv = self.time_conv
        if time_conv is None or state is None:
            return x
        if state.started:
            return time_conv(x, state)
        state.past(time_conv.slot, x, 1).copy_(x[:, :, :1])
        return skip_first(lambda rest: time_conv(rest, state), x)


class EnlargingConv2d(nn.Conv2d):
    """A 3x3 convolution of the picture enlarged twofold, computed on the small picture.

    Of nine taps on doubled pixels, those that meet the same pixel are added up beforehand: four 2x2 convolutions are
    left, one for each place in a doubled pixel, with 16 products a pixel of the small picture instead of 36.
    """

    TAPS = ((slice(0, 1), slice(1, 3)), (slice(0, 2), slice(2, 3)))
    """The taps that fall on the first and on the second of two pixels, for even and for odd output positions."""

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k y x"]:
        n, _, h, w = x.shape
        shape = (n, self.out_channels, 2 * h, 2 * w)
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        if fuses(x):
            from shotstream.model.wan_vae_triton import product, stage

            staged = stage(x.movedim(1, -1).contiguous(), None, None, 1)
            product(
                staged,
                torch.cat([filters(small) for small in self._filters()]),
                self.bias,
                None,
                out.movedim(1, -1),
                (1, 2, 2),
            )
            return out
        for place, small in enumerate(self._filters()):
            down, right = divmod(place, 2)
            seen = F.pad(x, (1 - right, right, 1 - down, down))
            out[:, :, down::2, right::2] = F.conv2d(seen, small, self.bias)
        return out

    def _filters(self) -> Iterator[Float[Tensor, "k c 2 2"]]:
        """Yield the filters of the four output positions of a pixel, row by row."""
        for down in self.TAPS:
            taps = torch.stack([self.weight[:, :, row].sum(2) for row in down], 2)
            for right in self.TAPS:
                yield torch.stack([taps[..., column].sum(3) for column in right], 3)


class Upsample(nn.Module):
    """Upsampling of height and width by 2, with half the channels; if temporal, also of the frames after the first.

    The convolution over time never reads the first frame of a clip: for it, the clip begins with the second.
    """

    def __init__(self, channels: int, *, temporal: bool) -> None:
        super().__init__()
        # the published sequence enlarges first, so that the weights are those of its second layer
        self.resample = nn.Sequential(nn.Identity(), EnlargingConv2d(channels, channels // 2, 3))
        self.time_conv = CausalConv3d(channels, 2 * channels, (3, 1, 1)) if temporal else None

    def forward(self, x: Float[Tensor, "b c f h w"], state: StreamState | None) -> Float[Tensor, "b k g y x"]:
        if self.time_conv is not None and state is not None:
            x = self._double(x, state) if state.started else skip_first(lambda rest: self._double(rest, state), x)
        return map_frames(self.resample, x)

    def _double(self, x: Float[Tensor, "b c f h w"], state: StreamState) -> Float[Tensor, "b c g h w"]:
        assert self.time_conv is not None
        pairs = self.time_conv(x, state).movedim(1, -1).unflatten(-1, (2, -1))
        return pairs.movedim(-2, 2).flatten(1, 2).movedim(-1, 1)


LOOKS_BACK = (CausalConv3d, NormedConv, ResidualBlock, Downsample, Upsample)
"""Layers that convolve over time."""
