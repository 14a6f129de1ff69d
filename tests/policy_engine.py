"""Engines over tiny random networks for tests of policies: traces of what is seen, and a dense mask to compare with."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shotstream.core.rng import derive_seed
from shotstream.core.spec import PAPER_SHOT
from shotstream.core.types import FrameLayout
from shotstream.engine.engine import Engine
from shotstream.engine.policy import Policy
from shotstream.engine.sampler import Sampler
from shotstream.engine.video_plan import Video, VideoNoise, plan_shots
from shotstream.model.attention_kernels import Kernel
from shotstream.model.config import TransformerConfig
from shotstream.model.rotary import BASE
from shotstream.model.schedule import add_noise, clean_from_velocity
from shotstream.model.transformer import Transformer
from shotstream.story.shot_spec import ShotSpec

SIZE = (4, 6)
TOKENS = 6
FEW = Sampler("few_step", (1.0, 0.6))


def make_transformer(layers: int = 2, **changes: object) -> Transformer:
    """Return a tiny random network in float64."""
    torch.manual_seed(0)
    shape = {"dim": 24, "ffn_dim": 32, "num_heads": 2, "in_dim": 4, "out_dim": 4, "freq_dim": 16, "text_dim": 10}
    config = TransformerConfig(num_layers=layers, text_len=5, **{**shape, **changes})  # type: ignore[arg-type]
    return Transformer(config).double().eval()


def seeded_noise(shot: int, chunk: int, step: int, shape: Sequence[int]) -> Tensor:
    """Return noise in float64 that depends on the shot, the chunk and the step."""
    generator = torch.Generator().manual_seed(derive_seed(shot, chunk, step))
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float64)


def encode(prompts: Sequence[str]) -> Tensor:
    """Return random rows that depend on each prompt, as long as it has words, behind them zeros."""
    rows = torch.zeros(len(prompts), 5, 10, dtype=torch.float64)
    for row, prompt in zip(rows, prompts, strict=True):
        words = min(5, len(prompt.split()))
        row[:words] = torch.randn(words, 10, generator=torch.Generator().manual_seed(derive_seed(prompt)))
    return rows


def make_shots(*chunks: int) -> list[ShotSpec]:
    """Return shots of these lengths, each with a caption of its own."""
    return [ShotSpec(f"shot number {index}", length, extend=True) for index, length in enumerate(chunks)]


def make_engine(
    policy: Policy, transformer: Transformer, shots: Sequence[ShotSpec], sampler: Sampler = FEW
) -> tuple[Video, Engine]:
    """Return a video of these shots and the engine that makes it."""
    cache = policy.spec.new_cache(transformer, sampler.branches, SIZE)
    noise = VideoNoise((transformer.config.in_dim, *SIZE), torch.device("cpu"))
    video = Video("A fox.", noise.watch(plan_shots(shots, seeded_noise, PAPER_SHOT)))
    return video, Engine(transformer, encode, sampler, noise, SIZE, cache)


@dataclass(frozen=True)
class Seen:
    """What one forward saw: noise level of its first latent, its own latents, and every latent with its position.

    `twice` are those that were among the keys twice.
    """

    sigma: float
    frames: tuple[int, ...]
    positions: dict[int, int]
    twice: tuple[int, ...] = ()


class TracingTransformer(Transformer):
    """Writes the number of every latent into its values, and a unit key turned to its position; returns no velocity.

    The noise of `trace` is the number of each latent, so that it is what every state on the way to a clean one holds.
    """

    def __init__(self) -> None:
        shape = {"dim": 768, "ffn_dim": 8, "num_heads": 1, "in_dim": 1, "out_dim": 1, "freq_dim": 16, "text_dim": 10}
        super().__init__(TransformerConfig(num_layers=1, text_len=5, **shape))  # type: ignore[arg-type]
        self.seen: list[Seen] = []

    def forward(self, latents, sigmas, text, placement, staged=None, plan=()):  # type: ignore[no-untyped-def] # noqa: ARG002
        """Record what is seen; the velocity is zero, so that every clean estimate is the noise."""
        own = latents[0, :, 0, 0, 0].round().int()
        angles = torch.complex(placement.rotary.cos, placement.rotary.sin)
        k = torch.view_as_real(angles).flatten(-2).expand(1, -1, 1, -1)
        v = own.repeat_interleave(TOKENS)[None, :, None, None].expand_as(k)
        if staged is not None:
            k, v = staged.extend(0, k, v.float())
        positions = {int(v[0, at, 0, 0]): self._position(k[0, at, 0]) for at in range(0, k.shape[1], TOKENS)}
        times = Counter(v[0, ::TOKENS, 0, 0].int().tolist())
        twice = tuple(sorted(latent for latent, count in times.items() if count == 2))
        self.seen.append(Seen(float(sigmas[0, 0]), tuple(own.tolist()), positions, twice))
        return torch.zeros_like(latents)

    def _position(self, key: Tensor) -> int:
        """Return the temporal position of a key, from the slowest channel of its time axis."""
        channels = len(key) // 2
        slowest = channels - 2 * (channels // 3) - 1
        frequency = BASE ** -(2 * slowest / (2 * (slowest + 1)))
        return round(math.atan2(float(key[2 * slowest + 1]), float(key[2 * slowest])) / frequency)


def trace(policy: Policy, *chunks: int, sampler: Sampler = FEW) -> list[Seen]:
    """Return what every forward saw, in order, while a policy made shots of these lengths."""
    transformer = TracingTransformer().eval()
    cache = policy.spec.new_cache(transformer, 1, SIZE)

    def numbers(frames: range, step: int) -> Tensor:  # noqa: ARG001
        return torch.tensor(frames).float()[None, :, None, None, None].expand(1, -1, 1, *SIZE)

    video = Video("A fox.", plan_shots(make_shots(*chunks), seeded_noise, PAPER_SHOT))
    run = Engine(transformer, lambda prompts: encode(prompts).float(), sampler, numbers, SIZE, cache)
    with torch.inference_mode():
        list(policy.rollout(video, run))
    return transformer.seen


def dense_velocity(
    transformer: Transformer,
    latents: Tensor,
    sigmas: Sequence[float],
    layout: FrameLayout,
    text: Tensor,
    mask: Tensor,
) -> Tensor:
    """Return the velocity of a whole sequence without a cache, with a dense mask `[f, f]` of who sees whom in latents.

    `mask` may be numbers: how often a latent is among the keys. `text` are embeddings `[1, s, l, e]` of separate
    prompts.
    """
    tokens = mask.double().repeat_interleave(TOKENS, 0).repeat_interleave(TOKENS, 1).log()

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = torch.einsum("bnhd,bmhd->bhnm", q, k) / math.sqrt(q.shape[-1])
        if k.shape[1] == len(tokens):
            scores = scores + tokens
        return torch.einsum("bhnm,bmhd->bnhd", scores.softmax(-1), v)

    before = transformer.kernel
    transformer.use(Kernel("dense", attend))
    try:
        return transformer(latents, torch.tensor([list(sigmas)]), text, transformer.make_positions(layout, SIZE))
    finally:
        transformer.use(before)


def dense_chunk(
    transformer: Transformer,
    run: Engine,
    frames: range,
    before: Tensor,
    layout: FrameLayout,
    text: Tensor,
    mask: Tensor,
) -> Tensor:
    """Return a chunk denoised behind clean latents with a dense mask (`dense_velocity`), at the levels of `FEW`.

    `layout` and `mask` are of `before` and the chunk.
    """
    x = run.noise(frames, 0)
    for step, sigma in enumerate(FEW.sigmas):
        x = add_noise(x, run.noise(frames, step), sigma) if step else x
        sigmas = [0.0] * before.shape[1] + [sigma] * len(frames)
        velocity = dense_velocity(transformer, torch.cat([before, x], 1), sigmas, layout, text, mask)
        x = clean_from_velocity(x, velocity[:, -len(frames) :], sigma)
    return x
