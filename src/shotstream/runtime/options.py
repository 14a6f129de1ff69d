"""Prepare an opened model for its device: kernels, compilation, graphs, 8-bit arithmetic, fewer steps."""

from dataclasses import dataclass, replace

from shotstream.model.attention_kernels import AUTO, pick_kernel
from shotstream.model.cuda_graphs import CudaGraphPool, CudaGraphRecorder
from shotstream.runtime.compile import compile_blocks
from shotstream.runtime.fp8 import attention_to_float8, to_float8
from shotstream.weights.build import ModelComponents


@dataclass(frozen=True)
class RunOptions:
    """Options of a run.

    Exact ones: compiled blocks (`runtime.compile`), CUDA graphs (`model.cuda_graphs`), an attention by name
    (`model.attention_kernels`). Lossy ones: linear maps and attention in 8-bit floats (`runtime.fp8`), and fewer steps
    than the model was made for.
    """

    compiled: bool = False
    graphs: bool = False
    fp8: bool = False
    fp8_attention: bool = False
    steps: int | None = None
    attention: str = AUTO


def apply_options(parts: ModelComponents, running: RunOptions) -> ModelComponents:
    """Return the model with its options applied; its transformer is changed in place.

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
    if running.steps is not None:
        parts = with_steps(parts, running.steps)
    if running.compiled:
        compile_blocks(transformer)
    graphs = CudaGraphPool(transformer, CudaGraphRecorder(weight.device)) if running.graphs else None
    return replace(parts, graphs=graphs)


def with_steps(parts: ModelComponents, count: int) -> ModelComponents:
    """Return the model with another number of steps per chunk, marked as lossy if they are fewer than its own.

    Raises:
        InputError: it has not so many.
    """
    sampler = parts.config.sampler
    label = () if count == sampler.count else (f"{count} of {sampler.count} steps",)
    return replace(parts, config=replace(parts.config, sampler=sampler.fewer(count)), lossy=(*parts.lossy, *label))
