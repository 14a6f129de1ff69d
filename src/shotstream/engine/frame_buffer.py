"""Frames of a shot being made, until it is finished: in memory, and of a long shot on disk."""

import math
import tempfile
from pathlib import Path
from typing import IO

import torch
from jaxtyping import Shaped
from torch import Tensor

from shotstream.core.atomic_files import writing


class FrameBuffer:
    """Frames in the order in which they were made; `store[i]` is one of them, on the host.

    What is as long as a plain shot stays where it was made, so that nothing waits for it to be moved. All that follows
    goes to a temporary file, so that memory does not grow with the length of a shot.
    """

    def __init__(self, in_memory: int) -> None:
        """Keep the first `in_memory` frames, the length of a plain shot, where they were made."""
        self._limit, self._count = in_memory, 0
        self._first: list[Tensor] = []
        self._rest: IO[bytes] | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, frames: Shaped[Tensor, "f ..."]) -> None:
        """Append frames, all of one size and type.

        Raises:
            InputError: the disk for temporary files is full.
        """
        self._count += len(frames)
        if self._count <= self._limit:
            self._first.append(frames)
            return
        with writing(Path(tempfile.gettempdir())):
            self._rest = self._rest or tempfile.TemporaryFile(prefix="shotstream-")  # noqa: SIM115 (until `close`)
            self._rest.seek(0, 2)
            self._rest.write(frames.cpu().contiguous().view(torch.uint8).numpy().tobytes())

    def __getitem__(self, index: int) -> Shaped[Tensor, "..."]:
        """Return a frame as it was added."""
        for frames in self._first:
            if index < len(frames):
                return frames[index].cpu()
            index -= len(frames)
        return self._read(index)

    def _read(self, index: int) -> Tensor:
        assert self._rest is not None, "a frame that was added"
        like = self._first[0]
        shape = like.shape[1:]
        size = math.prod(shape) * like.element_size()
        self._rest.seek(index * size)
        return torch.frombuffer(bytearray(self._rest.read(size)), dtype=like.dtype).view(shape)

    def close(self) -> None:
        """Free the frames."""
        self._first.clear()
        if self._rest is not None:
            self._rest.close()
