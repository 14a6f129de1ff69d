"""Encode each caption once."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.model.device import send
from shotstream.model.text_encoder import TextEncoder

KEPT_CAPTIONS = 16
"""Twice what a shot needs: its own caption, one for each context frame, and a steering."""
KEPT_DRAFTS = 8
"""The latest drafts of two who write, each for the shot being made and for the next one, and those before."""


class TextCache:
    """Encodes captions and keeps the embeddings of the latest: those of context frames come again with every shot.

    A caption is encoded alone, so that kept rows are bit for bit those that would be made anew. They are kept on
    `device`, which need not be the encoder's. Drafts, which may never be read, are kept apart and push nothing out.
    """

    def __init__(self, encoder: TextEncoder, device: torch.device) -> None:
        self._encoder, self._device = encoder, device
        self._rows: OrderedDict[str, Tensor] = OrderedDict()
        self._drafts: OrderedDict[str, Tensor] = OrderedDict()

    def read(self, captions: Sequence[str]) -> Float[Tensor, "s l d"]:
        """Return the embeddings of captions, as `TextEncoder.encode` gives them, on `device`."""
        rows = [self._row(caption) for caption in captions]
        _keep_latest(self._rows, KEPT_CAPTIONS)
        return torch.stack(rows)

    def prepare(self, captions: Sequence[str]) -> None:
        """Encode captions that may be needed next, so that nothing is left to encode then."""
        for caption in captions:
            if caption not in self._rows:
                self._drafts[caption] = self._take(caption)
        _keep_latest(self._drafts, KEPT_DRAFTS)

    def _row(self, caption: str) -> Float[Tensor, "l d"]:
        if caption not in self._rows:
            self._rows[caption] = self._take(caption)
        self._rows.move_to_end(caption)
        return self._rows[caption]

    def _take(self, caption: str) -> Float[Tensor, "l d"]:
        """Return the embedding of a draft, which is a caption from now on, or a new one."""
        rows = self._drafts.pop(caption, None)
        return send(self._encoder.encode([caption])[0], self._device) if rows is None else rows


def _keep_latest(rows: OrderedDict[str, Tensor], most: int) -> None:
    while len(rows) > most:
        rows.popitem(last=False)
