"""How fast a model tells a story, everything counted: captions, context, clean passes, decoding, writing the history.

A story is told through the public engine. Its first shots warm up and are reported apart. The shots after them are
timed without looking inside; one more is timed part by part, because that makes the host wait for the device.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast, get_args

import torch
from torch import nn

from shotstream.core.clock import Part, PartClock
from shotstream.core.config import nearest
from shotstream.core.errors import InputError
from shotstream.core.spec import FPS, MAX_CHUNKS, VideoSize, check_chunks
from shotstream.evaluate.machine import Machine, forget_peak, peak_device_bytes, peak_resident_bytes, synchronise
from shotstream.evaluate.timing import Percentiles, ShotTiming, Spread, Viewing
from shotstream.model.config import ModelConfig, SamplerConfig
from shotstream.model.parts import ModelParts, random_parts
from shotstream.model.published import WAN_1_3B
from shotstream.model.zoo import open_parts
from shotstream.rollout.stream import Story
from shotstream.train.presets import STORYWORLD, TINY
from shotstream.world.captions import story_captions
from shotstream.world.stories import sample_story

SHAPES: Mapping[str, ModelConfig] = MappingProxyType(
    {shape.name: shape for shape in (STORYWORLD.model, WAN_1_3B, TINY.model)}
)
"""Models that can be measured without weights."""


@dataclass(frozen=True)
class BenchPlan:
    """What is measured: `shots` shots of `chunks` chunks after `warmup` shots, in the story of `seed`."""

    shots: int = 3
    chunks: int = MAX_CHUNKS
    warmup: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_chunks(self.chunks)
        if self.shots < 1:
            raise InputError(f"expected at least one shot to measure, got {self.shots}")
        if self.warmup < 0:
            raise InputError(f"expected 0 or more shots of warm-up, got {self.warmup}")


@dataclass(frozen=True)
class Network:
    """The size of one network."""

    parameters: int
    bytes: int


@dataclass(frozen=True)
class Subject:
    """What was measured."""

    name: str
    source: str
    video: VideoSize
    sampler: SamplerConfig
    device: str
    dtype: str
    networks: Mapping[str, Network]


@dataclass(frozen=True)
class PartTimes:
    """One shot part by part; what no part claims is `other_s`. `fps_without_decode` leaves out decode and transfer."""

    seconds: Mapping[Part, float]
    other_s: float
    total_s: float
    fps_without_decode: float


@dataclass(frozen=True)
class Memory:
    """The most memory held: by the process since its start, by tensors on a CUDA device while the story was told."""

    peak_resident_bytes: int | None
    peak_device_bytes: int | None


@dataclass(frozen=True)
class BenchReport:
    """Everything measured. Speeds are frames a second; `real_time_factor` is speed over the 16 that are shown.

    `load_s` and `warmup` belong to no other figure. Where shots have one chunk there is nothing steady and no gap.
    """

    subject: Subject
    machine: Machine
    plan: BenchPlan
    load_s: float | None
    warmup: tuple[ShotTiming, ...]
    shots: tuple[ShotTiming, ...]
    fps: Spread
    steady_fps: Spread | None
    first_frames_s: Spread
    chunk_gap_s: Percentiles | None
    real_time_factor: float
    viewing: Viewing
    parts: PartTimes
    memory: Memory


def open_subject(
    source: str, device: torch.device, dtype: torch.dtype, *, random_weights: bool = False
) -> tuple[ModelParts, float]:
    """A model to measure and the seconds it took to load: as `open_parts`, or only the shape with random weights.

    Raises:
        InputError: there is no such model, or no such shape.
    """
    if random_weights and source not in SHAPES:
        hint = nearest(source, SHAPES)
        raise InputError(f"expected --random-weights with a model of {', '.join(SHAPES)}, got '{source}'{hint}")
    started_s = time.perf_counter()
    if random_weights:
        parts = random_parts(SHAPES[source], device=device, dtype=dtype)
    else:
        parts = open_parts(source, device, dtype)
    synchronise(device)
    return parts, time.perf_counter() - started_s


def bench(
    parts: ModelParts,
    plan: BenchPlan,
    load_s: float | None = None,
    watch: Callable[[int], None] | None = None,
) -> BenchReport:
    """Measures a model.

    Args:
        parts: the model, on its device.
        plan: what is measured.
        load_s: how long the model took to load, to be reported.
        watch: told how many shots are done after each.
    """
    device = parts.transformer.patch_embedding.weight.device
    told = sample_story(plan.seed, shots=plan.warmup + plan.shots + 1, chunks=plan.chunks)
    global_caption, captions = story_captions(told)
    clock = PartClock(lambda: synchronise(device))
    forget_peak(device)
    timings: list[ShotTiming] = []
    with Story(parts, global_caption, seed=plan.seed, clock=clock) as story:
        for index, caption in enumerate(captions):
            clock.running = index == len(captions) - 1
            timings.append(time_shot(story, caption, plan.chunks))
            if watch is not None:
                watch(index + 1)
    memory = Memory(peak_resident_bytes(), peak_device_bytes(device))
    return _report(parts, plan, load_s, timings, clock.seconds, memory)


def time_shot(story: Story, caption: str, chunks: int) -> ShotTiming:
    """Makes the next shot of a story and notes when its chunks come."""
    arrivals_s: list[float] = []
    frames: list[int] = []
    started_s = time.perf_counter()
    for chunk in story.shot(caption, chunks):
        arrivals_s.append(time.perf_counter() - started_s)
        frames.append(len(chunk))
    return ShotTiming(tuple(arrivals_s), tuple(frames), time.perf_counter() - started_s)


def _report(
    parts: ModelParts,
    plan: BenchPlan,
    load_s: float | None,
    timings: Sequence[ShotTiming],
    seconds: Mapping[Part, float],
    memory: Memory,
) -> BenchReport:
    warmup, measured, dissected = timings[: plan.warmup], timings[plan.warmup : -1], timings[-1]
    fps = Spread.of([timing.fps for timing in measured])
    first_frames_s = Spread.of([timing.first_frames_s for timing in measured])
    assert fps is not None, "a plan has shots to measure"
    assert first_frames_s is not None, "a plan has shots to measure"
    weight = parts.transformer.patch_embedding.weight
    return BenchReport(
        subject=_subject(parts),
        machine=Machine.here(weight.device),
        plan=plan,
        load_s=load_s,
        warmup=tuple(warmup),
        shots=tuple(measured),
        fps=fps,
        steady_fps=Spread.of([timing.steady_fps for timing in measured if timing.steady_fps is not None]),
        first_frames_s=first_frames_s,
        chunk_gap_s=Percentiles.of(measured),
        real_time_factor=fps.median / FPS,
        viewing=Viewing.of(measured),
        parts=_part_times(dissected, seconds),
        memory=memory,
    )


def _subject(parts: ModelParts) -> Subject:
    weight = parts.transformer.patch_embedding.weight
    named = {
        "transformer": parts.transformer,
        "codec": cast(nn.Module, parts.codec),
        "text_encoder": parts.text_encoder,
    }
    networks = {
        name: Network(
            sum(tensor.numel() for tensor in network.parameters()),
            sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values()),
        )
        for name, network in named.items()
    }
    config = parts.config
    dtype = str(weight.dtype).removeprefix("torch.")
    return Subject(config.name, parts.source, config.video, config.sampler, str(weight.device), dtype, networks)


def _part_times(timing: ShotTiming, seconds: Mapping[Part, float]) -> PartTimes:
    decoding_s = seconds["decode"] + seconds["transfer"]
    return PartTimes(
        seconds={part: seconds.get(part, 0.0) for part in get_args(Part)},
        other_s=timing.total_s - sum(seconds.values()),
        total_s=timing.total_s,
        fps_without_decode=sum(timing.frames) / (timing.total_s - decoding_s),
    )
