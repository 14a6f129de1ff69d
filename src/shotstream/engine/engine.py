"""The engine as a policy sees it: text, noise, velocities, denoised chunks, and commits to the KV cache."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.profiling import Clock, no_profiler
from shotstream.engine.cached_transformer import CachedTransformer
from shotstream.engine.call import Call, Captions, Text
from shotstream.engine.sampler import Latents, Sampler
from shotstream.model.blocks import TextKeys
from shotstream.model.frame_cache import FrameCache
from shotstream.model.kv_cache import KVCache
from shotstream.model.rotary import make_text_rotary, rotate
from shotstream.model.transformer import Transformer

Encode = Callable[[Sequence[str]], Float[Tensor, "s l e"]]
"""Returns the embeddings of prompts, with rows of zeros behind each."""
TokenSpans = Callable[[Sequence[str]], list[slice]]
"""Returns which tokens each piece of a prompt has (`TextEncoder.token_spans`)."""
FrameNoise = Callable[[range, int], Latents]
"""Returns the noise of latents, by their numbers in the video, before a denoising step."""

KEPT_CHUNK_ENDS = 64
"""How many chunks back the last latent of a chunk is kept, for networks that carry it; no window is as long."""


class Engine(CachedTransformer):
    """Interface that a policy calls to make one video: forwards over its cache, its prompts, and its noise.

    `noise(frames, step)` returns the noise of whole chunks.
    """

    def __init__(
        self,
        transformer: Transformer,
        encode: Encode,
        sampler: Sampler,
        noise: FrameNoise,
        latent_size: tuple[int, int],
        kv_cache: KVCache | FrameCache | None = None,
        *,
        negative_prompts: bool = True,
        negative_prompt: str = "",
        token_spans: TokenSpans | None = None,
        low_noise: tuple[Transformer, float] | None = None,
        clock: Clock = no_profiler,
    ) -> None:
        """Run a transformer for one video.

        Args:
            transformer: makes the forwards.
            encode: embeds prompts.
            sampler: how chunks are denoised; with guidance every cache has two rows.
            noise: of latents by their numbers in the video.
            latent_size: height and width of latents.
            kv_cache: empty; None: without a cache.
            negative_prompts: whether the branch without guidance reads a negative prompt; otherwise it reads zeros, as
                models do that were trained with them.
            negative_prompt: what that branch reads in place of the policy's; empty: the policy's, or zeros.
            token_spans: finds the tokens of the pieces of a prompt, for policies that ask for them.
            low_noise: a second transformer, and the noise level below which it makes the forwards.
            clock: told what the time is spent on.

        Raises:
            InputError: there are two transformers, and a cache, which holds the keys of one.
        """
        super().__init__(transformer, sampler, latent_size, kv_cache, low_noise=low_noise)
        self.noise = noise
        self._encode, self._token_spans, self._clock = encode, token_spans, clock
        self._negative_prompts, self._negative_prompt = negative_prompts, negative_prompt
        self._latest: tuple[tuple[str, ...], Text] | None = None
        self._chunk_ends: dict[int, tuple[int, Tensor]] = {}

    @property
    def text_length(self) -> int:
        """Return how many tokens one prompt has, padding included."""
        return self._transformer.config.text_len

    def text(self, prompts: Sequence[str], negative: str = "") -> Text:
        """Return prompts that `FrameLayout.captions` counts, each of the encoder's full length, padding included.

        The same prompts as at the last call cost nothing.
        """
        asked = (*prompts, negative)
        if self._latest is None or self._latest[0] != asked:
            rows = self._embed(prompts)
            without = self._embed([negative] * len(prompts), negative=True) if self.sampler.branches == 2 else None
            self._latest = asked, self.project(rows[None], None if without is None else without[None])
        return self._latest[1]

    def pieced_text(self, pieces: Sequence[str], negative: str = "") -> Text:
        """Return the prompt that pieces make, encoded as one; its `spans` are their tokens.

        Raises:
            InputError: the prompt is longer than the network reads.
        """
        assert self._token_spans is not None, "a policy that asks for pieces is given what finds their tokens"
        text, spans = self.text(["".join(pieces)], negative), self._token_spans(pieces)
        return replace(text, spans=tuple(spans), padding=slice(spans[-1].stop, self.text_length))

    def joined_text(
        self,
        prompts: Sequence[str],
        negative: str = "",
        *,
        trim: bool = False,
        total: int | None = None,
        positions: Sequence[int] | None = None,
        padding_position: int = 0,
    ) -> Text:
        """Return prompts joined to one sequence, whose `spans` and `padding` are the tokens that `Call.reads` names.

        Args:
            prompts: one behind the other.
            negative: takes the place of each of them in the branch without guidance.
            trim: leaves out the padding of each.
            total: tokens of the whole, filled up with zeros; None: as many as there are.
            positions: rotary position of each prompt's keys; None: they are not rotated.
            padding_position: that of the padding, where the prompts have positions.

        Raises:
            InputError: the prompts have more tokens than `total`.
        """
        sequence, lengths = self._join(self._embed(prompts), trim, total)
        without = None
        if self.sampler.branches == 2:
            without, lengths_without = self._join(
                self._embed([negative] * len(prompts), negative=True), trim, total or sequence.shape[1]
            )
        ends = torch.tensor([0, *lengths]).cumsum(0).tolist()
        spans = tuple(slice(start, stop) for start, stop in pairwise(ends))
        text = replace(self.project(sequence[:, None], None if without is None else without[:, None]), spans=spans)
        text = replace(text, padding=slice(ends[-1], sequence.shape[1]))
        if positions is None:
            return text
        keys = self._turn(text.keys, lengths, positions, padding_position)
        if text.negative is None:
            return replace(text, keys=keys)
        return replace(
            text, keys=keys, negative=self._turn(text.negative, lengths_without, positions, padding_position)
        )

    def relevance(self, frames: Sequence[int], text: Text) -> Float[Tensor, "f"]:
        """Return how well latents in a cache by number answer a text: their mean score over layers, heads and tokens.

        A score is the product of a key of the text in cross-attention and a key of the latent in self-attention, as it
        is held. Source: MemFlow (arXiv 2512.14699).
        """
        queries = torch.stack([keys[0].float().mean((0, 1)) for keys, _ in text.keys])
        keys = cast(FrameCache, self.kv_cache).mean_keys(frames)
        return (queries[:, None] * keys).sum(-1).mean((0, 2))

    def denoise(self, call: Call) -> Latents:
        """Return the clean latents of a call, from their noise, by the sampler."""
        with self._clock("denoise"):
            return self.sampler.denoise(
                lambda x, sigma: self.velocity(call, x, sigma), lambda step: self.noise(call.frames, step)
            )

    def commit(self, call: Call, clean: Latents) -> None:
        """Write the keys and values of clean latents to the cache, by a forward at noise level 0."""
        with self._clock("commit"):
            super().commit(call, clean)
        for index, frame in enumerate(call.frames):
            if (frame + 1) % self.chunk_latents == 0:
                self._chunk_ends[frame] = int(call.layout.shots[0, index]), clean[:1, index]
        for frame in list(self._chunk_ends)[:-KEPT_CHUNK_ENDS]:
            del self._chunk_ends[frame]

    def _previous(self, call: Call, x: Latents) -> Latents:
        """Return the last latent of the chunk before for every latent; zeros where its shot had none yet."""
        rows = []
        for index, frame in enumerate(call.frames):
            shot, latent = self._chunk_ends.get(frame - frame % self.chunk_latents - 1, (-1, x[:1, 0]))
            known = shot == int(call.layout.shots[0, index])
            rows.append(latent if known else torch.zeros_like(latent))
        return torch.stack(rows, 1)

    def _embed(self, prompts: Sequence[str], *, negative: bool = False) -> Float[Tensor, "s l e"]:
        with self._clock("text"):
            if negative and self._negative_prompt:
                return self._encode([self._negative_prompt]).expand(len(prompts), -1, -1)
            if negative and not self._negative_prompts:
                return torch.zeros_like(self._encode([""])).expand(len(prompts), -1, -1)
            return self._encode(prompts)

    def _join(self, rows: Float[Tensor, "s l e"], trim: bool, total: int | None) -> tuple[Tensor, list[int]]:
        """Return prompts as one sequence `[1, l, e]`, and how many tokens each has in it."""
        ends = rows.any(-1).long() * torch.arange(1, rows.shape[1] + 1, device=rows.device)
        lengths = ends.amax(1).tolist() if trim else [rows.shape[1]] * len(rows)
        sequence = torch.cat([row[:length] for row, length in zip(rows, lengths, strict=True)])
        missing = 0 if total is None else total - len(sequence)
        if missing < 0:
            raise InputError(f"expected prompts of {total} tokens in all, got {len(sequence)}; shorten them")
        return torch.nn.functional.pad(sequence, (0, 0, 0, missing))[None], lengths

    def _turn(self, keys: Captions, lengths: Sequence[int], positions: Sequence[int], padding: int) -> TextKeys:
        """Return the keys of joined prompts at their rotary positions."""
        assert not isinstance(keys, Tensor), "an engine's prompts are projected"
        tokens = keys[0][0].shape[2]
        every = [position for position, length in zip(positions, lengths, strict=True) for _ in range(length)]
        every += [padding] * (tokens - len(every))
        rotary = make_text_rotary(every, self._transformer.config.head_dim, keys[0][0].device)
        return [(rotate(k[:, 0], rotary)[:, None], v) for k, v in keys]
