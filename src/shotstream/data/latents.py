"""Latents and text embeddings of training shots, made once and kept on disk."""

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.core.files import make_directory, replacing, write_json, writing
from shotstream.core.rng import derive_seed
from shotstream.core.spec import CHUNK_LATENTS, CONTEXT_LATENTS
from shotstream.core.types import FrameLayout
from shotstream.data.samples import ShotSample, as_pixels, stack_layouts
from shotstream.data.storyworld import sample_picture, sample_shot
from shotstream.model.block_codec import BlockCodec
from shotstream.model.text import TextEncoder, trim_padding

IDENTITY_FILE = "pool.json"


@dataclass(frozen=True)
class PoolConfig:
    """What a pool holds: `batches` batches of about `latents` latents each, whatever the length of their shots.

    Shots of `chunks` chunks come with probability `chunk_shares`. A batch serves `steps_a_batch` steps in turn; after
    the last batch the first comes again. `seed` decides all of it. With `pictures`, a sample is one frame of a shot,
    alone, and the lengths of shots say nothing.
    """

    latents: int = 192
    batches: int = 600
    steps_a_batch: int = 2
    chunks: tuple[int, ...] = (2, 4, 7)
    chunk_shares: tuple[float, ...] = (0.6, 0.25, 0.15)
    pictures: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """Samples of one length, encoded; pictures have a context of no latents.

    `text` has the captions in the order of the layout, zero rows for none.
    """

    context: Float[Tensor, "b f c h w"]
    target: Float[Tensor, "b t c h w"]
    text: Float[Tensor, "b s l e"]
    layout: FrameLayout

    def to(self, device: torch.device) -> "Batch":
        """The same on another device; the layout stays on the host."""
        return Batch(self.context.to(device), self.target.to(device), self.text.to(device), self.layout)


class LatentPool:
    """Training samples by step. What is not on disk yet is made when it is asked for, or ahead by `fill`."""

    def __init__(self, directory: Path, config: PoolConfig, codec: BlockCodec, encoder: TextEncoder) -> None:
        """A pool in `directory`, which belongs to this codec, encoder and configuration alone.

        Raises:
            InputError: it belongs to others.
        """
        self._directory, self._config = make_directory(directory), config
        self._codec, self._encoder = codec, encoder
        identity = {"config": json.loads(json.dumps(to_dict(config))), "networks": _hash(codec.analysis, encoder)}
        path = directory / IDENTITY_FILE
        if not path.exists():
            write_json(path, identity)
        elif json.loads(path.read_text()) != identity:
            raise InputError(f"{directory} was made with another codec, text encoder or setting; remove it first")

    def __call__(self, step: int) -> Batch:
        """The samples of a step: a pure function of the pool and the step."""
        number, part = divmod(step, self._config.steps_a_batch)
        stored = load_file(self.make(number % self._config.batches))
        own = {name: value[part :: self._config.steps_a_batch] for name, value in stored.items()}
        layout = FrameLayout(own["positions"], own["shots"], own["captions"])
        return Batch(own["context"].float(), own["target"].float(), own["text"].float(), layout)

    def make(self, number: int) -> Path:
        """The file of one batch, made if it is not there."""
        path = self._directory / f"{number:05d}.safetensors"
        if not path.exists():
            tensors = self._encode(self._render(number))
            with replacing(path) as partial, writing(path):
                save_file(tensors, partial)
        return path

    def fill(self, workers: int, watch: Callable[[int], None]) -> None:
        """Makes all batches, on `workers` processes; `watch` is told how many are done."""
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, spawn, _one_thread) as processes:
            jobs = [processes.submit(self.make, number) for number in range(self._config.batches)]
            for done, job in enumerate(as_completed(jobs), start=1):
                job.result()
                watch(done)

    def _render(self, number: int) -> list[ShotSample]:
        config = self._config
        rng = np.random.default_rng(derive_seed("batch", config.seed, number))
        if config.pictures:
            return [sample_picture(int(seed)) for seed in rng.integers(2**60, size=config.latents)]
        chunks = int(rng.choice(config.chunks, p=config.chunk_shares))
        count = max(config.steps_a_batch, config.latents // (CONTEXT_LATENTS + chunks * CHUNK_LATENTS))
        return [sample_shot(int(seed), chunks) for seed in rng.integers(2**60, size=count)]

    @torch.no_grad()
    def _encode(self, samples: Sequence[ShotSample]) -> dict[str, Tensor]:
        target = self._codec.encode(as_pixels([sample.target for sample in samples]))
        layout = stack_layouts([sample.layout for sample in samples])
        remembered = layout.positions.shape[1] - target.shape[1]
        context = target.new_zeros(len(samples), remembered, *target.shape[2:])
        for row, sample in zip(context, samples, strict=True):
            if sample.context is not None:
                row[:] = self._codec.encode_frames(as_pixels([sample.context]))[0]
        return {
            "context": context.bfloat16(),
            "target": target.bfloat16().contiguous(),
            "text": self._text([sample.captions for sample in samples]).bfloat16(),
            "positions": layout.positions,
            "shots": layout.shots,
            "captions": layout.captions,
        }

    def _text(self, captions: Sequence[tuple[str, ...]]) -> Float[Tensor, "b s l e"]:
        shape = self._encoder.config
        ids, mask = trim_padding(*self._encoder.tokenize([caption for sample in captions for caption in sample]))
        rows = iter(self._encoder.encode_ids(ids, mask))
        text = torch.zeros(len(captions), max(map(len, captions)), shape.text_len, shape.dim)
        for sample, described in zip(text, captions, strict=True):
            for place, _ in enumerate(described):
                sample[place, : ids.shape[1]] = next(rows)
        return text


def _hash(*networks: nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for network in networks:
        for value in network.state_dict().values():
            digest.update(value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _one_thread() -> None:
    torch.set_num_threads(1)
