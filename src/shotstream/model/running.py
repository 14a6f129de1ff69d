"""How an opened model runs on its device: what is chosen for it, and what is asked for."""

from dataclasses import dataclass, replace

from shotstream.model.compiled import compile_blocks
from shotstream.model.fp8 import to_float8
from shotstream.model.graphs import CudaRecorder, Graphs
from shotstream.model.kernels import AUTO, pick_kernel
from shotstream.model.parts import ModelParts


@dataclass(frozen=True)
class Running:
    """What is asked for: compiled blocks (`model.compiled`), CUDA graphs (`model.graphs`), an attention by name
    (`model.kernels`), and 8-bit floats (`model.fp8`), which alone are lossy.
    """

    compiled: bool = False
    graphs: bool = False
    fp8: bool = False
    attention: str = AUTO


def make_ready(parts: ModelParts, running: Running) -> ModelParts:
    """The model as it is to run; its transformer is changed in place.

    Raises:
        InputError: something that is asked for cannot be had here.
    """
    transformer, head_dim = parts.transformer, parts.config.transformer.head_dim
    weight = transformer.patch_embedding.weight
    transformer.use(pick_kernel(weight.device, weight.dtype, head_dim, running.attention))
    if running.fp8:
        parts = to_float8(parts)
    if running.compiled:
        compile_blocks(transformer)
    graphs = Graphs(transformer, CudaRecorder(weight.device)) if running.graphs else None
    return replace(parts, graphs=graphs)
