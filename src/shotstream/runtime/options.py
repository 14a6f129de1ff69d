"""Prepare an opened model for its device: kernels, compilation, graphs, 8-bit arithmetic, another sampler."""

from dataclasses import dataclass, replace

from shotstream.model.attention_kernels import AUTO, pick_kernel
from shotstream.model.config import as_sampler_kind
from shotstream.model.solvers import check_solver
from shotstream.runtime.compile import compile_blocks
from shotstream.runtime.cuda_graphs import CudaGraphPool, CudaGraphRecorder
from shotstream.runtime.fp8 import attention_to_float8, to_float8
from shotstream.weights.build import ModelComponents


@dataclass(frozen=True)
class RunOptions:
    """Options of a run.

    Exact ones: compiled blocks (`runtime.compile`), CUDA graphs (`runtime.cuda_graphs`), an attention by name
    (`model.attention_kernels`). Lossy ones: linear maps and attention in 8-bit floats (`runtime.fp8`), another sampler
    (`model.config.SamplerKind`) or fewer steps than the model was made for.
    """

    compiled: bool = False
    graphs: bool = False
    fp8: bool = False
    fp8_attention: bool = False
    steps: int | None = None
    attention: str = AUTO
    sampler: str | None = None


def apply_options(parts: ModelComponents, running: RunOptions) -> ModelComponents:
    """Return the model with all options but graphs (`make_graph_pool`) applied; its transformer is changed in place.

    Raises:
        InputError: something that is asked for cannot be had here.
    """
    transformer, head_dim = parts.transformer, parts.config.transformer.head_dim
    weight = transformer.patch_embedding.weight
    transformer.use(pick_kernel(weight.device, weight.dtype, head_dim, running.attention))
    if running.fp8:
        parts = to_float8(parts)
    if running.fp8_attention:
        parts = attention_to_float8(parts)
    if running.sampler is not None:
        parts = with_sampler(parts, running.sampler)
    if running.steps is not None:
        parts = with_steps(parts, running.steps)
    if running.compiled:
        compile_blocks(transformer)
    return parts


def make_graph_pool(parts: ModelComponents, running: RunOptions) -> CudaGraphPool | None:
    """Return the pool of CUDA graphs that a model's stories share, once its other options are applied; None: none.

    Raises:
        InputError: graphs are asked for, and the device has none.
    """
    if not running.graphs:
        return None
    return CudaGraphPool(parts.transformer, CudaGraphRecorder(parts.transformer.patch_embedding.weight.device))


def with_sampler(parts: ModelComponents, name: str) -> ModelComponents:
    """Return the model with another sampler, marked as lossy; its shift and its guidance stay.

    All chunks of a shot then begin from noise.

    Raises:
        InputError: there is no such sampler, or its package is not installed.
    """
    kind, sampler = as_sampler_kind(name), parts.config.sampler
    check_solver(kind)
    if kind == sampler.kind:
        return parts
    config = replace(parts.config, sampler=replace(sampler, kind=kind, later_chunks_from=None))
    return replace(parts, config=config, lossy=(*parts.lossy, f"sampler {kind}, not {sampler.kind}"))


def with_steps(parts: ModelComponents, count: int) -> ModelComponents:
    """Return the model with another number of steps per chunk, marked as lossy if they are fewer than its own.

    Raises:
        InputError: it has not so many.
    """
    sampler = parts.config.sampler
    label = () if count == sampler.count else (f"{count} of {sampler.count} steps",)
    return replace(parts, config=replace(parts.config, sampler=sampler.fewer(count)), lossy=(*parts.lossy, *label))
