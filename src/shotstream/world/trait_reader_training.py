"""Train the trait reader on renders, and measure its accuracy.

Renders are made worse on purpose (blur, gamma, noise, lost detail in 8x8 blocks), so that the trait reader also
reads the frames of a model.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from shotstream.core.atomic_files import write_bytes
from shotstream.core.rng import derive_seed
from shotstream.world.framing import HEIGHT, WIDTH
from shotstream.world.render import head_positions, render_frames, render_shot, visible_slots
from shotstream.world.scene import WorldStory
from shotstream.world.stories import sample_story
from shotstream.world.trait_reader import CHARACTER_VALUES, SHOT_VALUES, TraitReader, score_shot
from shotstream.world.trait_reader_network import (
    ALL_LANDMARKS,
    CLIP_OFFSETS,
    MAP_HEIGHT,
    MAP_STRIDE,
    MAP_WIDTH,
    READER_FRAMES,
    TraitReaderNetwork,
    half_weights,
    pixels_of_clips,
)
from shotstream.world.traits import SPECIES

IGNORED = -100
WEIGHTS = {"present": 3.0, "pattern": 2.5, "accessory": 1.5, "where": 0.3}
"""Weights of traits in the loss, where not 1: the largest is for the small marks of a coat."""
HELD_OUT_SEED = 1_000_000_000
"""Stories from this seed on are for testing; training never sees them."""


@dataclass(frozen=True)
class TraitReaderTraining:
    """Settings of the trait reader's training. The learning rate decays over `minutes`."""

    minutes: float = 20.0
    seed: int = 0
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    clips_a_shot: int = 2
    pool_clips: int = 3000
    """Number of clips in the pool that batches are drawn from; every batch replaces the oldest ones."""
    new_clips_a_batch: int = 12


@dataclass(frozen=True)
class _Sample:
    clip: NDArray[np.uint8]
    labels: dict[str, NDArray[np.int64]]


def labels_of(story: WorldStory, shot_index: int) -> dict[str, NDArray[np.int64]]:
    """Return the training labels of a shot: indices of values, -100 where nothing is asked."""
    shot, cast = story.shots[shot_index], story.cast_of(shot_index)
    truth: dict[str, str] = {"place": story.place, "time": story.time}
    truth |= {"framing": shot.framing, "camera": shot.camera, "action": shot.action}
    labels = {trait: np.array(values.index(truth[trait])) for trait, values in SHOT_VALUES.items()}
    present = np.zeros(len(SPECIES), dtype=np.int64)
    of_each = {trait: np.full(len(SPECIES), IGNORED, dtype=np.int64) for trait in CHARACTER_VALUES}
    for one in cast:
        row = SPECIES.index(one.species)
        present[row] = 1
        for trait, values in CHARACTER_VALUES.items():
            of_each[trait][row] = values.index(getattr(one, trait))
    seen = visible_slots(story, shot_index)
    rows = [ALL_LANDMARKS.index(name) if see else IGNORED for name, see in zip(story.layout, seen, strict=True)]
    return {**labels, **of_each, "present": present, "layout": np.array(rows)}


