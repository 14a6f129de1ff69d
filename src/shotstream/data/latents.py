"""Pools of encoded training samples on disk: latents and text embeddings, each computed once."""

import dataclasses
import fcntl
import hashlib
import json
import multiprocessing
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from shotstream.core.atomic_files import make_directory, write_json
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.core.rng import derive_seed
from shotstream.data.batches import Batch, FeatureReader, encode_samples, load_batch, save_batch
from shotstream.data.samples import ShotSample, ShotSource
from shotstream.model.codec import Codec
from shotstream.model.text_encoder import TextEncoder
from shotstream.weights.tensors import read_json

IDENTITY_FILE, LOCK_FILE = "pool.json", "filling.lock"
POLL_S = 0.1
"""Seconds between two looks for a file that another process makes."""
JOBS_PER_WORKER = 2
"""How many batches each worker draws ahead of the one that is encoded."""


@dataclass(frozen=True)
class PoolConfig:
    """Size and contents of a pool.

    Attributes:
        latents: about how many latents a micro-batch has, context included, whatever the length of its shots.
        batches: how many batches there are; after the last one the first comes again.
        steps_per_batch: over how many steps the samples of a batch are spread evenly.
        chunks: the lengths that shots can have, in chunks.
        chunk_shares: the probability of each length.
        pictures: whether a sample is a single frame without context; `chunks` has no meaning then.
        seed: decides which samples are drawn.
        features: the frozen network whose feature maps are stored beside latents, for `base.alignment`; empty: none.
    """

    latents: int = 192
    batches: int = 600
    steps_per_batch: int = 2
    chunks: tuple[int, ...] = (2, 4, 7)
    chunk_shares: tuple[float, ...] = (0.6, 0.25, 0.15)
    pictures: bool = False
    seed: int = 0
    features: Literal["", "trait_reader"] = ""

    def __post_init__(self) -> None:
        if len(self.chunks) != len(self.chunk_shares) or abs(sum(self.chunk_shares) - 1) > 1e-6:
            raise InputError(
                f"expected one share for each of the chunks {self.chunks}, 1 in all, got {self.chunk_shares}; "
                "give as many shares as chunks"
            )
        if self.pictures and self.features:
            raise InputError(
                f"expected no features for a pool of pictures, got '{self.features}'; leave its features empty"
            )


@dataclass(frozen=True)
class SampleDrawer:
    """Draws the samples of a pool's files, not encoded yet. All micro-batches of a batch have shots of one length."""

    config: PoolConfig
    source: ShotSource
    micro_batches: int

    def __call__(self, number: int) -> list[ShotSample]:
        """Draw the samples of file `number`: of one micro-batch of one batch."""
        config, source, (batch, micro_batch) = self.config, self.source, divmod(number, self.micro_batches)
        rng = np.random.default_rng(derive_seed("batch", config.seed, batch))
        if config.pictures:
            seeds = rng.integers(2**60, size=(self.micro_batches, config.latents))[micro_batch]
            return [source.draw_picture(_seeded("picture-sample", seed)) for seed in seeds]
        chunks = int(rng.choice(config.chunks, p=config.chunk_shares))
        shape = source.shape
        each = config.latents // (shape.context_latents + shape.latents_of_chunks(chunks)) // config.steps_per_batch
        count = config.steps_per_batch * max(1, each)
        seeds = rng.integers(2**60, size=(self.micro_batches, count))[micro_batch]
        return [source.draw(_seeded("shot-sample", seed), chunks) for seed in seeds]

    def pickled(self, number: int) -> bytes:
        """Draw samples for another process, as bytes: torch would hand over every tensor as an open file."""
        return pickle.dumps(self(number))


