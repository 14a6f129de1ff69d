"""The first causal model: flow matching on the next shot, under the block-causal mask, with its context.

Every chunk of a shot gets a noise level of its own (diffusion forcing), the chunks before it and the context are what
it sees. A share of the earlier chunks is left clean, as they are at inference. The result is sampled with many steps
and guidance; distillation makes a student of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shotstream.core.files import make_directory, replacing, writing
from shotstream.core.rng import derive_seed
from shotstream.core.spec import CHUNK_LATENTS, CONTEXT_LATENTS
from shotstream.core.types import FrameLayout
from shotstream.data.storyworld import ShotSample, as_pixels, sample_shot, stack_layouts
from shotstream.model.attention import Group, block_causal_plan
from shotstream.model.block_codec import BlockCodec
from shotstream.model.config import TransformerConfig
from shotstream.model.schedule import MIN_SIGMA, TRAIN_TIMESTEPS, add_noise, shift_sigma
from shotstream.model.text import TextEncoder
from shotstream.model.transformer import Placement, Transformer
from shotstream.train.loop import Report, TrainState, train
from shotstream.train.settings import BaseConfig
from shotstream.train.text import trim


@dataclass(frozen=True)
class Batch:
    """Samples of one length, encoded. `text` has the captions in the order of the layout, zero rows for none."""

    context: Float[Tensor, "b f c h w"]
    target: Float[Tensor, "b t c h w"]
    text: Float[Tensor, "b s l e"]
    layout: FrameLayout


class BatchSource:
    """Samples by step, rendered and encoded once, kept on disk in batches, and used again when all have been."""

    def __init__(
        self, directory: Path, config: BaseConfig, codec: BlockCodec, encoder: TextEncoder, seed: int = 0
    ) -> None:
        """`directory` must belong to this codec, encoder, configuration and seed alone."""
        self._directory = make_directory(directory)
        self._config, self._codec, self._encoder, self._seed = config, codec, encoder, seed

    def __call__(self, step: int) -> Batch:
        """The batch of a step: a pure function of the seed and the step."""
        number, part = divmod(step, self._config.steps_a_batch)
        number %= self._config.pool_batches
        path = self._directory / f"{number:05d}.safetensors"
        if not path.exists():
            tensors = self._encode(self._render(number))
            with replacing(path) as partial, writing(path):
                save_file(tensors, partial)
        tensors = {name: value[part :: self._config.steps_a_batch] for name, value in load_file(path).items()}
        return self._prepare(tensors, np.random.default_rng(derive_seed("drop", self._seed, step)))

    def _prepare(self, tensors: dict[str, Tensor], rng: np.random.Generator) -> Batch:
        layout = FrameLayout(tensors["positions"], tensors["shots"], tensors["captions"])
        text = tensors["text"].float()
        text[torch.from_numpy(rng.random(len(text)) < self._config.no_text_share)] = 0
        return Batch(tensors["context"].float(), tensors["target"].float(), text, layout)

    def _render(self, step: int) -> list[ShotSample]:
        config = self._config
        rng = np.random.default_rng(derive_seed("batch", self._seed, step))
        chunks = int(rng.choice(config.chunks, p=config.chunk_shares))
        count = max(1, config.latents // (CONTEXT_LATENTS + chunks * CHUNK_LATENTS))
        return [sample_shot(int(seed), chunks) for seed in rng.integers(2**60, size=count)]

    @torch.no_grad()
    def _encode(self, samples: list[ShotSample]) -> dict[str, Tensor]:
        target = self._codec.encode(as_pixels([sample.target for sample in samples]))
        shape = (len(samples), CONTEXT_LATENTS, *target.shape[2:])
        context = target.new_zeros(shape)
        remembered = [i for i, sample in enumerate(samples) if sample.context is not None]
        if remembered:
            frames = [samples[i].context for i in remembered]
            context[remembered] = self._codec.encode_frames(as_pixels([f for f in frames if f is not None]))
        layout = stack_layouts([sample.layout for sample in samples])
        return {
            "context": context.bfloat16(),
            "target": target.bfloat16(),
            "text": self._text([sample.captions for sample in samples]).bfloat16(),
            "positions": layout.positions,
            "shots": layout.shots,
            "captions": layout.captions,
        }

    def _text(self, captions: list[tuple[str, ...]]) -> Float[Tensor, "b s l e"]:
        shape = self._encoder.config
        ids, mask = trim(*self._encoder.tokenize([caption for sample in captions for caption in sample]))
        rows = iter(self._encoder.encode_ids(ids, mask))
        text = torch.zeros(len(captions), max(map(len, captions)), shape.text_len, shape.dim)
        for sample, described in zip(text, captions, strict=True):
            for place, _ in enumerate(described):
                sample[place, : ids.shape[1]] = next(rows)
        return text


def chunk_sigmas(batch: int, chunks: int, config: BaseConfig, generator: torch.Generator) -> Float[Tensor, "b t"]:
    """A noise level a chunk, repeated over its latents. A share of the chunks before a shot's last is clean (0)."""
    sigmas = shift_sigma(torch.rand(batch, chunks, generator=generator), config.shift).clamp(min=MIN_SIGMA)
    clean = torch.rand(batch, chunks, generator=generator) < config.clean_share
    clean[:, -1] = False
    return sigmas.masked_fill(clean, 0.0).repeat_interleave(CHUNK_LATENTS, 1)


