"""LongLive 2: a window whose sink is the first chunk of the video and the first of the newest shot, told of every cut.

Three rules hold at a cut. The first chunk of the new shot reads its caption behind a sentence that announces the cut.
It is pinned to the window from then on, beside the first chunk of the video, until the next cut. The temporal positions
of all later latents move on by 8. Nothing is committed again under a new caption.

The published model makes chunks of 8 latents in a window of four chunks, with the codec of Wan2.2's 5B model. A chunk
has 3 latents here, so the window is four chunks of 3, as in LongLive 1, whose weights run under these rules. The rules
are those of the released code; its option to empty the cache at a cut is off there, and left out.

Source: LongLive 2.0 (arXiv 2605.18739).
"""

from collections.abc import Iterator, Sequence

from shotstream.engine.call import Call, Key
from shotstream.engine.engine import Engine
from shotstream.engine.policy import FOUR_STEPS, PUBLISHED_CHUNK, PolicySpec
from shotstream.engine.sampler import Latents
from shotstream.engine.video_plan import Video
from shotstream.story.captions import join_captions
from shotstream.story.layout import frame_layout

WINDOW, SINK = 4 * PUBLISHED_CHUNK, PUBLISHED_CHUNK
CUT_JUMP = 8
"""Temporal positions between the last latent of a shot and the first of the next, besides the usual one."""
CUT_SENTENCE = "The scene transitions. "


class LongLive2:
    """A short window with two sinks, one of the video and one of the shot."""

    spec = PolicySpec(
        name="longlive2",
        summary="A short window that keeps the first chunk of the video and of the shot; cuts are announced, and jump.",
        source="arXiv 2605.18739",
        weights="those of longlive run (the published Efficient-Large-Model/LongLive-2.0-5B is another network)",
        licence="Apache-2.0",
        live=True,
        streams=True,
        steers=True,
        keys="frame",
        capacity=WINDOW,
        sampler=FOUR_STEPS,
    )

    def prompts(self, global_caption: str, shots: Sequence[str]) -> list[str]:
        """Return two prompts a shot: that of its chunks, and that of a first chunk behind a cut."""
        plain = [join_captions(global_caption, shot) for shot in shots]
        return [prompt for own in plain for prompt in (own, f"{CUT_SENTENCE}{own}")]

    def rollout(self, video: Video, run: Engine) -> Iterator[Latents]:
        """Make the chunks of one shot after another over the same window."""
        held: list[int] = []
        pinned: tuple[int, ...] = ()
        for shot in video.shots:
            for frames in shot.chunks():
                cut = shot.index > 0 and frames.start == shot.first
                plain, announced = self.prompts(video.global_caption, [shot.text])
                count, first = len(frames), frames.start + CUT_JUMP * shot.index
                layout = frame_layout(range(first, first + count), [0] * count, [0] * count)
                text = run.text([announced if cut else plain])
                call = Call(frames, layout, text, tuple(Key(frame) for frame in held))
                clean = run.denoise(call)
                yield clean
                run.commit(call, clean)
                pinned = tuple(frames) if cut else pinned
                held = _held(frames.stop, pinned)
                run.kv_cache.keep(held)


def _held(made: int, pinned: Sequence[int]) -> list[int]:
    """Return what the next chunk sees of the latents made so far: both sinks and the latest."""
    sinks = sorted({*range(SINK), *pinned})
    latest = [frame for frame in range(max(0, made - WINDOW), made) if frame not in sinks]
    return [*sinks, *latest[len(sinks) + PUBLISHED_CHUNK - WINDOW :]]