class LatentPool:
    """Training samples by step and micro-batch. Missing files are made when they are read, or ahead by `fill`.

    Training may run beside another process that fills the pool. It then reads the batches that are finished, in turn.
    """

    def __init__(
        self,
        directory: Path,
        config: PoolConfig,
        source: ShotSource,
        codec: Codec,
        encoder: TextEncoder,
        *,
        micro_batches: int = 1,
        begin: int = 0,
        device: torch.device | str = "cpu",
        read_features: FeatureReader | None = None,
    ) -> None:
        """Open the pool in `directory`, which belongs to this source, codec, encoder, configuration and micro-batches.

        Args:
            directory: made where it is missing.
            config: what the pool holds.
            source: where samples come from.
            codec: makes latents, on `device`.
            encoder: makes text embeddings, on `device`.
            micro_batches: of a step's batch; all of one batch have shots of one length.
            begin: the batch that step 0 reads; the contents of the pool do not depend on it.
            device: where samples are encoded.
            read_features: computes the features that `config.features` names; None where it names none.

        Raises:
            InputError: the directory belongs to another pool.
        """
        self._directory, self._config, self._micro_batches = make_directory(directory), config, micro_batches
        self._codec, self._encoder, self._device, self._begin = codec, encoder, device, begin
        assert bool(config.features) == (read_features is not None), "features and what computes them go together"
        self._read_features = read_features
        self._draw, self._finished = SampleDrawer(config, source, micro_batches), 0
        identity: dict[str, object] = {
            "config": to_dict(config),
            "source": dict(source.identity),
            "micro_batches": micro_batches,
            "tensors": [field.name for field in dataclasses.fields(Batch)],
            "networks": hash_tensors([*codec.encoding_tensors(), *encoder.state_dict().values()]),
        }
        self.identity: Mapping[str, object] = json.loads(json.dumps(identity))
        claim_directory(directory / IDENTITY_FILE, self.identity)

    def __call__(self, step: int, micro_batch: int = 0) -> Batch:
        """Return the samples of one micro-batch of a step, in bfloat16 on the CPU.

        They depend on the arguments alone; while another process fills the pool, also on how far that has come.
        """
        number, turn = divmod(step, self._config.steps_per_batch)
        path = self.make((number + self._begin) % self._batches() * self._micro_batches + micro_batch)
        return load_batch(path, slice(turn, None, self._config.steps_per_batch))[0]

    @property
    def files(self) -> int:
        """Return the number of files of the full pool: one for each micro-batch of each batch."""
        return self._config.batches * self._micro_batches

    def read_file(self, number: int) -> Batch:
        """Return all samples of one file."""
        return load_batch(self.make(number))[0]

    def make(self, number: int) -> Path:
        """Return the path of one file, after making it here, or waiting for the process that fills the pool."""
        path = self._path(number)
        while not path.exists() and self._is_filled_elsewhere():
            time.sleep(POLL_S)
        if not path.exists():
            self._encode(path, self._draw(number))
        return path

    def fill(self, workers: int, on_progress: Callable[[int], None]) -> None:
        """Make all missing files in order: samples are drawn by `workers` processes and encoded by this one.

        Args:
            workers: number of processes.
            on_progress: called after each file with the number of files done.

        Raises:
            InputError: another process is filling the pool.
        """
        with self._filling(), ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as processes:
            missing = iter([number for number in range(self.files) if not self._path(number).exists()])
            drawn: deque[tuple[int, Future[bytes]]] = deque()
            for number in range(self.files):
                while len(drawn) < JOBS_PER_WORKER * workers and (following := next(missing, None)) is not None:
                    drawn.append((following, processes.submit(self._draw.pickled, following)))
                if drawn and drawn[0][0] == number:
                    self._encode(self._path(number), pickle.loads(drawn.popleft()[1].result()))
                on_progress(number + 1)

    def await_full(self) -> None:
        """Wait until another process of this run has made all files with `fill`."""
        for number in range(self.files):
            while not self._path(number).exists():
                time.sleep(POLL_S)

    def _encode(self, path: Path, samples: Sequence[ShotSample]) -> None:
        save_batch(path, encode_samples(samples, self._codec, self._encoder, self._device, self._read_features))

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:05d}.safetensors"

    def _batches(self) -> int:
        """Count the batches that steps read: all, or if another process fills, those finished so far (at least 1)."""
        if self._finished < self.files and self._is_filled_elsewhere():
            self.make(0)
            while self._finished < self.files and self._path(self._finished).exists():
                self._finished += 1
            return max(1, self._finished // self._micro_batches)
        return self._config.batches

    @contextmanager
    def _filling(self) -> Iterator[None]:
        """Hold the lock of the process that fills the pool; the system releases it when the process ends."""
        with (self._directory / LOCK_FILE).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self._directory} is being filled by another process; wait for it") from None
            yield

    def _is_filled_elsewhere(self) -> bool:
        path = self._directory / LOCK_FILE
        if not path.exists():
            return False
        with path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


def claim_directory(path: Path, identity: Mapping[str, object]) -> None:
    """Record in a JSON file what the directory around it was made from, or check that it is the same as recorded.

    Args:
        path: the JSON file in that directory.
        identity: plain data by topic.

    Raises:
        InputError: the directory was made from something else, or the file is damaged.
    """
    if not path.exists():
        write_json(path, identity)
        return
    if topic := differing_topic(path, identity):
        raise InputError(f"{path.parent} was made with another {topic}; remove it first, or name another directory")


def differing_topic(path: Path, identity: Mapping[str, object]) -> str:
    """Return the first topic in which a record of `claim_directory` differs from an identity; empty if none does.

    Raises:
        InputError: the file is damaged.
    """
    recorded = read_json(path)
    return next((topic for topic, value in identity.items() if recorded.get(topic) != value), "")


def hash_tensors(tensors: Iterable[Tensor]) -> str:
    """Return a hash of the values of tensors, as float32, in their order."""
    digest = hashlib.blake2b(digest_size=16)
    for value in tensors:
        digest.update(value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _seeded(purpose: str, seed: int) -> np.random.Generator:
    return np.random.default_rng(derive_seed(purpose, int(seed)))
