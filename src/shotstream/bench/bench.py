"""Measure how fast a model makes a story, everything counted: text, context, denoising, decoding, writing history.

A story is told through the public engine. Its first shots warm up and are reported apart. The shots after them are
timed without looking inside; one more is timed part by part, because that makes the host wait for the device. Each part
is held against its work (`bench.flops`) and against what the device can do at best (`bench.roofline`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import cast

import torch
from torch import nn

from shotstream.bench.decoder_fidelity import Fidelity, fidelity_of, noting_latents
from shotstream.bench.flops import shot_cost
from shotstream.bench.machine import Machine, forget_peak, peak_device_bytes, peak_resident_bytes, synchronise
from shotstream.bench.roofline import Roofline, ShotBreakdown, measure_roofline
from shotstream.bench.timing import Percentiles, ShotTiming, Spread, Viewing
from shotstream.core.config import nearest
from shotstream.core.errors import InputError
from shotstream.core.profiling import SpanProfiler
from shotstream.core.spec import FPS, PAPER_SHOT, ShotShape, VideoSize, check_whole_chunks
from shotstream.engine.context import caption_vector
from shotstream.engine.story import Story
from shotstream.model.config import ModelConfig, SamplerConfig, TinyDecoderConfig
from shotstream.runtime.cuda_graphs import CudaGraphPool
from shotstream.story.captions import compose_caption
from shotstream.story.relevance import make_selector
from shotstream.story.script import Script
from shotstream.story.shot_spec import ShotSpec
from shotstream.train.presets import STORYWORLD, TINY
from shotstream.weights.build import ModelComponents, random_components
from shotstream.weights.hub import open_components
from shotstream.weights.wan_layouts import WAN_1_3B, ReadOptions
from shotstream.world.captions import story_captions
from shotstream.world.stories import sample_story

SHAPES: Mapping[str, ModelConfig] = MappingProxyType(
    {shape.name: shape for shape in (STORYWORLD.model, WAN_1_3B, TINY.model)}
)
"""Models that can be measured without weights."""
DECODERS: Mapping[str, TinyDecoderConfig] = MappingProxyType({"taew2_1": TinyDecoderConfig()})
"""Tiny decoders that can be."""


@dataclass(frozen=True)
class BenchPlan:
    """A measurement: `shots` shots of `chunks` chunks after `warmup` shots, in the StoryWorld story of `seed`."""

    shots: int = 3
    chunks: int = PAPER_SHOT.max_chunks
    warmup: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole_chunks(self.chunks)
        if self.shots < 1:
            raise InputError(f"expected at least one shot to measure, got {self.shots}")
        if self.warmup < 0:
            raise InputError(f"expected 0 or more shots of warm-up, got {self.warmup}")


@dataclass(frozen=True)
class NetworkSize:
    """The size of one network."""

    parameters: int
    bytes: int


@dataclass(frozen=True)
class Subject:
    """The model that was measured. If the text encoder ran on another device, its efficiency is of the wrong device.

    `lossy` names what makes its results others than those of the full model, `attention` its kernel
    (`model.attention_kernels`).
    """

    name: str
    source: str
    video: VideoSize
    sampler: SamplerConfig
    device: str
    text_device: str
    dtype: str
    networks: Mapping[str, NetworkSize]
    lossy: tuple[str, ...] = ()
    attention: str = "torch"


@dataclass(frozen=True)
class Memory:
    """Peak memory in bytes: of the process since its start, and of tensors on a CUDA device during the story."""

    peak_resident_bytes: int | None
    peak_device_bytes: int | None


@dataclass(frozen=True)
class BenchReport:
    """The results of a benchmark. Speeds are frames a second; `real_time_factor` is speed over the 16 that are shown.

    `load_s` and `warmup` belong to no other figure. Where shots have one chunk there is nothing steady and no gap; only
    shots of full length that are made chunk by chunk have a full window. `fidelity` is that of a lossy decoder,
    `velocity_error` the relative error of a first step by a lossy transformer, `chunk_error` that of a first chunk in
    fewer steps, or by another sampler.
    """

    subject: Subject
    machine: Machine
    plan: BenchPlan
    load_s: float | None
    warmup: tuple[ShotTiming, ...]
    shots: tuple[ShotTiming, ...]
    fps: Spread
    steady_fps: Spread | None
    full_window_fps: Spread | None
    first_frames_s: Spread
    chunk_gap_s: Percentiles | None
    real_time_factor: float
    viewing: Viewing
    roofline: Roofline
    breakdown: ShotBreakdown
    memory: Memory
    fidelity: Fidelity | None = None
    velocity_error: float | None = None
    chunk_error: float | None = None

    @property
    def lossy(self) -> tuple[str, ...]:
        """Return descriptions of everything lossy, with the measured errors."""
        errors = (("step", self.velocity_error), ("chunk", self.chunk_error))
        said = [f"relative error {error:.2%} of a first {what}" for what, error in errors if error is not None]
        return (*self.subject.lossy, *([str(self.fidelity)] if self.fidelity else []), *said)


def open_subject(
    source: str,
    device: torch.device,
    dtype: torch.dtype,
    *,
    random_weights: bool = False,
    text_device: torch.device | None = None,
    decoder: str | None = None,
    options: ReadOptions = ReadOptions(),  # noqa: B008 (frozen)
) -> tuple[ModelComponents, float]:
    """Return a model to measure and its load time in seconds; `random_weights` makes only its shape.

    Raises:
        InputError: there is no such model or decoder, or no such shape.
    """
    started_s = time.perf_counter()
    if random_weights:
        parts = random_components(_shape(source, decoder), device=device, dtype=dtype, text_device=text_device)
    else:
        parts = open_components(source, device, dtype, options=options, text_device=text_device, decoder=decoder)
    synchronise(device)
    return parts, time.perf_counter() - started_s


def _shape(source: str, decoder: str | None) -> ModelConfig:
    for what, name, known in (("model", source, SHAPES), ("decoder", decoder, DECODERS)):
        if name is not None and name not in known:
            hint = nearest(name, known)
            raise InputError(f"expected --random-weights with a {what} of {', '.join(known)}, got '{name}'{hint}")
    return SHAPES[source] if decoder is None else replace(SHAPES[source], tiny_decoder=DECODERS[decoder])


def bench(
    parts: ModelComponents,
    plan: BenchPlan,
    load_s: float | None = None,
    watch: Callable[[int], None] | None = None,
    *,
    graphs: CudaGraphPool | None = None,
) -> BenchReport:
    """Measure a model.

    Args:
        parts: the model, on its device.
        plan: what is measured.
        load_s: how long the model took to load, to be reported.
        watch: told how many shots are done after each.
        graphs: lends the story recorded forwards; None: nothing is recorded.
    """
    weight = parts.transformer.patch_embedding.weight
    told = sample_story(plan.seed, shots=plan.warmup + plan.shots + 1)
    global_caption, captions = story_captions(told)
    clock = SpanProfiler(lambda: synchronise(weight.device))
    best = measure_roofline(weight.device, weight.dtype)
    forget_peak(weight.device)
    timings: list[ShotTiming] = []
    script = Script(global_caption, tuple(ShotSpec(caption, plan.chunks) for caption in captions))
    with (
        Story(parts, global_caption, seed=plan.seed, script=script, clock=clock, graphs=graphs) as story,
        noting_latents(parts.codec) as noted,
    ):
        for index, caption in enumerate(captions):
            noted.clear()
            clock.running = index == len(captions) - 1
            read = read_captions(parts, story, global_caption, caption)
            timings.append(time_shot(story, caption, plan.chunks, parts.config.shot))
            if watch is not None:
                watch(index + 1)
    memory = Memory(peak_resident_bytes(), peak_device_bytes(weight.device))
    tokens = int(parts.text_encoder.tokenize(read[-1:])[1].sum())
    work = shot_cost(parts.config, weight.dtype, chunks=plan.chunks, captions=len(read), caption_tokens=tokens)
    windowed = parts.config.sampler.order == "chunks"
    breakdown = ShotBreakdown.of(timings[-1], clock.calls, work, best, windowed=windowed)
    fidelity = fidelity_of(parts, noted)
    return replace(_report(parts, plan, load_s, timings[:-1], breakdown, best, memory), fidelity=fidelity)


def read_captions(parts: ModelComponents, story: Story, global_caption: str, text: str) -> list[str]:
    """Return the captions that the next shot attends to: those of its context frames, and its own."""
    own = compose_caption(global_caption, len(story.history), text)
    if parts.config.captions == "target":
        return [own]
    past = story.history.past
    select = make_selector(parts.config.context, caption_vector(parts.text_encoder.encode))
    shots = dict.fromkeys(frame.shot for frame in select(past, text, parts.config.shot.context_latents))
    return [*(compose_caption(global_caption, shot, past[shot].caption) for shot in shots), own]


def time_shot(story: Story, caption: str, chunks: int, shape: ShotShape) -> ShotTiming:
    """Generate the next shot of a story and note when each chunk arrives; `shape` is of the model's shots."""
    arrivals_s: list[float] = []
    frames: list[int] = []
    started_s = time.perf_counter()
    for chunk in story.shot(caption, chunks):
        arrivals_s.append(time.perf_counter() - started_s)
        frames.append(len(chunk))
    return ShotTiming(tuple(arrivals_s), tuple(frames), time.perf_counter() - started_s, shape.max_chunks)


