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
from shotstream.core.spec import CHUNK_LATENTS
from shotstream.engine.call import Call, Text, as_sigmas
from shotstream.engine.sampler import Latents, Sampler
from shotstream.model.blocks import TextKeys, TokenPositions
from shotstream.model.context_injection import carry_context, carry_previous
from shotstream.model.frame_cache import FrameCache, StagedFrames
from shotstream.model.kv_cache import KVCache, Staged
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


class Engine:
    """Forwards of one video: what a policy calls. Guidance, noise levels and placement are worked out here.

    `sampler` is how chunks are denoised; `noise(frames, step)` gives
    the noise of whole chunks.
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
            token_spans: finds the tokens of the pieces of a prompt, for policies that ask for them.
            low_noise: a second transformer, and the noise level below which it makes the forwards.
            clock: told what the time is spent on.

        Raises:
            InputError: there are two transformers, and a cache, which holds the keys of one.
        """
        if low_noise is not None and kv_cache is not None:
            raise InputError(
                "expected a policy that makes all shots at once for a model of two transformers; choose one"
            )
        self._low_noise = low_noise
        self._token_spans = token_spans
        self._cache, self.sampler, self.noise = kv_cache, sampler, noise
        self._transformer, self._encode, self._size, self._clock = transformer, encode, latent_size, clock
        self._guided = sampler.branches == 2
        self._negative_prompts = negative_prompts
        self._latest: tuple[tuple[str, ...], Text] | None = None
        self._chunk_ends: dict[int, tuple[int, Tensor]] = {}
        self._placed: tuple[Call | None, dict[tuple[int, bool], TokenPositions]] = (None, {})

    @property
    def layers(self) -> int:
        """Return how many layers the network has, for plans that hold for some of them."""
        return self._transformer.config.num_layers

    @property
    def text_length(self) -> int:
        """Return how many tokens one prompt has, padding included."""
        return self._transformer.config.text_len

    @property
    def kv_cache(self) -> KVCache | FrameCache:
        """Return the cache of a policy that has one."""
        assert self._cache is not None, "a policy without a cache commits nothing"
        return self._cache

    def text(self, prompts: Sequence[str], negative: str = "") -> Text:
        """Return prompts that `FrameLayout.captions` counts, each of the encoder's full length, padding included.

        The same prompts as at the last call cost nothing.
        """
        asked = (*prompts, negative)
        if self._latest is None or self._latest[0] != asked:
            rows = self._embed(prompts)
            without = self._embed([negative] * len(prompts), negative=True) if self._guided else None
            self._latest = asked, self._keys(rows[None], None if without is None else without[None])
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
        if self._guided:
            without, lengths_without = self._join(
                self._embed([negative] * len(prompts), negative=True), trim, total or sequence.shape[1]
            )
        ends = torch.tensor([0, *lengths]).cumsum(0).tolist()
        spans = tuple(slice(start, stop) for start, stop in pairwise(ends))
        text = replace(self._keys(sequence[:, None], None if without is None else without[:, None]), spans=spans)
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

    def velocity(self, call: Call, x: Latents, sigma: float | Float[Tensor, "f"]) -> Latents:
        """Return the velocity of noisy latents; `sigma` is one noise level or one a latent. The cache stays as it is.

        A guided sampler's result is unguided + guidance (guided - unguided), at the noise levels that it guides.
        """
        sigmas = as_sigmas(sigma, len(call.frames))
        scales = [self.sampler.guidance_at(level) for level in sigmas.tolist()]
        if all(scale is None for scale in scales):
            return self._forward(call, x, sigmas, call.text.keys)
        guided, unguided = self._both(call, x, sigmas)
        scale = torch.tensor([1.0 if one is None else one for one in scales], dtype=x.dtype, device=x.device)
        return unguided + scale[:, None, None, None] * (guided - unguided)

    def denoise(self, call: Call) -> Latents:
        """Return the clean latents of a call, from their noise, by the sampler."""
        with self._clock("denoise"):
            return self.sampler.denoise(
                lambda x, sigma: self.velocity(call, x, sigma), lambda step: self.noise(call.frames, step)
            )

    @torch.no_grad()
    def commit(self, call: Call, clean: Latents) -> None:
        """Write the keys and values of clean latents to the cache, by a forward at noise level 0."""
        with self._clock("commit"):
            staged = self._stage(call, write=True)
            text = call.text.both if self._guided else call.text.keys
            x = torch.cat([clean] * (2 if self._guided else 1))
            self._run(call, x, as_sigmas(0.0, clean.shape[1]), text, staged)
            staged.commit()
        for index, frame in enumerate(call.frames):
            if (frame + 1) % CHUNK_LATENTS == 0:
                self._chunk_ends[frame] = int(call.layout.shots[0, index]), clean[:1, index]
        for frame in list(self._chunk_ends)[:-KEPT_CHUNK_ENDS]:
            del self._chunk_ends[frame]

    def _both(self, call: Call, x: Latents, sigmas: Tensor) -> tuple[Latents, Latents]:
        """Return the guided and the unguided velocity: one forward of two rows, or two where they read differently."""
        if not call.guided_reads_only:
            guided, unguided = self._forward(call, torch.cat([x, x]), sigmas, call.text.both).chunk(2)
            return guided, unguided
        assert self._cache is None, "branches go alone only without a cache"
        assert call.text.negative is not None, "guidance needs a negative prompt"
        unguided = self._forward(call, x, sigmas, call.text.negative, reads=False)
        return self._forward(call, x, sigmas, call.text.keys), unguided

    def _forward(self, call: Call, x: Tensor, sigmas: Tensor, text: TextKeys, *, reads: bool = True) -> Tensor:
        staged = None if self._cache is None else self._stage(call)
        return self._run(call, x, sigmas, text, staged, reads=reads)

    def _stage(self, call: Call, *, write: bool = False) -> Staged | StagedFrames:
        return self.kv_cache.see(call.frames, call.layout.positions[0].tolist(), call.keys, write=write)

    def _run(
        self,
        call: Call,
        x: Tensor,
        sigmas: Tensor,
        text: TextKeys,
        staged: Staged | StagedFrames | None,
        *,
        reads: bool = True,
    ) -> Tensor:
        config = self._transformer.config
        latents = carry_context(config.injection, x[:, :0], x)
        if config.previous:
            latents = carry_previous(latents, self._previous(call, x), config.in_dim)
        placement = self._place(call, len(x), reads)
        network, text = self._expert(float(sigmas.max()), text)
        levels = sigmas.to(x.device, torch.float32).expand(len(x), -1)
        return network(latents, levels, text, placement, staged, call.sees or ()).to(x.dtype)

    def _previous(self, call: Call, x: Latents) -> Latents:
        """Return the last latent of the chunk before for every latent; zeros where its shot had none yet."""
        rows = []
        for index, frame in enumerate(call.frames):
            shot, latent = self._chunk_ends.get(frame - frame % CHUNK_LATENTS - 1, (-1, x[:1, 0]))
            known = shot == int(call.layout.shots[0, index])
            rows.append((latent if known else torch.zeros_like(latent)).expand(len(x), -1, -1, -1))
        return torch.stack(rows, 1)

    def _expert(self, sigma: float, text: TextKeys) -> tuple[Transformer, TextKeys]:
        """Return the transformer that predicts at a noise level, and its part of the text."""
        if self._low_noise is None:
            return self._transformer, text
        low, boundary = self._low_noise
        return (low, text[self.layers :]) if sigma < boundary else (self._transformer, text[: self.layers])

    def _place(self, call: Call, batch: int, reads: bool) -> TokenPositions:
        """Return the placement of a call, made once for all its steps."""
        if self._placed[0] is not call:
            self._placed = (call, {})
        made = self._placed[1]
        if (batch, reads) not in made:
            placement = self._transformer.make_positions(call.layout.expand(batch), self._size, call.diagonal or (0,))
            rotary = None
            if call.text_positions is not None:
                tokens = placement.rotary.cos.shape[1] // len(call.text_positions)
                every = [position for position in call.text_positions for _ in range(tokens)]
                rotary = make_text_rotary(every, self._transformer.config.head_dim, placement.rotary.cos.device)
            made[batch, reads] = replace(placement, reads=call.reads if reads else None, text_rotary=rotary)
        return made[batch, reads]

    def _embed(self, prompts: Sequence[str], *, negative: bool = False) -> Float[Tensor, "s l e"]:
        with self._clock("text"):
            if negative and not self._negative_prompts:
                return torch.zeros_like(self._encode([""])).expand(len(prompts), -1, -1)
            return self._encode(prompts)

    def _keys(self, text: Float[Tensor, "1 s l e"], negative: Float[Tensor, "1 s l e"] | None) -> Text:
        networks = [self._transformer, *([] if self._low_noise is None else [self._low_noise[0]])]

        def read(rows: Tensor) -> TextKeys:
            return [pair for network in networks for pair in network.project_text(rows)]

        return Text(read(text), None if negative is None else read(negative))

    def _join(self, rows: Float[Tensor, "s l e"], trim: bool, total: int | None) -> tuple[Tensor, list[int]]:
        """Return prompts as one sequence `[1, l, e]`, and how many tokens each has in it."""
        ends = rows.any(-1).long() * torch.arange(1, rows.shape[1] + 1, device=rows.device)
        lengths = ends.amax(1).tolist() if trim else [rows.shape[1]] * len(rows)
        sequence = torch.cat([row[:length] for row, length in zip(rows, lengths, strict=True)])
        missing = 0 if total is None else total - len(sequence)
        if missing < 0:
            raise InputError(f"expected prompts of {total} tokens in all, got {len(sequence)}; shorten them")
        return torch.nn.functional.pad(sequence, (0, 0, 0, missing))[None], lengths

    def _turn(self, keys: TextKeys, lengths: Sequence[int], positions: Sequence[int], padding: int) -> TextKeys:
        """Return the keys of joined prompts at their rotary positions."""
        tokens = keys[0][0].shape[2]
        every = [position for position, length in zip(positions, lengths, strict=True) for _ in range(length)]
        every += [padding] * (tokens - len(every))
        rotary = make_text_rotary(every, self._transformer.config.head_dim, keys[0][0].device)
        return [(rotate(k[:, 0], rotary)[:, None], v) for k, v in keys]
