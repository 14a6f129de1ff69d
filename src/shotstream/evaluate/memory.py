"""The memory that a model needs while it makes a shot, from its shape alone.

As in `evaluate.work`, the engine's own code runs on tensors without values; here their bytes are followed from birth to
death. What a device holds besides tensors is not known to this count: its context and libraries, the workspace of its
kernels, and what its allocator keeps in pieces. Attention counts as a kernel that holds no scores, the result of a
convolution twice while its layout is changed, and the text encoder with its weights alone, because its library reads
its masks.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from shotstream.core.clock import Part
from shotstream.core.spec import CONTEXT_LATENTS, MAX_CHUNKS
from shotstream.evaluate.work import begin_shot, no_values, one_step
from shotstream.model.codec import Codec
from shotstream.model.config import ModelConfig
from shotstream.model.parts import networks, spare_memory
from shotstream.model.transformer import Transformer
from shotstream.rollout.denoise import Sampler


@dataclass(frozen=True)
class MemoryNeeds:
    """Bytes: of each network's weights, and the most that each part of a shot holds besides, the cache included."""

    weights: Mapping[str, int]
    parts: Mapping[Part, int]

    def total(self, *, text_encoder: bool = True) -> int:
        """The most that is held at a time; without the text encoder where that stays elsewhere."""
        weights = sum(size for name, size in self.weights.items() if text_encoder or name != "text_encoder")
        return weights + max(self.parts.values())


class MemoryCounter(TorchDispatchMode):
    """Follows the bytes of tensors made while it is entered. It is a clock (`core.clock`): it is told the part."""

    def __init__(self, device: str = "meta") -> None:
        """`device` is the kind on which tensors count."""
        super().__init__()
        self._device = device
        self._known: set[int] = set()
        self._part: Part | None = None
        self.held = 0
        self.most: dict[Part, int] = {}

    @contextmanager
    def __call__(self, part: Part) -> Iterator[None]:
        self._part = part
        self._note()
        yield
        self._part = None

    def leave_out(self, network: nn.Module) -> None:
        """Does not count the weights of a network, of which its forward makes views."""
        self._known.update(id(tensor.untyped_storage()) for tensor in (*network.parameters(), *network.buffers()))

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.device.type == self._device:
                self._follow(tensor.untyped_storage())
        return out

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)  # a storage keeps its Python object for as long as it lives
        if key in self._known:
            return
        self._known.add(key)
        self.held += storage.nbytes()
        self._note()
        weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.held -= size

    def _note(self) -> None:
        if self._part is not None:
            self.most[self._part] = max(self.most.get(self._part, 0), self.held)


class _FusedAttention(TorchFunctionMode):
    """Attention as a kernel that keeps no scores, which without values would be made of products that do."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            query, _, value = args
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return func(*args, **(kwargs or {}))


def memory_needs(
    config: ModelConfig,
    dtype: torch.dtype = torch.bfloat16,
    *,
    chunks: int = MAX_CHUNKS,
    captions: int = 2,
    spare: bool = False,
) -> MemoryNeeds:
    """What a shot of a story needs at the size and with the sampler of its model.

    Args:
        config: of the model.
        dtype: of its weights, and of what it computes with.
        chunks: the shot's length. Its frames stay on the device until it is done.
        captions: how many the transformer reads, those of the remembered frames and the shot's own.
        spare: as on a device of little memory (`model.parts.spare_memory`).
    """
    with torch.device("meta"):
        transformer, codec, text_encoder = networks(config, None)
    if spare:
        spare_memory(codec)
    named = {"transformer": transformer, "codec": codec.to("meta"), "text_encoder": text_encoder}
    weights = {name: _bytes(network.to(dtype=dtype)) for name, network in named.items()}
    counter = MemoryCounter()
    for network in named.values():
        counter.leave_out(network)
    with torch.inference_mode(), counter, _FusedAttention():
        make_shot(config, transformer, cast(Codec, codec), counter, chunks, captions)
    return MemoryNeeds(weights, counter.most)


def make_shot(
    config: ModelConfig, transformer: Transformer, codec: Codec, counter: MemoryCounter, chunks: int, captions: int
) -> None:
    """One step a chunk of a shot from nothing, of which `counter` is told the parts; its frames are kept to its end."""
    sampler = one_step(Sampler.from_config(config.sampler))
    rollout = begin_shot(config, transformer, sampler, chunks, captions, counter)
    with counter("context"):
        codec.encode_frames(no_values(CONTEXT_LATENTS, 3, config.video.height, config.video.width))
    state, kept = codec.start_stream(), []
    for latents in rollout:
        with counter("decode"):
            kept.append(codec.decode_next(latents, state))


def _bytes(network: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
