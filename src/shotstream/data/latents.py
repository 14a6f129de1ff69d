"""Latents and text embeddings of training shots, made once and kept on disk."""

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
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from shotstream.core.atomic_files import make_directory, replacing, write_json, writing
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.core.rng import derive_seed
from shotstream.core.spec import CHUNK_LATENTS, CONTEXT_LATENTS
from shotstream.core.types import FrameLayout
from shotstream.data.samples import ShotSample, ShotSource, as_pixels, stack_layouts
from shotstream.model.codec import Codec
from shotstream.model.device import send
from shotstream.model.text_encoder import TextEncoder, trim_padding

IDENTITY_FILE, LOCK_FILE = "pool.json", "filling.lock"
POLL_S = 0.1
"""How often it is looked whether another process has made a batch."""
JOBS_A_WORKER = 2
"""Batches that are drawn ahead of the one that is encoded."""


@dataclass(frozen=True)
class PoolConfig:
    """What a pool holds: `batches` batches of about `latents` latents a part, whatever the length of their shots.

    Shots of `chunks` chunks come with probability `chunk_shares`. A batch serves `steps_a_batch` steps in turn, with as
    many samples each; after the last batch the first comes again. `seed` decides all of it. With `pictures`, a sample
    is one frame of a shot, alone, and the lengths of shots say nothing.
    """

    latents: int = 192
    batches: int = 600
    steps_a_batch: int = 2
    chunks: tuple[int, ...] = (2, 4, 7)
    chunk_shares: tuple[float, ...] = (0.6, 0.25, 0.15)
    pictures: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.chunks) != len(self.chunk_shares) or abs(sum(self.chunk_shares) - 1) > 1e-6:
            raise InputError(
                f"expected one share for each of the chunks {self.chunks}, 1 in all, got {self.chunk_shares}"
            )


OMIT_DEFAULT: Mapping[str, object] = MappingProxyType({"config": json.loads(json.dumps(to_dict(PoolConfig())))})
"""What a pool's identity means without saying it: fields that there were not yet when the pool was made."""


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
        """The same in float32 on another device, which need not be waited for; the layout stays on the host."""
        context, target, text = (send(value, device).float() for value in (self.context, self.target, self.text))
        return Batch(context, target, text, self.layout)


def save_batch(path: Path, batch: Batch, **more: Tensor) -> None:
    """Writes a batch, whole or not at all; latents and text in bfloat16.

    Raises:
        InputError: it cannot be written.
    """
    values = {name: getattr(batch, name).bfloat16() for name in ("context", "target", "text")}
    layout = {name: getattr(batch.layout, name) for name in ("positions", "shots", "captions")}
    tensors = {name: value.cpu().contiguous() for name, value in {**values, **layout, **more}.items()}
    with replacing(path) as partial, writing(path):
        save_file(tensors, partial)


def load_batch(path: Path, rows: slice = slice(None)) -> tuple[Batch, dict[str, Tensor]]:
    """Some of the samples of a batch written by `save_batch`, in bfloat16, and whatever else was written."""
    stored = {name: value[rows] for name, value in load_file(path).items()}
    layout = FrameLayout(*(stored.pop(name) for name in ("positions", "shots", "captions")))
    context, target, text = (stored.pop(name) for name in ("context", "target", "text"))
    return Batch(context, target, text, layout), stored