def _report(
    parts: ModelComponents,
    plan: BenchPlan,
    load_s: float | None,
    timings: Sequence[ShotTiming],
    breakdown: ShotBreakdown,
    best: Roofline,
    memory: Memory,
) -> BenchReport:
    warmup, measured = timings[: plan.warmup], timings[plan.warmup :]
    fps = Spread.of([timing.fps for timing in measured])
    first_frames_s = Spread.of([timing.first_frames_s for timing in measured])
    assert fps is not None, "a plan has shots to measure"
    assert first_frames_s is not None, "a plan has shots to measure"
    weight = parts.transformer.patch_embedding.weight
    windowed = parts.config.sampler.order == "chunks"
    return BenchReport(
        subject=_subject(parts),
        machine=Machine.here(weight.device),
        plan=plan,
        load_s=load_s,
        warmup=tuple(warmup),
        shots=tuple(measured),
        fps=fps,
        steady_fps=Spread.of([timing.steady_fps for timing in measured if timing.steady_fps is not None]),
        full_window_fps=Spread.of([speed for timing in measured if windowed and (speed := timing.full_window_fps)]),
        first_frames_s=first_frames_s,
        chunk_gap_s=Percentiles.of(measured),
        real_time_factor=fps.median / FPS,
        viewing=Viewing.of(measured),
        roofline=best,
        breakdown=breakdown,
        memory=memory,
    )


def _subject(parts: ModelComponents) -> Subject:
    weight = parts.transformer.patch_embedding.weight
    named = {
        "transformer": parts.transformer,
        "codec": cast(nn.Module, parts.codec),
        "text_encoder": parts.text_encoder,
    }
    networks = {
        name: NetworkSize(
            sum(tensor.numel() for tensor in network.parameters()),
            sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values()),
        )
        for name, network in named.items()
    }
    config = parts.config
    dtype = str(weight.dtype).removeprefix("torch.")
    devices = str(weight.device), str(next(parts.text_encoder.parameters()).device)
    return Subject(
        config.name,
        parts.source,
        config.video,
        config.sampler,
        *devices,
        dtype,
        networks,
        parts.lossy,
        parts.transformer.kernel.name,
    )
