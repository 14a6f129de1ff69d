"""Stop a story whose numbers are not finite, instead of showing a black video."""

import math

from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError


def check_chunk(latents: Float[Tensor, "b t k y x"], pixels: Float[Tensor, "b f c h w"]) -> None:
    """Check that a chunk is finite, and otherwise name the first network whose result was not.

    A sum is finite only where all its values are; it needs one pass over them and no copy.

    Raises:
        InputError: latents or pixels hold NaN or infinity.
    """
    for place, values in (("the latents of the transformer", latents), ("the pixels of the decoder", pixels)):
        if not math.isfinite(values.float().sum().item()):
            raise InputError(
                f"this chunk is not finite: NaN or infinity came first in {place}; check the weights with "
                "'shotstream weights inspect', or run in float32 and without --fp8"
            )
