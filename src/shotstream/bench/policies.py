"""Measure all policies side by side: one model, one script, one machine, one run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from shotstream.api import with_policy
from shotstream.bench.bench import time_shot
from shotstream.bench.machine import watch_peak
from shotstream.bench.timing import ShotTiming
from shotstream.core.errors import InputError
from shotstream.engine.policies import SYSTEMS, find_system
from shotstream.engine.policy import PolicySpec
from shotstream.engine.sampler import Sampler
from shotstream.engine.story import Story
from shotstream.model.kv_cache import CacheShape
from shotstream.runtime.cuda_graphs import CudaGraphPool
from shotstream.story.script import Script
from shotstream.story.shot_spec import ShotSpec
from shotstream.weights.build import ModelComponents
from shotstream.world.captions import story_captions
from shotstream.world.stories import sample_story

ALL = "all"


@dataclass(frozen=True)
class PolicyTiming:
    """Speed and memory of a policy on a story of so many shots, decoding included, without files of the whole video.

    Attributes:
        policy: its name.
        shots: of the story.
        frames: of the whole video.
        fps: frames over the time of the whole video.
        first_frame_s: from the request of the last shot to its first frames; of a policy that must know the whole
            script, from the beginning.
        growth: time of the last shot over that of a story of one shot; of a policy that makes all shots at once, the
            mean time of a shot.
        full_window_fps: frames of a last chunk over its time, the median over the shots behind the first; None where
            shots are shorter than the model's longest, or chunks do not come one by one. Two policies that see equally
            many latents there compare in it.
        cache_bytes: of the KV cache.
        peak_bytes: peak memory beyond the model's, of tensors on a CUDA device or of the process; None where the
            system does not say.
    """

    policy: str
    shots: int
    frames: int
    fps: float
    first_frame_s: float
    growth: float
    full_window_fps: float | None
    cache_bytes: int
    peak_bytes: int | None


@dataclass(frozen=True)
class _ShotRecord:
    """The timing of a shot, and the peak memory of its story until then."""

    timing: ShotTiming
    peak_bytes: int | None


def choose_policies(names: str) -> tuple[str, ...]:
    """Return the policies that a list with commas names, or all.

    Raises:
        InputError: there is no such policy.
    """
    if names == ALL:
        return tuple(SYSTEMS)
    return tuple(find_system(name.strip()).spec.name for name in names.split(","))


def time_policies(
    components: ModelComponents,
    policies: Sequence[str],
    counts: Sequence[int],
    chunks: int,
    seed: int = 0,
    refused: Callable[[str, str], None] | None = None,
    graphs: CudaGraphPool | None = None,
) -> Iterator[PolicyTiming]:
    """Yield the timings of one policy after another, after a story of one shot to warm up.

    A live policy makes one story, which is timed at every count of shots; another makes a story for each count.

    Args:
        components: the model.
        policies: their names.
        counts: numbers of shots, rising; a policy that makes fewer at most is timed at its most instead.
        chunks: of each shot.
        seed: of the script and of all noise.
        refused: told the policy and the reason where one cannot make the script; the others go on.
        graphs: lends stories recorded forwards; None: nothing is recorded.
    """
    captions = story_captions(sample_story(seed, shots=max(counts)))
    for name in policies:
        spec = SYSTEMS[name].spec
        possible = sorted({min(count, spec.shots[1] or count) for count in counts})
        try:
            prepared = with_policy(components, name)
            tell = partial(_tell, prepared, graphs, captions, chunks, seed)
            tell(1)
            yield from _time_policy(spec, tell, possible, cache_bytes(prepared, spec))
        except InputError as error:
            if refused is not None:
                refused(name, str(error))


def _time_policy(
    spec: PolicySpec, tell: Callable[[int], list[_ShotRecord]], counts: Sequence[int], cache: int
) -> Iterator[PolicyTiming]:
    """Yield the timings of a policy; `tell` makes a story of so many shots, with a cache of so many bytes."""
    alone = tell(1)
    longest = tell(counts[-1]) if spec.live else []
    for count in counts:
        made = longest[:count] if spec.live else tell(count)
        timings = [record.timing for record in made]
        total_s = sum(timing.total_s for timing in timings)
        shot_s, asked = (timings[-1].total_s, timings[-1]) if spec.live else (total_s / count, timings[0])
        full = [fps for timing in timings[1:] if spec.streams and (fps := timing.full_window_fps)]
        frames = sum(sum(timing.frames) for timing in timings)
        yield PolicyTiming(
            spec.name,
            count,
            frames,
            frames / total_s,
            asked.first_frames_s,
            shot_s / alone[0].timing.total_s,
            median(full) if full else None,
            cache,
            made[-1].peak_bytes,
        )


def cache_bytes(components: ModelComponents, spec: PolicySpec) -> int:
    """Return the size of a policy's KV cache; 0 for a policy without one."""
    config, dtype = components.config, components.transformer.patch_embedding.weight.dtype
    size = (config.video.latent_height, config.video.latent_width)
    shape = CacheShape.of(config.transformer, Sampler.from_config(config.sampler).branches, size)
    shot = config.shot
    held = spec.held_latents(shot.max_chunks, None, shot, whole=spec.keys is None)
    return held.cached * shape.latent_bytes(dtype)


def _tell(
    components: ModelComponents,
    graphs: CudaGraphPool | None,
    captions: tuple[str, Sequence[str]],
    chunks: int,
    seed: int,
    shots: int,
) -> list[_ShotRecord]:
    """Make a story of so many shots and return what is known of each."""
    global_caption, texts = captions
    script = Script(global_caption, tuple(ShotSpec(text, chunks) for text in texts[:shots]))
    peak = watch_peak(components.transformer.patch_embedding.weight.device)
    with Story(components, global_caption, seed=seed, script=script, graphs=graphs) as story:
        shape = components.config.shot
        return [_ShotRecord(time_shot(story, shot.text, shot.chunks, shape), peak()) for shot in script.shots]
