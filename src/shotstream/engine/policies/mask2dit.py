"""Mask2DiT's attention on this backbone: every latent sees every other, and reads the caption of its own shot alone.

The published model is another network (CogVideoX-5B), whose text tokens are updated too and see their own shot; Wan's
are not, so that half of its mask has no counterpart. No weights of this network were trained for it.

Source: Mask2DiT (arXiv 2503.19881).
"""

from collections.abc import Iterator

from shotstream.engine.call import Call
from shotstream.engine.engine import Engine
from shotstream.engine.policies.whole_video import WAN_NEGATIVE, WholeVideo
from shotstream.engine.policy import OneShotPrompts, PolicySpec
from shotstream.engine.sampler import Latents
from shotstream.engine.video_plan import Video
from shotstream.model.config import SamplerConfig


class Mask2DiT(OneShotPrompts):
    """All shots at once; full self-attention, and cross-attention to the shot's own caption."""

    spec = PolicySpec(
        name="mask2dit",
        summary="All shots at once; full attention, each shot reads its own caption. Its mask alone: another network.",
        source="arXiv 2503.19881",
        weights="none of this network (the published ones are a CogVideoX-5B)",
        licence="code Apache-2.0",
        decode="shot",
        sampler=SamplerConfig(kind="euler", num_steps=50, shift=8.0, guidance=6.0),
    )

    def rollout(self, video: Video, run: Engine) -> Iterator[Latents]:
        """Denoise the whole video."""
        whole = WholeVideo.of(video)
        text = run.text(self.prompts(video.global_caption, whole.captions), WAN_NEGATIVE)
        yield from whole.make(run, Call(whole.frames, whole.layout(captions=whole.owners), text))
