"""A story as a stream: shots on request, frames as soon as their chunk is decoded, the past remembered."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.clock import Clock, no_clock
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.core.media import Frames, VideoWriter
from shotstream.core.rng import Noise, SeededNoise
from shotstream.core.spec import (
    CHUNK_LATENTS,
    CONTEXT_LATENTS,
    FPS,
    MAX_CHUNKS,
    MAX_SHOT_LATENTS,
    VideoSize,
    check_chunks,
    latents_of_chunks,
)
from shotstream.model.cache import KVCache
from shotstream.model.config import SamplerConfig
from shotstream.model.injection import latents_in_front
from shotstream.model.parts import ModelParts
from shotstream.rollout.decode import FrameDecoder
from shotstream.rollout.denoise import Sampler
from shotstream.rollout.shot import ShotInputs, ShotRollout
from shotstream.rollout.whole import WholeShotRollout
from shotstream.story.captions import compose_caption
from shotstream.story.context import FrameRef, get_selector, key_frames
from shotstream.story.history import FinishedShot, History, StoryIdentity
from shotstream.story.layout import shot_layout
from shotstream.story.script import check_text


class Story:
    """One story being made with a model. Shots are asked for one by one; each remembers frames of those before it.

    A context manager: leaving it removes a temporary history. The cache of keys and values is made once and used for
    every shot, so memory does not grow with their number.
    """

    def __init__(
        self,
        parts: ModelParts,
        global_caption: str,
        *,
        seed: int = 0,
        directory: str | Path | None = None,
        size: VideoSize | None = None,
        sampler: SamplerConfig | None = None,
        context: str | None = None,
        noise: Noise | None = None,
        clock: Clock = no_clock,
    ) -> None:
        """Begins a story, or goes on with the one in `directory`.

        Args:
            parts: the model.
            global_caption: what holds for every shot.
            seed: of all noise.
            directory: where finished shots are kept; None: a temporary directory.
            size: of the video; None: the model's own.
            sampler: how chunks are denoised; None: as the model's configuration says.
            context: which past frames are remembered (`story.context`); None: as the model's configuration says.
            noise: where noise comes from instead of `seed`.
            clock: told what the time is spent on.

        Raises:
            InputError: the caption is empty, or the directory holds another story.
        """
        sampler, context = sampler or parts.config.sampler, context or parts.config.context
        self._parts, self._seed, self._clock = parts, seed, clock
        self._global = check_text(global_caption, "the global caption")
        self._size = size or parts.config.video
        self._sampler = Sampler.from_config(sampler)
        self._select = get_selector(context)
        self._noise = noise or SeededNoise(seed)
        identity = StoryIdentity(
            self._global, seed, self._size.height, self._size.width, to_dict(sampler), parts.fingerprint, context
        )
        self.history = History.open_or_create(identity, directory)
        self._cache: KVCache | None = None
        self._current: Shot | None = None

    def shot(self, text: str, chunks: int = MAX_CHUNKS) -> "Shot":
        """Begins the next shot: an iterator over the frames of its chunks, uint8 `[n, h, w, 3]`.

        A shot that was left before its end is cut where it was left.

        Args:
            text: the shot's own caption.
            chunks: its length, 1 to 7; it can be cut earlier.

        Raises:
            InputError: the caption is empty or the length is not 1 to 7.
        """
        check_text(text, "the shot's caption")
        check_chunks(chunks)
        if self._current is not None:
            self._current.cut()
        decoder = FrameDecoder(self._parts.codec, self._clock)
        self._current = Shot(self._begin(text, chunks), decoder, self.history, text, self._seed, self._clock)
        return self._current

    def save(self, path: str | Path) -> None:
        """Writes all shots as one video.

        Raises:
            InputError: there is no shot yet, or the file cannot be written.
        """
        if self._current is not None:
            self._current.cut()
        if not len(self.history):
            raise InputError("expected a story with at least one shot, got none; make a shot first")
        with VideoWriter(path, FPS) as writer:
            for frames in self.history.all_frames():
                writer.add(frames)

    def close(self) -> None:
        """Frees the cache, and removes a temporary history."""
        self._cache = self._current = None
        self.history.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @torch.inference_mode()
    def _begin(self, text: str, chunks: int) -> Iterator[Tensor]:
        index = len(self.history)
        references = self._select(self.history.past, text, CONTEXT_LATENTS)
        remembered, latents = [r.shot for r in references], latents_of_chunks(chunks)
        layout = shot_layout(index, remembered, CONTEXT_LATENTS, latents, self._parts.config.captions)
        texts = [*(self.history.records[shot].caption for shot in layout.context_captions), text]
        captions = [
            compose_caption(self._global, shot, own)
            for shot, own in zip((*layout.context_captions, index), texts, strict=True)
        ]
        with self._clock("text"):
            embeddings = self._parts.text_encoder.encode(captions)[None]
        with self._clock("context"):
            context = self._context(references)
        negative = torch.zeros_like(embeddings[:, :1])
        inputs = ShotInputs(context, embeddings, layout, negative)
        shape = (1, CHUNK_LATENTS, *context.shape[2:])

        def noise(chunk: int, step: int) -> Tensor:
            return self._noise(index, chunk, step, shape).to(context.device)

        transformer = self._parts.transformer
        if self._sampler.order == "whole":
            return WholeShotRollout(transformer, inputs, noise, self._sampler, self._clock)
        return ShotRollout(transformer, self._empty_cache(), inputs, noise, self._sampler, self._clock)

    def _context(self, references: Sequence[FrameRef]) -> Float[Tensor, "1 f k y x"]:
        """Latents of the remembered frames, each encoded alone; zeros before the first shot."""
        device = self._parts.transformer.patch_embedding.weight.device
        if not references:
            size = (self._size.latent_height, self._size.latent_width)
            return torch.zeros(1, CONTEXT_LATENTS, self._parts.codec.latent_channels, *size, device=device)
        pixels = torch.from_numpy(self.history.read_key_frames(references)).to(device)
        return self._parts.codec.encode_frames(pixels[None]).float()

    def _empty_cache(self) -> KVCache:
        if self._cache is None:
            batch = 2 if self._sampler.guidance != 1 else 1
            pinned = latents_in_front(self._parts.config.transformer.injection, CONTEXT_LATENTS)
            size = (self._size.latent_height, self._size.latent_width)
            self._cache = self._parts.transformer.new_cache(batch, size, pinned + MAX_SHOT_LATENTS, pinned)
        self._cache.reset()
        return self._cache


class Shot(Iterator[Frames]):
    """A shot being made: each `next` gives the frames of one chunk, uint8 `[n, h, w, 3]`.

    It joins the story's history when frames are asked for after its last ones, when it is cut, or when the next shot
    begins: the last frames do not wait for the disk.
    """

    def __init__(
        self,
        rollout: Iterator[Tensor],
        decoder: FrameDecoder,
        history: History,
        text: str,
        seed: int,
        clock: Clock = no_clock,
    ) -> None:
        self.index = len(history)
        self.text = text
        self._seed, self._clock = seed, clock
        self._rollout: Iterator[Tensor] | None = rollout
        self._decoder, self._history = decoder, history
        self._frames: list[Frames] = []
        self._pixels: list[Tensor] = []

    @property
    def finished(self) -> bool:
        """Whether the shot has ended and no more frames come."""
        return self._rollout is None

    @torch.inference_mode()
    def __next__(self) -> Frames:
        latents = None if self._rollout is None else next(self._rollout, None)
        if latents is None:
            self.cut()
            raise StopIteration
        frames, pixels = self._decoder.push(latents)
        self._frames.append(frames)
        self._pixels.append(pixels)
        return frames

    def cut(self) -> None:
        """Ends the shot after the chunks made so far; a shot without any is forgotten. Twice is once."""
        if self._rollout is None:
            return
        self._rollout = None
        if self._frames:
            with self._clock("history"):
                self._history.add(self._finished())
        self._frames, self._pixels = [], []

    def _finished(self) -> FinishedShot:
        frames = np.concatenate(self._frames)
        return FinishedShot(self.index, self.text, self._seed, len(self._frames), frames, self._key_frames())

    def _key_frames(self) -> Mapping[int, np.ndarray]:
        """Exact pixels of every frame that a later shot may remember: 8 bits a channel would change its context."""
        pixels = torch.cat(self._pixels, 1)[0]
        wanted = key_frames(len(pixels), CONTEXT_LATENTS)
        return {index: pixels[index].float().cpu().numpy() for index in wanted}
