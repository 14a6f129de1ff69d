"""The linear maps of a transformer's blocks in another arithmetic: one seam, whatever the arithmetic is."""

from collections.abc import Callable

from torch import nn

from shotstream.model.transformer import Transformer


def replace_linears(transformer: Transformer, make: Callable[[nn.Linear], nn.Module]) -> None:
    """Replace every linear map of the blocks in place; they are nearly all of the arithmetic.

    What enters and leaves the network is left alone: patches, timesteps, captions and the head.
    """
    for name, module in list(transformer.blocks.named_modules()):
        if isinstance(module, nn.Linear):
            transformer.blocks.set_submodule(name, make(module))