def flow_matching_loss(
    transformer: Callable[..., Tensor], place: Transformer, batch: Batch, config: BaseConfig, seed: int
) -> Float[Tensor, ""]:
    """Mean squared error of the velocity over the noisy latents.

    Args:
        transformer: what is called; may be a compiled form of `place`.
        place: the transformer itself, which places layouts.
        batch: one batch.
        config: the noise.
        seed: decides noise and noise levels.
    """
    generator = torch.Generator().manual_seed(derive_seed("base-noise", seed))
    count, latents = batch.target.shape[:2]
    chunks = latents // CHUNK_LATENTS
    sigmas = chunk_sigmas(count, chunks, config, generator)
    noise = torch.randn(batch.target.shape, generator=generator)
    noisy = torch.cat([batch.context, add_noise(batch.target, noise, sigmas)], 1)
    timesteps = torch.cat([sigmas.new_zeros(count, CONTEXT_LATENTS), sigmas], 1) * TRAIN_TIMESTEPS
    plan = block_causal_plan(CONTEXT_LATENTS, (CHUNK_LATENTS,) * chunks)
    placement = place.place(batch.layout, (noisy.shape[-2], noisy.shape[-1]))
    velocity = transformer(noisy, timesteps, batch.text, placement, plan=plan)[:, CONTEXT_LATENTS:]
    error = (velocity.float() - (noise - batch.target)).square().mean((2, 3, 4))
    return error[sigmas > 0].mean()


def initialise(transformer: Transformer) -> None:
    """Fresh weights: Xavier for linear maps, zero biases, and a head that begins by predicting nothing."""
    for name, parameter in transformer.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif name.startswith(("time_embedding", "text_embedding", "time_projection")):
            nn.init.normal_(parameter, std=0.02)
        elif parameter.ndim >= 2 and "modulation" not in name:
            nn.init.xavier_uniform_(parameter.flatten(1))
    nn.init.zeros_(transformer.head.head.weight)


def train_base(
    directory: Path,
    shape: TransformerConfig,
    codec: BlockCodec,
    encoder: TextEncoder,
    config: BaseConfig,
    report: Report,
    minutes: float | None = None,
    *,
    compiled: bool = False,
) -> bool:
    """Trains a transformer over `codec` and `encoder`, both frozen; returns whether all steps are done."""
    torch.manual_seed(0)
    transformer = Transformer(shape)
    initialise(transformer)
    state = TrainState(transformer, config.loop)
    called = _compiled(transformer) if compiled else transformer
    batches = BatchSource(directory / "batches", config, codec.eval(), encoder.eval())

    def loss_of_step(step: int) -> Tensor:
        return flow_matching_loss(called, transformer, batches(step), config, step)

    return train(state, directory, loss_of_step, report, minutes)


def _compiled(transformer: Transformer) -> Callable[..., Tensor]:
    """The transformer compiled once a shot length; only the number of captions stays open."""
    compiled = torch.compile(transformer, dynamic=False)

    def call(latents: Tensor, timesteps: Tensor, text: Tensor, placement: Placement, plan: tuple[Group, ...]) -> Tensor:
        torch._dynamo.mark_dynamic(text, 1)
        return compiled(latents, timesteps, text, placement, plan=plan)

    return call
