"""MemFlow: LongLive's window, and a memory of three latents that are chosen by the prompt.

The first latent of every third chunk is remembered. Once there are more than three, the two whose keys answer the
prompt of the coming chunk best stay beside the newest one. A chunk sees the first 3 latents of the video, the memory,
and the last 9 latents, itself included. A latent that is in the memory and among the others counts twice. When a new
caption comes, the window is committed again under it, as in LongLive.

The released code chooses in every layer for itself, and again at every chunk; here all layers remember the same
latents, by their mean score, and choose when there is one to add. It holds copies in its memory, so that a latent that
is still in the window keeps its old keys there when a new caption comes; here a latent is held once. The paper's sparse
activation, which picks tokens of the memory for every query, is off in the released configuration, and left out.

Source: MemFlow (arXiv 2512.14699); sizes and scores are those of its released code.
"""

from collections.abc import Iterator, Sequence

import torch

from shotstream.engine.call import Call, Key, Text
from shotstream.engine.engine import Engine
from shotstream.engine.policy import FOUR_STEPS, PUBLISHED_CHUNK, OneShotPrompts, PolicySpec
from shotstream.engine.sampler import Latents
from shotstream.engine.video_plan import Video
from shotstream.story.layout import frame_layout

WINDOW, SINK, MEMORY = 12, 3, 3
EVERY = 3
"""Chunks from one that is remembered to the next."""


class MemFlow(OneShotPrompts):
    """A short window with a sink and a memory, and a recommit at every new caption."""

    spec = PolicySpec(
        name="memflow",
        summary="A short window with a sink, and a memory of three past latents that answer the prompt best.",
        source="arXiv 2512.14699",
        weights="KlingTeam/MemFlow, base.pt with lora.pt",
        licence="Apache-2.0",
        live=True,
        streams=True,
        steers=True,
        keys="frame",
        capacity=WINDOW + MEMORY,
        sampler=FOUR_STEPS,
    )

    def rollout(self, video: Video, run: Engine) -> Iterator[Latents]:
        """Make the chunks of one shot after another over the same cache."""
        window: list[Latents] = []
        memory: tuple[int, ...] = ()
        text: Text | None = None
        for shot in video.shots:
            for frames in shot.chunks():
                before, text = text, run.text(self.prompts(video.global_caption, [shot.text]))
                if frames.start // PUBLISHED_CHUNK % EVERY == 1:
                    memory = _remember(run, memory, frames.start - PUBLISHED_CHUNK, text)
                if before is not None and text is not before:
                    _recommit(run, frames.start, torch.cat(window, 1), text, memory)
                latest = range(max(SINK, frames.stop - WINDOW + SINK), frames.start)
                call = _call(run, frames, text, [*range(min(SINK, frames.start)), *memory, *latest])
                clean = run.denoise(call)
                yield clean
                run.commit(call, clean)
                window = [*window, clean][-WINDOW // PUBLISHED_CHUNK :]


def _remember(run: Engine, memory: tuple[int, ...], new: int, text: Text) -> tuple[int, ...]:
    """Return the memory with a new latent, and without the one that answers the prompt least where it is full."""
    if len(memory) == MEMORY:
        best = run.relevance(memory, text).topk(MEMORY - 1).indices.tolist()
        memory = tuple(memory[index] for index in sorted(best))
    return (*memory, new)


def _recommit(run: Engine, made: int, window: Latents, text: Text, memory: Sequence[int]) -> None:
    """Commit the window of the latents made so far under another caption."""
    sink = SINK if made > WINDOW else 0
    count = min(made, WINDOW) - sink
    run.commit(_call(run, range(made - count, made), text, [*range(sink), *memory]), window[:, -count:])


def _call(run: Engine, frames: range, text: Text, seen: Sequence[int]) -> Call:
    """Return the call of latents that see these of the cache, from which all others are dropped."""
    run.kv_cache.keep(seen)
    zeros = [0] * len(frames)
    return Call(frames, frame_layout(frames, zeros, zeros), text, tuple(Key(frame) for frame in seen))
