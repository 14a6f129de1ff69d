"""Infinity-RoPE: a window of 6 latents whose positions begin at 0 again for every chunk, and a jump at a cut.

A chunk sees the first latent of the video and the last two, at positions 0 to 2, and is at 3 to 5 itself. The first
chunk of a new shot is at 45 to 47 instead, far from what it sees, so that the picture may change at once.

Source: Infinity-RoPE (arXiv 2511.20649); the window, the sink and the positions are those of its released code.
"""

from collections.abc import Iterator

from shotstream.engine.call import Call, Key
from shotstream.engine.engine import Engine
from shotstream.engine.policy import FOUR_STEPS, OneShotPrompts, PolicySpec
from shotstream.engine.sampler import Latents
from shotstream.engine.video_plan import Video
from shotstream.story.layout import frame_layout

CUT_POSITION = 45


class InfinityRope(OneShotPrompts):
    """A window of a sink, two latents and a chunk, with positions inside the window."""

    spec = PolicySpec(
        name="infinity_rope",
        summary="Positions inside a window of six latents, so that a video has no end; a cut jumps in position.",
        source="arXiv 2511.20649",
        weights="SOTAMak1r/Infinite-Forcing, ema_model.pt",
        licence="Apache-2.0",
        live=True,
        streams=True,
        steers=True,
        keys="frame",
        capacity=6,
        sampler=FOUR_STEPS,
    )

    def rollout(self, video: Video, run: Engine) -> Iterator[Latents]:
        """Make the chunks of one shot after another over the same window."""
        held: tuple[int, ...] = ()
        for shot in video.shots:
            for frames in shot.chunks():
                text = run.text(self.prompts(video.global_caption, [shot.text]))
                count = len(frames)
                first = CUT_POSITION if held and frames.start == shot.first else len(held)
                layout = frame_layout(range(first, first + count), [0] * count, [0] * count)
                keys = tuple(Key(frame, position) for position, frame in enumerate(held))
                call = Call(frames, layout, text, keys)
                clean = run.denoise(call)
                yield clean
                run.commit(call, clean)
                held = (0, *frames[-2:])
                run.kv_cache.keep(held)
