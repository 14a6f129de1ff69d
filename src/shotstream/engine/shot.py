"""A shot being made, and directed while it is."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.profiling import Clock, no_profiler
from shotstream.core.spec import ShotShape
from shotstream.core.video import Frames
from shotstream.engine.callbacks import ChunkInfo, OnChunk
from shotstream.engine.decoder import FrameDecoder
from shotstream.engine.frame_buffer import FrameBuffer
from shotstream.engine.maker import Rollout
from shotstream.story.cast import CastMember
from shotstream.story.history import FinishedShot, History
from shotstream.story.selectors import PastShot, kept_frames
from shotstream.story.shot_spec import ShotSpec, Steer, check_text


@dataclass(frozen=True)
class HeldChunk:
    """A chunk that can still be dropped: its frames, their pixels in [-1, 1], and the decoder as it was before."""

    frames: Frames
    pixels: Float[Tensor, "f c h w"]
    decoder: Any


class Shot(Iterator[Frames]):
    """A shot being made: each `next` gives the frames of one chunk, uint8 `[n, h, w, 3]`.

    Between two chunks it can be steered or cut. Its frames are encoded for the history while the next ones are made.
    It joins the history when frames are asked for after its last ones, when it is cut, or when the next shot begins:
    the last frames do not wait for the disk.
    """

    def __init__(
        self,
        rollout: Rollout,
        decoder: FrameDecoder,
        history: History,
        spec: ShotSpec,
        shape: ShotShape,
        clock: Clock = no_profiler,
        held: int = 0,
        on_chunk: OnChunk | None = None,
        cast: tuple[CastMember, ...] = (),
        check: Callable[[str, int], object] = lambda *_: None,
    ) -> None:
        """Begin a shot of which the `held` latest chunks can be dropped, and which knows the members of the `cast`.

        `shape` is of the model's shots. `on_chunk` is told of every chunk, and `check` of every caption that it is
        steered to and of its index.
        """
        self.index = len(history)
        self.chunks, self.frames = 0, 0
        self._spec, self._shape, self._cast, self._clock = spec, shape, cast, clock
        self._rollout: Rollout | None = rollout
        self._decoder, self._history = decoder, history
        self._steers: dict[int, str] = {}
        self._film, self._pixels = history.film(), FrameBuffer(shape.max_frames)
        self._held: deque[HeldChunk] = deque()
        self._on_chunk, self._check = on_chunk, check
        self._most_held = held if rollout.revisable else 0

    @property
    def finished(self) -> bool:
        """Return whether the shot has ended and no more frames come."""
        return self._rollout is None

    @property
    def text(self) -> str:
        """Return the caption that the next chunk is made under."""
        return self._steers[max(self._steers)] if self._steers else self._spec.text

    @torch.inference_mode()
    def __next__(self) -> Frames:
        latents = None if self._rollout is None else next(self._rollout, None)
        if latents is None:
            self.cut()
            raise StopIteration
        state = self._decoder.state() if self._most_held else None
        frames, pixels = self._decoder.push(latents)
        self._held.append(HeldChunk(frames, pixels[0], state))
        self._keep_all_but(self._most_held)
        self.chunks += 1
        self.frames += len(frames)
        if self._on_chunk is not None:
            self._on_chunk(ChunkInfo(self.index, self.chunks - 1, self._spec.chunks, frames))
        return frames

    @property
    def held(self) -> int:
        """Return the number of latest chunks that can be dropped."""
        return len(self._held)

    @torch.inference_mode()
    def drop(self, chunks: int) -> None:
        """Forget the latest chunks, as if they had not been made: their frames, and steers that came after them.

        What is asked for next are other frames in their place.

        Raises:
            InputError: fewer chunks can be dropped (`held`), the shot has ended, or the model makes a shot whole.
        """
        if not 0 <= chunks <= self.held:
            raise InputError(f"expected to drop at most {self.held} chunks, got {chunks}; the others are kept for good")
        if not chunks:
            return
        self._running().drop(chunks)
        for _ in range(chunks):
            dropped = self._held.pop()
            self.frames -= len(dropped.frames)
            self._decoder.restore(dropped.decoder)
        self.chunks -= chunks
        text, self._steers = self.text, {at: text for at, text in self._steers.items() if at <= self.chunks}
        if text != self.text:
            self._running().steer(self.text)

    @torch.inference_mode()
    def steer(self, text: str) -> None:
        """Give the shot another caption from its next chunk on; frames that were handed out do not change.

        Cached chunks of the shot are committed again under the new caption, as if they had been made under it.

        Raises:
            InputError: the caption is empty, no chunk is to come, or the model makes a shot whole.
        """
        check_text(text, "the caption to steer to")
        rollout = self._running()
        if not rollout.chunks_left:
            raise InputError("expected a shot with a chunk to come, got one at its end; begin another shot")
        self._check(text, self.index)
        rollout.steer(text)
        self._steers[self.chunks] = text

    def cut(self) -> None:
        """End the shot after the chunks made so far; forget a shot without any. Calling it again does nothing."""
        if self._rollout is None:
            return
        self._rollout.cut()
        self._rollout = None
        if not self.chunks:
            self._film.abandon()
            return
        self._keep_all_but(0)
        with self._clock("history"):
            self._history.add(self._finished())
        self._pixels.close()

    def forget(self) -> None:
        """End the shot as if it had never been begun."""
        if self._rollout is not None:
            self._rollout = None
            self._film.abandon()
            self._pixels.close()

    def _running(self) -> Rollout:
        if self._rollout is None:
            raise InputError("expected a shot that is being made, got one that has ended; begin another shot")
        return self._rollout

    def _keep_all_but(self, held: int) -> None:
        """Keep chunks for good, oldest first, until only so many can be dropped."""
        while len(self._held) > held:
            chunk = self._held.popleft()
            self._film.add(chunk.frames)
            self._pixels.add(chunk.pixels)

    def _finished(self) -> FinishedShot:
        steers = tuple(Steer(at, text) for at, text in self._steers.items() if at < self.chunks)
        made = replace(self._spec, chunks=self.chunks, steers=steers)
        return FinishedShot(self.index, made, self._film, self._key_frames(made), self._cast)

    def _key_frames(self, made: ShotSpec) -> Mapping[int, np.ndarray]:
        """Return exact pixels of every frame that may become context: 8 bits a channel would change it."""
        shot = PastShot.of(self.index, len(self._pixels), made)
        kept = kept_frames(shot, self._shape.context_latents)
        return {index: self._pixels[index].float().numpy() for index in kept}
