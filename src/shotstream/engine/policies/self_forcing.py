"""Self Forcing: one causal video, chunk by chunk, whose caption changes at a cut.

Every chunk sees the last 21 latents, itself included, at their own positions in the video. A new caption simply takes
the place of the old one: what is in the cache stays as it was committed. The released code makes one prompt of at most
21 latents; rolling on, and changing the caption between chunks, is how it is used for several shots. With another
window it is a policy of another name: one of 27 latents sees as many as ShotStream does at the end of a shot, so that
their speed can be compared.

Source: Self Forcing (arXiv 2506.08009).
"""

from collections.abc import Iterator

from shotstream.engine.call import Call
from shotstream.engine.engine import Engine
from shotstream.engine.policy import FOUR_STEPS, OneShotPrompts, PolicySpec
from shotstream.engine.sampler import Latents
from shotstream.engine.video_plan import Video
from shotstream.story.layout import frame_layout

PUBLISHED_WINDOW = 21
"""Latents that a chunk sees, itself included, in the published model."""


class SelfForcing(OneShotPrompts):
    """A rolling window over the latest latents, without a sink."""

    def __init__(self, window: int = PUBLISHED_WINDOW) -> None:
        """See so many latents, a whole number of chunks."""
        self.spec = PolicySpec(
            name="self_forcing" if window == PUBLISHED_WINDOW else f"self_forcing_{window}",
            summary=f"A causal model with a rolling window of {window} latents; the caption changes at a cut.",
            source="arXiv 2506.08009",
            weights="gdhe17/Self-Forcing, checkpoints/self_forcing_dmd.pt",
            licence="Apache-2.0",
            live=True,
            streams=True,
            steers=True,
            keys="rotated",
            capacity=window,
            sampler=FOUR_STEPS,
        )

    def rollout(self, video: Video, run: Engine) -> Iterator[Latents]:
        """Make the chunks of one shot after another over the same cache."""
        for shot in video.shots:
            for frames in shot.chunks():
                text = run.text(self.prompts(video.global_caption, [shot.text]))
                count = len(frames)
                call = Call(frames, frame_layout(frames, [0] * count, [0] * count), text)
                clean = run.denoise(call)
                yield clean
                run.commit(call, clean)
