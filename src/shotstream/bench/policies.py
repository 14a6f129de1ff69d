"""Measure all policies side by side: one model, one script, one machine, one run."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from shotstream.api import with_policy
from shotstream.bench.machine import forget_peak, peak_device_bytes, synchronise
from shotstream.core.errors import InputError
from shotstream.engine.policies import SYSTEMS, default_sampler, find_system
from shotstream.engine.sampler import Sampler
from shotstream.engine.story import Story
from shotstream.model.kv_cache import CacheShape
from shotstream.story.script import Script
from shotstream.story.shot_spec import ShotSpec
from shotstream.weights.build import ModelComponents
from shotstream.world.captions import story_captions
from shotstream.world.stories import sample_story

ALL = "all"


@dataclass(frozen=True)
class PolicyTiming:
    """Speed of a policy on one script, with the decoder and without the encoding of video files.

    Attributes:
        policy: its name.
        shots: of the script.
        frames: of the whole video.
        fps: frames over the time of the whole video.
        first_frame_s: from the request to the first frames.
        growth: time of a shot in the whole script over that of a script of one shot.
        cache_bytes: of the KV cache.
        peak_device_bytes: on a CUDA device; None elsewhere.
    """

    policy: str
    shots: int
    frames: int
    fps: float
    first_frame_s: float
    growth: float
    cache_bytes: int
    peak_device_bytes: int | None


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
    shots: int,
    chunks: int,
    seed: int = 0,
    refused: Callable[[str, str], None] | None = None,
) -> Iterator[PolicyTiming]:
    """Yield the timing of one policy after another, after a story of one shot to warm up.

    Args:
        components: the model.
        policies: their names.
        shots: of the script; a policy that makes fewer at most gets fewer.
        chunks: of each shot.
        seed: of the script and of all noise.
        refused: told the policy and the reason where one cannot make the script; the others go on.
    """
    captions = story_captions(sample_story(seed, shots=shots, chunks=chunks))
    for name in policies:
        spec = SYSTEMS[name].spec
        count = min(shots, spec.shots[1] or shots)
        try:
            with_one = with_policy(components, name)
            _make(with_one, captions, 1, chunks, seed)
            alone_s, _, _ = _make(with_one, captions, 1, chunks, seed)
            device = components.transformer.patch_embedding.weight.device
            forget_peak(device)
            whole_s, first_frame_s, frames = _make(with_one, captions, count, chunks, seed)
        except InputError as error:
            if refused is not None:
                refused(name, str(error))
            continue
        yield PolicyTiming(
            name,
            count,
            frames,
            frames / whole_s,
            first_frame_s,
            whole_s / count / alone_s,
            cache_bytes(components, name),
            peak_device_bytes(device),
        )


def cache_bytes(components: ModelComponents, policy: str) -> int:
    """Return the size of a policy's KV cache; 0 for a policy without one."""
    spec, config = SYSTEMS[policy].spec, components.config
    rows = Sampler.from_config(default_sampler(spec, config)).branches
    size = (config.video.latent_height, config.video.latent_width)
    dtype = components.transformer.patch_embedding.weight.dtype
    return spec.capacity * CacheShape.of(config.transformer, rows, size).latent_bytes(dtype)


def _make(
    components: ModelComponents, captions: tuple[str, Sequence[str]], shots: int, chunks: int, seed: int
) -> tuple[float, float, int]:
    """Make a story; return its seconds, those to its first frames, and its frames."""
    global_caption, texts = captions
    device = components.transformer.patch_embedding.weight.device
    script = Script(global_caption, tuple(ShotSpec(text, chunks) for text in texts[:shots]))
    frames, first_s = 0, 0.0
    with Story(components, global_caption, seed=seed, script=script) as story:
        synchronise(device)
        started_s = time.perf_counter()
        for shot in script.shots:
            for made in story.shot(shot.text, shot.chunks):
                first_s = first_s or time.perf_counter() - started_s
                frames += len(made)
        synchronise(device)
        return time.perf_counter() - started_s, first_s, frames
