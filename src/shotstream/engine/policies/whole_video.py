"""Helpers of policies that make all shots at once: where shots lie, whose latent is whose, and the negative prompt."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shotstream.core.types import FrameLayout
from shotstream.engine.call import Call
from shotstream.engine.engine import Engine
from shotstream.engine.sampler import Latents
from shotstream.engine.video_plan import Video
from shotstream.story.layout import frame_layout

WAN_NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，"
    "静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
"""Negative prompt of models that were trained from Wan2.1."""


@dataclass(frozen=True)
class WholeVideo:
    """All shots of a video: their captions, and the latents of each, `spans[s]` within the whole."""

    captions: tuple[str, ...]
    spans: tuple[slice, ...]

    @classmethod
    def of(cls, video: Video) -> "WholeVideo":
        """Ask for all shots of a video at once."""
        shots = list(video.shots)
        return cls(
            tuple(shot.text for shot in shots), tuple(slice(shot.frames.start, shot.frames.stop) for shot in shots)
        )

    @property
    def frames(self) -> range:
        """Return the numbers of all latents."""
        return range(self.spans[-1].stop)

    @property
    def owners(self) -> tuple[int, ...]:
        """Return the shot of every latent."""
        return tuple(shot for shot, span in enumerate(self.spans) for _ in range(span.start, span.stop))

    def layout(self, positions: Sequence[int] | None = None, captions: Sequence[int] | None = None) -> FrameLayout:
        """Return the layout of all latents, without a rotary phase.

        `positions` None: their numbers. `captions` None: all attend to one prompt, or to one joined text.
        """
        zeros = [0] * len(self.frames)
        return frame_layout(positions or self.frames, zeros, captions or zeros)

    def make(self, run: Engine, call: Call) -> Iterator[Latents]:
        """Denoise all latents together, and yield them shot by shot."""
        clean = run.denoise(call)
        yield from (clean[:, span] for span in self.spans)
