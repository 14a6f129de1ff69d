"""Record the forward of a chunk as a CUDA graph, once for each window, and replay it at every step and commit.

A recording reads nothing but what stays where it is: the weights, one cache, and buffers into which the inputs of every
call are copied. A clean pass differs from a step in its inputs alone, so that both share a recording. Each cache has
recordings of its own, and a story has them to itself while it lives; when it ends, the next story of its size takes
over both. All belong to one thread. Source: torch's notes on CUDA graphs (static inputs, a shared pool of memory).
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.model.attention import Group
from shotstream.model.blocks import TextKeys, TokenPositions
from shotstream.model.kv_cache import CacheSize, KVCache, Staged
from shotstream.model.rotary import Rotary
from shotstream.model.transformer import Transformer

TensorFunction = Callable[[], Tensor]
WARM_UPS = 2
"""How often a forward of a new shape runs before it is recorded: libraries choose kernels, torch compiles."""


@runtime_checkable
class Recorder(Protocol):
    """Records what a function does to tensors on a device."""

    def record(self, run: TensorFunction, shape: Hashable) -> TensorFunction:
        """Return a function that does the same again with what then lies in the same tensors.

        Its result lies at one place, and only until any recording of this recorder runs.

        Args:
            run: may be run any number of times, or none.
            shape: what a forward has in common with others that run the same kernels.
        """
        ...


@dataclass(frozen=True)
class Inputs:
    """Inputs of a recorded forward besides weights and cache: `[b, f, ...]` of a chunk, and the keys of one caption."""

    latents: Tensor
    sigmas: Tensor
    placement: TokenPositions
    text: TextKeys

    @property
    def few(self) -> list[Tensor]:
        """Return everything but the caption's keys and values."""
        place = self.placement
        shots = [] if place.shots is None else [place.shots]
        return [self.latents, self.sigmas, place.rotary.cos, place.rotary.sin, *shots]

    @property
    def keys(self) -> list[Tensor]:
        """Return the caption's keys and values, layer by layer."""
        return [tensor for pair in self.text for tensor in pair]

    @property
    def shapes(self) -> tuple[tuple[torch.Size, torch.dtype], ...]:
        """Return shapes and types; inputs can share a recording only if they agree."""
        return tuple((tensor.shape, tensor.dtype) for tensor in (*self.few, *self.keys))

    def copy(self) -> "Inputs":
        """Return the same values in tensors of their own."""
        place = self.placement
        rotary = Rotary(_own(place.rotary.cos), _own(place.rotary.sin))
        shots = None if place.shots is None else _own(place.shots)
        placement = replace(place, rotary=rotary, shots=shots)
        return Inputs(_own(self.latents), _own(self.sigmas), placement, [(_own(k), _own(v)) for k, v in self.text])

    def take(self, given: "Inputs") -> None:
        """Copy other values into the same tensors."""
        for mine, theirs in zip(self.few, given.few, strict=True):
            mine.copy_(theirs)
        torch._foreach_copy_(self.keys, given.keys)


class GraphedForward:
    """The forwards over one cache, for inference: those of a chunk as recordings, all others as they are."""

    def __init__(self, transformer: Transformer, cache: KVCache, recorder: Recorder) -> None:
        self.cache, self._transformer, self._recorder = cache, transformer, recorder
        self._buffers: Inputs | None = None
        self._windows: dict[tuple[int, int], TensorFunction] = {}

    def __call__(
        self,
        latents: Float[Tensor, "b f k h w"],
        sigmas: Float[Tensor, "b f"],
        text: TextKeys | Tensor,
        placement: TokenPositions,
        staged: Staged,
        plan: tuple[Group, ...] = (),
    ) -> Float[Tensor, "b f c h w"]:
        """Compute what `Transformer.forward` does; the result is the caller's."""
        assert staged.cache is self.cache, "a recording knows one cache"
        chunk = self._transformer.config.shot.chunk_latents
        plain = bool(plan) or staged.latents != chunk or len(latents) != self.cache.shape.batch
        if not (plain or isinstance(text, Tensor)):
            given = Inputs(latents, sigmas, placement, text)
            if self._buffers is None or self._buffers.shapes == given.shapes:
                return self._run(given, staged)
        return self._transformer(latents, sigmas, text, placement, staged, plan)

    @torch.inference_mode()
    def _run(self, given: Inputs, staged: Staged) -> Tensor:
        if self._buffers is None:
            self._buffers = given.copy()
        self._buffers.take(given)
        window = (staged.first, staged.visible)
        if window not in self._windows:
            self._windows[window] = self._record(self._buffers, staged)
        return self._windows[window]().clone()

    def _record(self, held: Inputs, staged: Staged) -> TensorFunction:
        transformer = self._transformer

        def run() -> Tensor:
            return transformer(held.latents, held.sigmas, held.text, held.placement, staged)

        return self._recorder.record(run, (staged.first, staged.visible, held.shapes))


class CudaGraphPool:
    """Lends every story a cache with its recordings, and keeps those returned last for the next story of their size."""

    def __init__(self, transformer: Transformer, recorder: Recorder) -> None:
        self._transformer, self._recorder = transformer, recorder
        self._free: tuple[CacheSize, GraphedForward] | None = None

    def borrow(self, size: CacheSize) -> GraphedForward:
        """Return recordings over a cache of that size, which may hold keys of an earlier story."""
        free, self._free = self._free, None
        if free is not None and free[0] == size:
            return free[1]
        del free  # before memory is taken for another
        return GraphedForward(self._transformer, self._transformer.new_cache(*size), self._recorder)

    def give_back(self, size: CacheSize, forward: GraphedForward) -> None:
        """Take back recordings that are no longer used."""
        self._free = size, forward


class CudaGraphRecorder:
    """Records CUDA graphs, which share a pool of memory and a stream of their own."""

    def __init__(self, device: torch.device) -> None:
        """Raises InputError where the device has no CUDA graphs."""
        if device.type != "cuda":
            raise InputError(f"expected a CUDA device to record graphs on, got {device.type}; leave out --graphs")
        self._device = device
        self._pool, self._stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream(device)
        self._warm: set[Hashable] = set()

    def record(self, run: TensorFunction, shape: Hashable) -> TensorFunction:
        """Record a graph, and return what replays it (`Recorder.record`)."""
        with torch.cuda.device(self._device):
            if shape not in self._warm:
                self._warm_up(run)
                self._warm.add(shape)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                result = run()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay

    def _warm_up(self, run: TensorFunction) -> None:
        """Run once on the stream that records, because workspaces of libraries belong to a stream."""
        here = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                run()
        here.wait_stream(self._stream)


def _own(tensor: Tensor) -> Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)
