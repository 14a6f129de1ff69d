"""Count the FLOPs and memory traffic of a shot, span by span, from the shape of a model alone.

The engine's own code runs on tensors without values (torch's meta device), and the products in it are counted: what is
counted is what a real shot does. Only the text encoder is counted by formula, because its library reads its masks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from types import MappingProxyType
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from shotstream.core.profiling import Clock, Span
from shotstream.engine.bidirectional_rollout import WholeShotRollout
from shotstream.engine.cached_transformer import shot_cache_size
from shotstream.engine.causal_rollout import ShotInputs, ShotRollout
from shotstream.engine.sampler import Sampler
from shotstream.model.codec import Codec
from shotstream.model.config import ModelConfig, TextEncoderConfig
from shotstream.model.device import shapes_only
from shotstream.model.transformer import Transformer
from shotstream.story.layout import shot_layout
from shotstream.weights.build import networks

OpKind = Literal["linear", "convolution", "attention"]


@dataclass(frozen=True)
class OpCost:
    """The cost of tensor products: `flop` (a multiply and an add are two) and `bytes` of memory traffic.

    The bytes are the least there can be: every product reads its operands once and writes its result once, and all that
    stands between products is fused into them.
    """

    flop: int = 0
    bytes: int = 0

    def __add__(self, other: "OpCost") -> "OpCost":
        return OpCost(self.flop + other.flop, self.bytes + other.bytes)

    def __mul__(self, times: int) -> "OpCost":
        return OpCost(self.flop * times, self.bytes * times)


OpCosts = Mapping[tuple[Span, OpKind], OpCost]


@dataclass(frozen=True)
class ShotCost:
    """The cost of one shot: before its first chunk, and of each chunk with the commit before it and its decoding."""

    begin: OpCosts
    chunks: tuple[OpCosts, ...]

    def of(self, *parts: Span, kind: OpKind | None = None) -> OpCost:
        """Return the cost of some spans, of one kind of product or of all."""
        return sum_costs(select_cost(tally, *parts, kind=kind) for tally in self._tallies)

    def grown(self, two: "ShotCost", layers: int) -> "ShotCost":
        """Extrapolate to `layers` equal transformer layers, from this cost (one layer) and `two` (two layers)."""
        tallies = (_grown(mine, theirs, layers) for mine, theirs in zip(self._tallies, two._tallies, strict=True))
        return ShotCost(next(tallies), tuple(tallies))

    def with_steps(self, more: "ShotCost") -> "ShotCost":
        """Return this cost plus the denoising steps of `more`."""
        both = zip(self.chunks, more.chunks, strict=True)
        return ShotCost(self.begin, tuple(_with_steps(mine, theirs) for mine, theirs in both))

    @property
    def _tallies(self) -> tuple[OpCosts, ...]:
        return (self.begin, *self.chunks)

    @property
    def parts(self) -> dict[Span, OpCost]:
        """Return the cost of every span that has any."""
        found = {part for tally in self._tallies for part, _ in tally}
        return {part: self.of(part) for part in found}


def select_cost(tally: OpCosts, *parts: Span, kind: OpKind | None = None) -> OpCost:
    """Return the cost of some spans, of one kind of product or of all."""
    return sum_costs(work for (part, what), work in tally.items() if part in parts and kind in (None, what))


def sum_costs(works: Iterator[OpCost]) -> OpCost:
    """Return the sum of costs."""
    return reduce(OpCost.__add__, works, OpCost())


def _with_steps(one: OpCosts, more: OpCosts) -> OpCosts:
    return {key: work + (more[key] if key[0] == "denoise" else OpCost()) for key, work in one.items()}


def _grown(one: OpCosts, two: OpCosts, layers: int) -> OpCosts:
    return {key: one[key] + (two[key] + one[key] * -1) * (layers - 1) for key in one}


class OpCounter(TorchFunctionMode):
    """Counts the products of torch functions while it is entered, by the spans of `core.profiling`."""

    def __init__(self) -> None:
        super().__init__()
        self._part: Span | None = None
        self._counted: dict[tuple[Span, OpKind], OpCost] = {}

    @contextmanager
    def __call__(self, part: Span) -> Iterator[None]:
        self._part = part
        yield
        self._part = None

    def take(self) -> OpCosts:
        """Return what was counted since the last call, and start again."""
        taken, self._counted = self._counted, {}
        return taken

    def add(self, part: Span, kind: OpKind, work: OpCost) -> None:
        """Add a cost that was worked out elsewhere."""
        self._counted[part, kind] = self._counted.get((part, kind), OpCost()) + work

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in PRODUCT_OPS:
            assert self._part is not None, f"{func.__name__} outside of every part of a shot"
            kind, flop = PRODUCT_OPS[func]
            operands = [value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor)]
            moved = sum(tensor.numel() * tensor.element_size() for tensor in (*operands, out))
            self.add(self._part, kind, OpCost(flop(operands, out), moved))
        return out


def _linear_flop(operands: Sequence[Tensor], out: Tensor) -> int:
    return 2 * out.numel() * operands[0].shape[-1]


def _convolution_flop(operands: Sequence[Tensor], out: Tensor) -> int:
    return 2 * out.numel() * operands[1][0].numel()


def _attention_flop(operands: Sequence[Tensor], out: Tensor) -> int:
    query, key, *_ = operands
    return 2 * (query.numel() + out.numel()) * key.shape[-2]


PRODUCT_OPS: Mapping[Callable[..., Tensor], tuple[OpKind, Callable[[Sequence[Tensor], Tensor], int]]] = (
    MappingProxyType(
        {
            F.linear: ("linear", _linear_flop),
            F.conv2d: ("convolution", _convolution_flop),
            F.conv3d: ("convolution", _convolution_flop),
            F.scaled_dot_product_attention: ("attention", _attention_flop),
        }
    )
)
"""The functions whose work counts; their first operands are input and weight, or query and key."""


def shot_cost(
    config: ModelConfig,
    dtype: torch.dtype = torch.bfloat16,
    *,
    chunks: int | None = None,
    captions: int = 2,
    caption_tokens: int | None = None,
    remembers: bool = True,
) -> ShotCost:
    """Return the cost of one shot at the size and with the sampler of its model.

    Args:
        config: of the model.
        dtype: of its weights, and of what it computes with.
        chunks: the shot's length; None: the longest.
        captions: how many the transformer reads, those of the remembered frames and the shot's own.
        caption_tokens: length of its own caption, the one that is encoded; None: as long as can be.
        remembers: whether the shot has context frames; a story's first shot has none.
    """
    tokens, chunks = caption_tokens or config.text_encoder.text_len, chunks or config.shot.max_chunks
    one, two = (
        _shot_work(replace(config, transformer=shape), dtype, chunks, captions, tokens, remembers=remembers)
        for shape in (replace(config.transformer, num_layers=layers) for layers in (1, 2))
    )
    return one.grown(two, config.transformer.num_layers)


def _shot_work(
    config: ModelConfig, dtype: torch.dtype, chunks: int, captions: int, tokens: int, *, remembers: bool
) -> ShotCost:
    with shapes_only():
        transformer, network, _ = networks(config, None)
    transformer.to(dtype=dtype)
    codec = cast(Codec, network.to("meta", dtype))  # the statistics of its latents are made elsewhere
    counter = OpCounter()
    for kind, work in text_encoder_cost(config.text_encoder, tokens, dtype.itemsize):
        counter.add("text", kind, work)
    with torch.inference_mode(), counter:
        if remembers:
            with counter("context"):
                codec.encode_frames(no_values(config.shot.context_latents, 3, config.video.height, config.video.width))
        sampler, counted = Sampler.from_config(config.sampler), []
        for sigma, first, later in _kinds_of_step(sampler):
            rollout = begin_shot(config, transformer, one_step(sampler, sigma), chunks, captions, counter)
            counted.append(_count(rollout, codec, counter, first, later))
        return reduce(ShotCost.with_steps, counted)


def _count(rollout: Iterator[Tensor], codec: Codec, counter: OpCounter, first: int, later: int) -> ShotCost:
    begin, state = counter.take(), codec.start_stream()
    made: list[OpCosts] = []
    for latents in rollout:
        with counter("decode"):
            codec.decode_next(latents, state)
        steps = later if made else first
        made.append({key: work * (steps if key[0] == "denoise" else 1) for key, work in counter.take().items()})
    return ShotCost(begin, tuple(made))


def _kinds_of_step(sampler: Sampler) -> list[tuple[float, int, int]]:
    """Return for each kind of step (guided, unguided) a noise level, and how many a first and a later chunk take."""
    kinds: dict[float | None, list[int]] = {}
    for step, sigma in enumerate(sampler.sigmas[: sampler.forwards]):
        kinds.setdefault(sampler.guidance_at(sigma), []).append(step)
    return [
        (sampler.sigmas[steps[0]], len(steps), sum(step >= sampler.later_start for step in steps))
        for steps in kinds.values()
    ]


def one_step(sampler: Sampler, sigma: float = 1.0) -> Sampler:
    """Return the sampler with a single step from `sigma`; all steps of a kind cost the same."""
    return replace(sampler, kind="few_step", sigmas=(sigma,), later_start=0)


def begin_shot(
    config: ModelConfig, transformer: Transformer, sampler: Sampler, chunks: int, captions: int, counter: Clock
) -> Iterator[Tensor]:
    """Start the engine's rollout of a shot; all captions but the last belong to its context frames."""
    size = (config.video.latent_height, config.video.latent_width)
    shape, before = config.shot, config.shot.context_latents
    shots = [latent * (captions - 1) // before for latent in range(before)] if captions > 1 else ()
    layout = shot_layout(captions, shots, shape, shape.latents_of_chunks(chunks), config.captions)
    context = no_values(before, config.transformer.in_dim, *size)
    text = no_values(captions, config.text_encoder.text_len, config.text_encoder.dim)
    inputs = ShotInputs.of(context, text, layout, text[:, :1])

    def noise(chunk: int, step: int) -> Tensor:  # noqa: ARG001 (the form of a shot's noise)
        return no_values(shape.chunk_latents, *context.shape[2:])

    if config.sampler.order == "whole":
        return WholeShotRollout(transformer, inputs, noise, sampler, counter)
    cache = transformer.new_cache(*shot_cache_size(config.transformer, sampler, size))
    return ShotRollout(transformer, cache, inputs, noise, sampler, counter)


def no_values(*shape: int) -> Tensor:
    """Return a tensor on the meta device with a batch dimension of 1."""
    return torch.empty(1, *shape, device="meta")


def text_encoder_cost(config: TextEncoderConfig, tokens: int, element_bytes: int) -> Iterator[tuple[OpKind, OpCost]]:
    """Yield the cost of encoding one caption of `tokens` tokens: projections and gated feed-forward, then attention."""
    dim, inner, ffn = config.dim, config.attention_dim, config.ffn_dim
    weights = 4 * dim * inner + 3 * dim * ffn
    through = 4 * (dim + inner) + 3 * (dim + ffn)
    linear = OpCost(2 * tokens * weights, (weights + tokens * through) * element_bytes)
    yield "linear", linear * config.num_layers
    attention = OpCost(4 * tokens * tokens * inner, 4 * tokens * inner * element_bytes)
    yield "attention", attention * config.num_layers
