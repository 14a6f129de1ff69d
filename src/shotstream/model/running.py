"""How an opened model runs on its device: what is chosen for it, and what is asked for."""

from dataclasses import dataclass

from shotstream.model.compiled import compile_blocks
from shotstream.model.kernels import AUTO, pick_kernel
from shotstream.model.parts import ModelParts


@dataclass(frozen=True)
class Running:
    """What is asked for: compiled blocks (`model.compiled`), and an attention by name (`model.kernels`)."""

    compiled: bool = False
    attention: str = AUTO


def make_ready(parts: ModelParts, running: Running) -> ModelParts:
    """The model as it is to run; its transformer is changed in place.

    Raises:
        InputError: something that is asked for cannot be had here.
    """
    weight = parts.transformer.patch_embedding.weight
    head_dim = parts.config.transformer.head_dim
    parts.transformer.use(pick_kernel(weight.device, weight.dtype, head_dim, running.attention))
    if running.compiled:
        compile_blocks(parts.transformer)
    return parts
