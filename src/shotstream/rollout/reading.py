"""Captions as the transformer reads them, each encoded once."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.model.device import send
from shotstream.model.text import TextEncoder

KEPT_CAPTIONS = 16
"""Twice what a shot reads: its own caption, one for each remembered frame, and a steering."""


class CaptionReader:
    """Encodes captions and keeps the rows of the latest: those of remembered frames come again with every shot.

    A caption is encoded alone, so that kept rows are bit for bit those that would be made anew. They are kept on
    `device`, which need not be the encoder's.
    """

    def __init__(self, encoder: TextEncoder, device: torch.device) -> None:
        self._encoder, self._device = encoder, device
        self._rows: OrderedDict[str, Tensor] = OrderedDict()

    def read(self, captions: Sequence[str]) -> Float[Tensor, "s l d"]:
        """Rows of captions, as `TextEncoder.encode` gives them, on `device`."""
        rows = [self._row(caption) for caption in captions]
        while len(self._rows) > KEPT_CAPTIONS:
            self._rows.popitem(last=False)
        return torch.stack(rows)

    def _row(self, caption: str) -> Float[Tensor, "l d"]:
        if caption not in self._rows:
            self._rows[caption] = send(self._encoder.encode([caption])[0], self._device)
        self._rows.move_to_end(caption)
        return self._rows[caption]
