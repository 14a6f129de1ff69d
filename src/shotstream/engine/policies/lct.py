"""Long context tuning, its video part: a shot after the other, each of which sees itself and the shots before it.

Latents of a shot see each other in both directions. Those before it are clean, with a little noise that the model is
told of. A shot lies on the diagonal of space and time: where it begins in time, its rows and columns begin too.

The published model is another network, of which there are no weights: its text tokens take part in self-attention,
and their places on the diagonal between the shots are left out here. How far a shot moves on is not published; here it
is its length.

Source: Long Context Tuning (arXiv 2503.10589).
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from shotstream.engine.call import Call
from shotstream.engine.engine import Engine
from shotstream.engine.policies.whole_video import WAN_NEGATIVE
from shotstream.engine.policy import PolicySpec
from shotstream.engine.sampler import Latents
from shotstream.engine.video_plan import Video
from shotstream.model.attention import Group
from shotstream.model.config import SamplerConfig
from shotstream.model.schedule import add_noise
from shotstream.story.captions import join_captions
from shotstream.story.layout import frame_layout

HISTORY_SIGMA = 0.1
"""Noise level of the shots before (of the published range, 0.1 to 0.5, the least)."""


class LCT:
    """Shot by shot with context-causal attention, on the diagonal of space and time."""

    spec = PolicySpec(
        name="lct",
        summary="Shot after shot, each sees those before it. The video part alone of another network.",
        source="arXiv 2503.10589",
        weights="none (not published)",
        licence="none given",
        live=True,
        streams=True,
        shots=(1, 9),
        sampler=SamplerConfig(kind="euler", num_steps=50, shift=8.0, guidance=6.0),
    )

    def prompts(self, global_caption: str, shots: Sequence[str]) -> list[str]:
        """Return one prompt a shot, behind the tag of a cut."""
        return [join_captions(global_caption, f"[SHOT CUT] {shot.strip()}") for shot in shots]

    def rollout(self, video: Video, run: Engine) -> Iterator[Latents]:
        """Denoise one shot after the other behind all before it."""
        captions: list[str] = []
        spans: list[slice] = []
        history: Tensor | None = None
        for shot in video.shots:
            captions.append(shot.text)
            spans.append(slice(shot.frames.start, shot.frames.stop))
            call = self._call(video.global_caption, captions, spans, run)
            before = None if history is None else add_noise(history, run.noise(range(shot.first), 0), HISTORY_SIGMA)
            made = self._denoise(run, call, shot.frames, before)
            yield made
            made = made[:, : shot.latents]
            spans[-1] = slice(shot.first, shot.first + shot.latents)
            history = made if history is None else torch.cat([history, made], 1)

    def _call(self, global_caption: str, captions: Sequence[str], spans: Sequence[slice], run: Engine) -> Call:
        owners = [shot for shot, span in enumerate(spans) for _ in range(span.start, span.stop)]
        plan = tuple(Group(span, (slice(0, span.stop),)) for span in spans)
        frames = range(spans[-1].stop)
        return Call(
            frames,
            frame_layout(frames, [0] * len(frames), owners),
            run.text(self.prompts(global_caption, captions), WAN_NEGATIVE),
            sees=lambda _: plan,
            diagonal=tuple(spans[owner].start for owner in owners),
        )

    def _denoise(self, run: Engine, call: Call, frames: range, before: Tensor | None) -> Tensor:
        past = frames.start

        def velocity(x: Tensor, sigma: float) -> Tensor:
            sequence = x if before is None else torch.cat([before, x], 1)
            return run.velocity(call, sequence, torch.tensor([HISTORY_SIGMA] * past + [sigma] * len(frames)))[:, past:]

        return run.sampler.denoise(velocity, lambda step: run.noise(frames, step))
