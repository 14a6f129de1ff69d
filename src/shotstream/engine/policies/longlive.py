"""LongLive: a window of 12 latents, the first 3 of the video among them, committed again when the caption changes.

When a new caption comes, the window's clean latents pass through the network once more under it, all seeing each
other, so that old keys and values do not hold the picture back. The sink stays as the first caption left it, unless the
window still reaches back to the beginning.

Source: LongLive (arXiv 2509.22622).
"""

from collections.abc import Iterator

import torch

from shotstream.engine.call import Call, Text
from shotstream.engine.engine import Engine
from shotstream.engine.policy import FOUR_STEPS, OneShotPrompts, PolicySpec
from shotstream.engine.sampler import Latents
from shotstream.engine.video_plan import Video
from shotstream.story.layout import frame_layout

WINDOW, SINK = 12, 3


class LongLive(OneShotPrompts):
    """A short rolling window with a sink, and a recommit at every new caption."""

    spec = PolicySpec(
        name="longlive",
        summary="A short window with a sink of the first latents; the window is committed again under a new caption.",
        source="arXiv 2509.22622",
        weights="Efficient-Large-Model/LongLive-1.3B, longlive_base.pt with lora.pt",
        licence="Apache-2.0",
        live=True,
        streams=True,
        steers=True,
        keys="rotated",
        capacity=WINDOW,
        sink=SINK,
        sampler=FOUR_STEPS,
    )

    def rollout(self, video: Video, run: Engine) -> Iterator[Latents]:
        """Make the chunks of one shot after another over the same cache."""
        window: list[Latents] = []
        text: Text | None = None
        for shot in video.shots:
            for frames in shot.chunks():
                before, text = text, run.text(self.prompts(video.global_caption, [shot.text]))
                if before is not None and text is not before:
                    _recommit(run, frames.start, torch.cat(window, 1), text)
                call = _call(frames, text)
                clean = run.denoise(call)
                yield clean
                run.commit(call, clean)
                window = [*window, clean][-WINDOW // len(frames) :]


def _recommit(run: Engine, made: int, window: Latents, text: Text) -> None:
    """Commit the window of the latents made so far under another caption."""
    sink = SINK if made > WINDOW else 0
    count = min(made, WINDOW) - sink
    run.kv_cache.keep(range(sink))
    run.commit(_call(range(made - count, made), text), window[:, -count:])


def _call(frames: range, text: Text) -> Call:
    return Call(frames, frame_layout(frames, [0] * len(frames), [0] * len(frames)), text)