@dataclass(frozen=True)
class Draws:
    """The samples of a pool's files before they are encoded; in all parts of a batch shots have one length."""

    config: PoolConfig
    source: ShotSource
    parts: int

    def __call__(self, number: int) -> list[ShotSample]:
        config, source, (batch, part) = self.config, self.source, divmod(number, self.parts)
        rng = np.random.default_rng(derive_seed("batch", config.seed, batch))
        if config.pictures:
            seeds = rng.integers(2**60, size=(self.parts, config.latents))[part]
            return [source.draw_picture(_generator("picture-sample", seed)) for seed in seeds]
        chunks = int(rng.choice(config.chunks, p=config.chunk_shares))
        each = config.latents // (CONTEXT_LATENTS + chunks * CHUNK_LATENTS) // config.steps_a_batch
        count = config.steps_a_batch * max(1, each)
        seeds = rng.integers(2**60, size=(self.parts, count))[part]
        return [source.draw(_generator("shot-sample", seed), chunks) for seed in seeds]

    def pickled(self, number: int) -> bytes:
        """The same for another process, in one piece: torch would hand over every tensor as an open file."""
        return pickle.dumps(self(number))


class LatentPool:
    """Training samples by step and part. What is not on disk yet is made when it is asked for, or ahead by `fill`.

    Training may run beside another process that fills the pool: it then draws on what is there so far, in turn.
    """

    def __init__(
        self,
        directory: Path,
        config: PoolConfig,
        source: ShotSource,
        codec: Codec,
        encoder: TextEncoder,
        *,
        parts: int = 1,
        begin: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """A pool in `directory`, which belongs to this source, codec, encoder, configuration and number of parts.

        Args:
            directory: made where it is missing.
            config: what the pool holds.
            source: where samples come from.
            codec: makes latents, on `device`.
            encoder: makes text embeddings, on `device`.
            parts: of a step's batch; those of one batch have shots of one length.
            begin: which batch comes first, after the last the first again; the pool is the same.
            device: where samples are encoded.

        Raises:
            InputError: the directory belongs to another pool.
        """
        self._directory, self._config, self._parts = make_directory(directory), config, parts
        self._codec, self._encoder, self._device, self._begin = codec, encoder, device, begin
        self._draws, self._there = Draws(config, source, parts), 0
        identity: dict[str, object] = {
            "config": to_dict(config),
            "source": dict(source.identity),
            "parts": parts,
            "networks": hash_tensors([*codec.encoding_tensors(), *encoder.state_dict().values()]),
        }
        self.identity: Mapping[str, object] = json.loads(json.dumps(identity))
        claim(directory / IDENTITY_FILE, self.identity, OMIT_DEFAULT)

    def __call__(self, step: int, part: int = 0) -> Batch:
        """The samples of one part of a step: a pure function of the pool, the step and the part.

        While another process fills the pool, it depends on how far that is as well.
        """
        number, turn = divmod(step, self._config.steps_a_batch)
        path = self.make((number + self._begin) % self._batches() * self._parts + part)
        return load_batch(path, slice(turn, None, self._config.steps_a_batch))[0]

    @property
    def files(self) -> int:
        """How many files the pool has when it is full."""
        return self._config.batches * self._parts

    def whole(self, number: int) -> Batch:
        """All samples of a file of the pool."""
        return load_batch(self.make(number))[0]

    def make(self, number: int) -> Path:
        """The file of one part of one batch, made if it is not there and nobody else is making it."""
        path = self._path(number)
        while not path.exists() and self._is_filled_elsewhere():
            time.sleep(POLL_S)
        if not path.exists():
            self._encode(path, self._draws(number))
        return path

    def fill(self, workers: int, watch: Callable[[int], None]) -> None:
        """Makes all batches in their order: drawn on `workers` processes, encoded by this one.

        Args:
            workers: how many.
            watch: told how many files are done after each.

        Raises:
            InputError: another process is filling the pool.
        """
        with self._filling(), ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as processes:
            missing = iter([number for number in range(self.files) if not self._path(number).exists()])
            drawn: deque[tuple[int, Future[bytes]]] = deque()
            for number in range(self.files):
                while len(drawn) < JOBS_A_WORKER * workers and (following := next(missing, None)) is not None:
                    drawn.append((following, processes.submit(self._draws.pickled, following)))
                if drawn and drawn[0][0] == number:
                    self._encode(self._path(number), pickle.loads(drawn.popleft()[1].result()))
                watch(number + 1)

    def await_full(self) -> None:
        """Until all batches are there, which another process of this run makes with `fill`."""
        for number in range(self.files):
            while not self._path(number).exists():
                time.sleep(POLL_S)

    def _encode(self, path: Path, samples: Sequence[ShotSample]) -> None:
        save_batch(path, encode_samples(samples, self._codec, self._encoder, self._device))

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:05d}.safetensors"

    def _batches(self) -> int:
        """How many batches steps draw on: all, or those that a process which fills the pool has made, at least one."""
        if self._there < self.files and self._is_filled_elsewhere():
            self.make(0)
            while self._there < self.files and self._path(self._there).exists():
                self._there += 1
            return max(1, self._there // self._parts)
        return self._config.batches

    @contextmanager
    def _filling(self) -> Iterator[None]:
        """Holds the lock that says so; the system lets go of it when the process ends, however it does."""
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


@torch.no_grad()
def encode_samples(
    samples: Sequence[ShotSample], codec: Codec, encoder: TextEncoder, device: torch.device | str = "cpu"
) -> Batch:
    """Samples of one length as latents and text embeddings; what is missing of a context is zeros."""
    target = codec.encode(as_pixels([sample.target for sample in samples], device))
    layout = stack_layouts([sample.layout for sample in samples])
    context = target.new_zeros(len(samples), layout.latents - target.shape[1], *target.shape[2:])
    remembered = {row: sample.context for row, sample in enumerate(samples) if sample.context is not None}
    if remembered:
        context[list(remembered)] = codec.encode_frames(as_pixels(list(remembered.values()), device))
    return Batch(context, target, encode_captions([sample.captions for sample in samples], encoder), layout)


@torch.no_grad()
def encode_captions(captions: Sequence[Sequence[str]], encoder: TextEncoder) -> Float[Tensor, "b s l e"]:
    """The captions of several samples; a sample with fewer than the others ends in zeros."""
    shape, device = encoder.config, next(encoder.parameters()).device
    ids, mask = trim_padding(*encoder.tokenize([caption for sample in captions for caption in sample]))
    rows = iter(encoder.encode_ids(ids.to(device), mask.to(device)).float())
    text = torch.zeros(len(captions), max(map(len, captions)), shape.text_len, shape.dim, device=device)
    for sample, described in zip(text, captions, strict=True):
        for place, _ in enumerate(described):
            sample[place, : ids.shape[1]] = next(rows)
    return text


def claim(path: Path, identity: Mapping[str, object], unsaid: Mapping[str, object] = MappingProxyType({})) -> None:
    """Writes into a file whose the directory around it is, plain data by topic.

    Args:
        path: the file.
        identity: what it says, or has said before.
        unsaid: what a file means that was written when there was less to say.

    Raises:
        InputError: it is another's.
    """
    if not path.exists():
        write_json(path, identity)
        return
    there = _completed(json.loads(path.read_text()), unsaid)
    for what, mine in identity.items():
        if there.get(what) != mine:
            raise InputError(f"{path.parent} was made with another {what}; remove it first, or name another run")


def _completed(said: Mapping[str, object], unsaid: Mapping[str, object]) -> dict[str, object]:
    """What is said, and at every depth what is not, as `unsaid` has it."""
    both = {**unsaid, **said}
    for name in unsaid.keys() & said.keys():
        inner, default = said[name], unsaid[name]
        if isinstance(inner, Mapping) and isinstance(default, Mapping):
            both[name] = _completed(inner, default)
    return both


def hash_tensors(tensors: Iterable[Tensor]) -> str:
    """A hash of the values of tensors, in their order."""
    digest = hashlib.blake2b(digest_size=16)
    for value in tensors:
        digest.update(value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _generator(purpose: str, seed: int) -> np.random.Generator:
    return np.random.default_rng(derive_seed(purpose, int(seed)))