def train_trait_reader(
    config: TraitReaderTraining,
    progress: Callable[[float, float], None] | None = None,
    start: TraitReader | None = None,
) -> TraitReaderNetwork:
    """Train a trait reader for `config.minutes`.

    Args:
        config: how.
        start: a trait reader to train further; None begins anew.
        progress: called after every step with the share of the time that is over and the loss.
    """
    torch.manual_seed(config.seed)
    network = TraitReaderNetwork()
    if start is not None:
        network.load_state_dict(start.network.state_dict())
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    degrade = Degrade(np.random.default_rng(derive_seed("degrade", config.seed)))
    begin, share = time.monotonic(), 0.0
    for clips, labels in _batches(config):
        share = (time.monotonic() - begin) / (60 * config.minutes)
        if share >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * min(1.0, 50 * share, 0.5 * (1 + math.cos(math.pi * share)) + 1e-3)
        loss = trait_reader_loss(network(degrade(pixels_of_clips(clips))), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if progress:
            progress(share, loss.item())
    return network.eval()


def save_trait_reader(network: TraitReaderNetwork, path: Path) -> None:
    """Write the weights, floats in bfloat16."""
    write_bytes(path, save(dict(half_weights(network))))


def trait_reader_loss(logits: dict[str, Tensor], labels: dict[str, Tensor]) -> Float[Tensor, ""]:
    """Return the weighted sum of the cross entropies of all traits; what is not asked costs nothing."""
    loss = F.binary_cross_entropy_with_logits(logits["present"], labels["present"].float()) * WEIGHTS["present"]
    for trait, target in labels.items():
        if trait != "present":
            values = logits[trait].flatten(0, -2)
            cost = F.cross_entropy(values, target.flatten(), ignore_index=IGNORED)
            loss = loss + WEIGHTS.get(trait, 1.0) * cost
    return loss


def accuracy_table(
    reader: TraitReader, seeds: Sequence[int], change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None
) -> dict[str, dict[str, float]]:
    """Return the share of shots in which each trait is read right: trait -> framing (or "all") -> share.

    Args:
        reader: who reads.
        seeds: of the stories to read.
        change: done to the frames of each shot before they are read.
    """
    hits: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for seed in seeds:
        story = sample_story(seed)
        for shot_index, shot in enumerate(story.shots):
            frames = render_shot(story, shot_index)
            reading = reader.read(frames if change is None else change(frames))
            for trait, right in score_shot(reading, story, shot_index).items():
                hits[trait][shot.framing].append(right)
                hits[trait]["all"].append(right)
    return {trait: {name: sum(row) / len(row) for name, row in rows.items()} for trait, rows in hits.items()}


def degrade_frames(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Degrade frames `[n, 80, 128, 3]`: drop half the frequencies of every 8x8 block, blur, add a little noise."""
    rng = np.random.default_rng(len(frames))
    degrade = Degrade(rng)
    clip = degrade.lose_detail(pixels_of_clips(torch.from_numpy(frames)[None])[0], 4)
    clip = degrade.blur(clip, 0.4) + 0.03 * torch.from_numpy(rng.standard_normal(clip.shape)).float()
    return ((clip.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _batches(config: TraitReaderTraining) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Yield batches without end, from a pool that is renewed all the time."""
    rng = np.random.default_rng(derive_seed("judge", config.seed))
    samples = _samples(config, rng)
    pool = [next(samples) for _ in range(config.batch)]
    oldest = 0
    while True:
        chosen = [pool[index] for index in rng.choice(len(pool), config.batch, replace=False)]
        labels = {name: np.stack([sample.labels[name] for sample in chosen]) for name in chosen[0].labels}
        clips = np.stack([sample.clip for sample in chosen])
        yield torch.from_numpy(clips), {name: torch.from_numpy(value) for name, value in labels.items()}
        for _ in range(config.new_clips_a_batch):
            if len(pool) < config.pool_clips:
                pool.append(next(samples))
            else:
                pool[oldest] = next(samples)
                oldest = (oldest + 1) % config.pool_clips


def _samples(config: TraitReaderTraining, rng: np.random.Generator) -> Iterator[_Sample]:
    """Random shots of random stories, a few clips of each."""
    while True:
        story = sample_story(int(rng.integers(HELD_OUT_SEED)))
        for shot_index, shot in enumerate(story.shots):
            labels = labels_of(story, shot_index)
            starts = rng.integers(0, shot.frames - READER_FRAMES + 1, config.clips_a_shot)
            indices = [int(start) + offset for start in starts for offset in CLIP_OFFSETS]
            frames = render_frames(story, shot_index, indices)
            clips = frames.reshape(config.clips_a_shot, len(CLIP_OFFSETS), *frames.shape[1:])
            for clip, start in zip(clips, starts, strict=True):
                where = _head_cells(story, shot_index, int(start) + READER_FRAMES // 2)
                yield _Sample(clip, {**labels, "where": where})


def _head_cells(story: WorldStory, shot_index: int, frame: int) -> NDArray[np.int64]:
    """Return the place on the network's map where each species has its head, -100 where it is not there."""
    cells = np.full(len(SPECIES), IGNORED, dtype=np.int64)
    for one, (row, column) in zip(story.cast_of(shot_index), head_positions(story, shot_index, frame), strict=True):
        down = min(max(int(row // MAP_STRIDE), 0), MAP_HEIGHT - 1)
        right = min(max(int(column // MAP_STRIDE), 0), MAP_WIDTH - 1)
        cells[SPECIES.index(one.species)] = down * MAP_WIDTH + right
    return cells


class Degrade:
    """Degrades clips as a codec and a model do. Every clip gets its own mixture, or none."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        steps = torch.arange(8, dtype=torch.float32)
        basis = torch.cos(math.pi / 8 * (steps[None, :] + 0.5) * steps[:, None])
        self.basis = F.normalize(basis, dim=1)
        self.noise = [self._noise(int(seed)) for seed in rng.integers(2**62, size=8)]

    def __call__(self, clips: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f c h w"]:
        worse = []
        for clip in clips:
            clip = self.lose_detail(clip, int(self.rng.integers(4, 8))) if self.rng.random() < 0.35 else clip
            clip = self.blur(clip, float(self.rng.uniform(0.2, 0.9))) if self.rng.random() < 0.35 else clip
            clip = self._smear(clip) if self.rng.random() < 0.2 else clip
            clip = self._relight(clip) if self.rng.random() < 0.5 else clip
            worse.append(self._add_noise(clip) if self.rng.random() < 0.35 else clip)
        return torch.stack(worse)

    @staticmethod
    def _noise(seed: int) -> Float[Tensor, "f c h w"]:
        """Fine and coarse noise in equal parts."""
        generator = torch.Generator().manual_seed(seed)
        shape = (len(CLIP_OFFSETS), 3, HEIGHT, WIDTH)
        coarse = torch.randn((*shape[:2], HEIGHT // 4, WIDTH // 4), generator=generator)
        return torch.randn(shape, generator=generator) + F.interpolate(coarse, scale_factor=4.0, mode="nearest")

    def lose_detail(self, clip: Tensor, kept: int) -> Tensor:
        """Keep the `kept` lowest of the eight frequencies of every 8x8 block in either direction."""
        low = self.basis[:kept].T @ self.basis[:kept]
        blocks = clip.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8))
        return torch.einsum("...yahb,ai,bj->...yihj", blocks, low, low).flatten(-2).flatten(-3, -2)

    def blur(self, clip: Tensor, share: float) -> Tensor:
        """Blend pixels with their blur over three pixels, of which `share` is the share."""
        soft = F.avg_pool2d(F.pad(clip, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        return clip + share * (soft - clip)

    def _smear(self, clip: Tensor) -> Tensor:
        """Blend every frame with the one before."""
        share = 0.3 * float(self.rng.random())
        return clip + share * (torch.cat([clip[:1], clip[:-1]]) - clip)

    def _relight(self, clip: Tensor) -> Tensor:
        gamma = float(np.exp(self.rng.uniform(-0.2, 0.2)))
        gain = torch.from_numpy(self.rng.uniform(0.94, 1.06, (3, 1, 1))).float()
        return (((clip + 1) / 2).clamp(0, 1) ** gamma * gain * 2 - 1).clamp(-1, 1)

    def _add_noise(self, clip: Tensor) -> Tensor:
        strength = 0.08 * float(self.rng.random())
        noise = self.noise[int(self.rng.integers(len(self.noise)))]
        shifts = tuple(int(shift) for shift in self.rng.integers(0, noise.shape, 4))
        return clip + strength * noise.roll(shifts, (0, 1, 2, 3))
