"""Measure time and memory of a training step of every stage, with random weights and random samples."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.core.spec import ShotShape, VideoSize
from shotstream.core.video import Frames
from shotstream.data.batches import Batch
from shotstream.data.samples import VideoSample, stack_layouts
from shotstream.model.codec import Codec
from shotstream.model.text_encoder import TextEncoder
from shotstream.model.transformer import Transformer
from shotstream.story.layout import shot_layout
from shotstream.story.script import Script
from shotstream.story.shot_spec import ShotSpec
from shotstream.train.build_stage import build_stage
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import Stage
from shotstream.train.presets import Preset
from shotstream.train.recipe import Run
from shotstream.train.rng import normal
from shotstream.train.stages.base import initialise
from shotstream.train.stages.trajectories import kept_steps
from shotstream.weights.build import ModelComponents, random_components

MEASURED = ("teacher", "init", "stage1", "stage2")
"""Stages that are measured of every preset; `policy` is, too, where the preset names one."""
SHOT = 2
"""Number of the target shot; the two before it have an equal share in its context."""


@dataclass(frozen=True)
class StepCost:
    """Time of one step with one micro-batch; `peak_gib` is the peak memory of a CUDA device, 0 elsewhere."""

    stage: str
    seconds: float
    peak_gib: float


class RandomSamples:
    """Replacement for a pool and for trajectories: noise in the shape of samples of the preset's first length."""

    def __init__(self, preset: Preset) -> None:
        self._preset, self._model = preset, preset.model
        self._latents = preset.model.shot.latents_of_chunks(preset.shots.chunks[0])

    def __call__(self, step: int, micro_batch: int) -> Batch:
        """Return the batch of one micro-batch."""
        shape, size = self._model.transformer, self._model.video
        before = self._model.shot.context_latents
        pool, placed = self._preset.shots, before + self._latents
        count = max(1, pool.latents // pool.steps_per_batch // placed)
        context = [latent * SHOT // before for latent in range(before)]
        layout = shot_layout(SHOT, context, self._model.shot, self._latents, self._model.captions)
        latents = torch.empty(count, placed, shape.in_dim, size.latent_height, size.latent_width)
        drawn = normal(latents, "latents", step, micro_batch)
        text = torch.empty(count, len(layout.context_captions) + 1, shape.text_len, shape.text_dim)
        every = stack_layouts([layout.joined] * count)
        return Batch(drawn[:, :before], drawn[:, before:], normal(text, "text", step, micro_batch), every)

    def check_made(self) -> None:
        """Do nothing: random trajectories are always there."""

    def read(self, number: int) -> tuple[Batch, Float[Tensor, "b k f c h w"], Float[Tensor, "k"]]:
        """Return a batch, trajectories and their noise levels."""
        batch, kept = self(number, 0), kept_steps(self._preset.trajectories.num_steps, self._preset.student.steps)
        states = batch.target[:, None].expand(-1, len(kept), -1, -1, -1, -1)
        return batch, states, torch.linspace(1, 0, len(kept))


class RandomFrames:
    """Replacement for a story's frames: noise in the size of the preset's videos."""

    def __init__(self, size: VideoSize, rng: np.random.Generator) -> None:
        self._size, self._rng = size, rng

    def shot_frames(self, shot: int, frames: int) -> Frames:  # noqa: ARG002 (every shot is noise)
        """Return frames, uint8 `[f, h, w, 3]`."""
        return self._rng.integers(256, size=(frames, self._size.height, self._size.width, 3), dtype=np.uint8)

    def subjects(self, shot: int, frames: int) -> None:
        """Return None: noise shows nobody."""


class RandomStories:
    """Replacement for a source of scripts and videos, of a size and a shape of shots."""

    def __init__(self, size: VideoSize, shape: ShotShape) -> None:
        self._size, self.shape = size, shape

    def draw_video(self, rng: np.random.Generator, chunks: Sequence[int]) -> VideoSample:
        """Return a video of shots of these lengths."""
        script = self.draw_script(rng, len(chunks))
        shots = tuple(replace(shot, chunks=count) for shot, count in zip(script.shots, chunks, strict=True))
        return VideoSample(replace(script, shots=shots), RandomFrames(self._size, rng), self.shape)

    def draw_script(self, rng: np.random.Generator, shots: int) -> Script:
        """Return a script whose words are numbers."""
        texts = (" ".join(map(str, rng.integers(100, size=20))) for _ in range(shots))
        return Script("A story of numbers.", tuple(ShotSpec(text) for text in texts))


class RandomRun(Run):
    """Run whose earlier stages are replaced by random weights and random samples."""

    def weights(self, stage: str) -> dict[str, Tensor]:  # noqa: ARG002
        with self.distributed.device:
            network = Transformer(self.preset.model.transformer)
        initialise(network)
        return network.state_dict()

    def shots(self, micro_batches: int) -> RandomSamples:  # type: ignore[override] # noqa: ARG002
        return RandomSamples(self.preset)

    def trajectories(self) -> RandomSamples:  # type: ignore[override]
        return RandomSamples(self.preset)

    @cached_property
    def _components(self) -> ModelComponents:
        small = replace(self.preset.model, transformer=replace(self.preset.model.transformer, num_layers=1))
        dtype = torch.bfloat16 if self.distributed.bfloat16 else torch.float32
        return random_components(small, device=self.distributed.device, dtype=dtype)

    @property
    def source(self) -> RandomStories:  # type: ignore[override]
        return RandomStories(self.preset.model.video, self.preset.model.shot)

    @property
    def codec(self) -> Codec:
        return self._components.codec

    @property
    def encoder(self) -> TextEncoder:
        return self._components.text_encoder


def measure_steps(
    preset: Preset, distributed: DistributedContext, directory: Path, report: Callable[[StepCost], None]
) -> None:
    """Run two steps of one micro-batch of each stage, and report the cost of the second.

    Args:
        preset: its stages start from random weights.
        distributed: device and precision.
        directory: an empty directory for files that stages write.
        report: called with each stage's cost.
    """
    changed = replace(preset, pretrained="", stage2=replace(preset.stage2, start="init"))
    for name in (*MEASURED, *(["policy"] if preset.policy.policy else [])):
        run = RandomRun(directory, changed, distributed)
        if distributed.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        stage = build_stage(run, name)
        times = [_time_step(stage, step, distributed) for step in (0, 0)]
        peak = torch.cuda.max_memory_allocated() / 2**30 if distributed.device.type == "cuda" else 0.0
        report(StepCost(name, times[-1], peak))
        del stage, run


def _time_step(stage: Stage, step: int, distributed: DistributedContext) -> float:
    """Return the seconds of one step of micro-batch 0 with every update that it can have."""
    _wait(distributed)
    started = time.monotonic()
    for name in stage.updates(step):
        with distributed.autocast():
            loss = stage.loss(name, step, 0)
        loss.backward()
        stage.state.trained[name].update(step)
    stage.finish_step(step, 0)
    stage.state.update_average()
    _wait(distributed)
    return time.monotonic() - started


def _wait(distributed: DistributedContext) -> None:
    if distributed.device.type == "cuda":
        torch.cuda.synchronize()
