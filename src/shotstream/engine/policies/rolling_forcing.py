"""Rolling Forcing: several chunks are denoised together, each one step noisier than the one before it.

A pass is one forward over as many chunks as the sampler has steps. It finishes the oldest chunk, moves every other one
to its next noise level, and takes in a new one. Chunks of the window see each other, the clean latents before them, and
an anchor: the first chunk of the video, placed right in front of the clean ones. After every pass the clean estimate of
the oldest chunk is committed. What the released code does with several captions is not known; here each latent reads
the caption of its own shot.

Source: Rolling Forcing (arXiv 2509.25161).
"""

from collections.abc import Iterator, Sequence

import torch

from shotstream.engine.call import Call, Key
from shotstream.engine.engine import Engine
from shotstream.engine.policy import PUBLISHED_CHUNK, OneShotPrompts, PolicySpec
from shotstream.engine.sampler import Latents
from shotstream.engine.video_plan import Video
from shotstream.model.config import SamplerConfig
from shotstream.model.schedule import add_noise, clean_from_velocity
from shotstream.story.layout import frame_layout

WINDOW = 21
"""Latents that a forward sees, itself and the anchor included."""
PromptedFrames = tuple[range, str]
"""The latents of a chunk, and its prompt."""


class RollingForcing(OneShotPrompts):
    """A window of rising noise, an anchor, and the clean latents between them."""

    spec = PolicySpec(
        name="rolling_forcing",
        summary="Denoises a window of chunks together, each noisier than the last; the first chunk stays in sight.",
        source="arXiv 2509.25161",
        weights="TencentARC/RollingForcing, checkpoints/rolling_forcing_dmd.pt",
        licence="for academic use only (terms of RollingForcing)",
        streams=True,
        steers=True,
        keys="frame",
        renoises=True,
        capacity=WINDOW + PUBLISHED_CHUNK,
        sampler=SamplerConfig(steps=(1000.0, 800.0, 600.0, 400.0, 200.0), shift=5.0),
    )

    def rollout(self, video: Video, run: Engine) -> Iterator[Latents]:
        """Make all chunks of all shots in one diagonal sweep."""
        blocks: list[PromptedFrames] = [
            (frames, self.prompts(video.global_caption, [shot.text])[0])
            for shot in video.shots
            for frames in shot.chunks()
        ]
        sigmas = run.sampler.sigmas[: run.sampler.forwards]
        noisy: list[Latents] = []
        for newest in range(len(blocks) + len(sigmas) - 1):
            oldest = max(0, newest - len(sigmas) + 1)
            window = blocks[oldest : newest + 1]
            noisy += [run.noise(frames, 0) for frames, _ in blocks[newest : newest + 1]]
            steps = [newest - oldest - index for index in range(len(window))]
            levels = torch.tensor([sigmas[step] for step in steps]).repeat_interleave(PUBLISHED_CHUNK)
            x = torch.cat(noisy, 1)
            clean = clean_from_velocity(x, run.velocity(_window(run, window), x, levels), levels[None])
            estimates = list(zip(window, steps, clean.split(PUBLISHED_CHUNK, 1), strict=True))
            if steps[0] + 1 == len(sigmas):
                yield estimates.pop(0)[2]
            run.commit(_first(run, window[0]), clean[:, :PUBLISHED_CHUNK])
            end = window[0][0].stop
            run.kv_cache.keep([*range(PUBLISHED_CHUNK), *range(end - WINDOW + PUBLISHED_CHUNK, end)])
            noisy = [
                add_noise(estimate, run.noise(frames, step + 1), sigmas[step + 1])
                for (frames, _), step, estimate in estimates
            ]


def _window(run: Engine, window: Sequence[PromptedFrames]) -> Call:
    """Return the call of a pass: the window at its place in the video, and what it sees of the cache."""
    first, last = window[0][0].start, window[-1][0].stop
    keys: tuple[Key, ...] = ()
    if first:
        room = WINDOW - (last - first) - PUBLISHED_CHUNK
        work = range(max(PUBLISHED_CHUNK, first - room), first)
        begin = first - len(work) - PUBLISHED_CHUNK
        anchor = (Key(frame, begin + frame) for frame in range(PUBLISHED_CHUNK))
        keys = (*anchor, *(Key(frame) for frame in work))
    return _call(run, window, keys)


def _first(run: Engine, block: PromptedFrames) -> Call:
    """Return the clean call of the oldest chunk: it sees the latents right before it, and no anchor."""
    frames = block[0]
    return _call(run, [block], tuple(Key(frame) for frame in range(max(0, frames.stop - WINDOW), frames.start)))


def _call(run: Engine, window: Sequence[PromptedFrames], keys: tuple[Key, ...]) -> Call:
    frames = range(window[0][0].start, window[-1][0].stop)
    prompts = list(dict.fromkeys(prompt for _, prompt in window))
    captions = [prompts.index(prompt) for own, prompt in window for _ in own]
    return Call(frames, frame_layout(frames, [0] * len(frames), captions), run.text(prompts), keys)
