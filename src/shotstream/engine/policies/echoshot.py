"""EchoShot: full attention over all shots, which rotary positions alone tell apart.

Between two shots the temporal position jumps (TcRoPE). In cross-attention, latents and captions are rotated by their
shot (TaRoPE), so that a latent attends most to the caption of its own shot without a mask. The captions, without their
padding, stand one behind the other in a text of four prompts' length, whose padding has a position of its own.

Source: EchoShot (arXiv 2506.15838).
"""

from collections.abc import Iterator

from shotstream.engine.call import Call
from shotstream.engine.engine import Engine
from shotstream.engine.policies.whole_video import WAN_NEGATIVE, WholeVideo
from shotstream.engine.policy import OneShotPrompts, PolicySpec
from shotstream.engine.sampler import Latents
from shotstream.engine.video_plan import Video
from shotstream.model.config import SamplerConfig

JUMP = 4
"""Positions between two shots, in time and in cross-attention."""
PADDING_JUMP = 10
"""Position of the text's padding behind the number of the last shot."""
PROMPTS_IN_TEXT = 4
NEGATIVE = f"{WAN_NEGATIVE}，水印，文字"


class EchoShot(OneShotPrompts):
    """All shots at once; rotary jumps mark their borders in time and bind each to its caption."""

    spec = PolicySpec(
        name="echoshot",
        summary="All shots at once; rotary jumps mark the cuts and bind latents to the caption of their shot.",
        source="arXiv 2506.15838",
        weights="JonneyWang/EchoShot, EchoShot-1.3B-preview.pth (2 to 6 shots, 24 to 32 latents in all)",
        licence="none given",
        shots=(1, 6),
        joined_prompts=PROMPTS_IN_TEXT,
        decode="shot",
        sampler=SamplerConfig(kind="euler", num_steps=50, shift=5.0, guidance=5.0),
    )

    def rollout(self, video: Video, run: Engine) -> Iterator[Latents]:
        """Denoise the whole video."""
        whole = WholeVideo.of(video)
        text = run.joined_text(
            self.prompts(video.global_caption, whole.captions),
            NEGATIVE,
            trim=True,
            total=PROMPTS_IN_TEXT * run.text_length,
            positions=[JUMP * shot for shot in range(len(whole.spans))],
            padding_position=len(whole.spans) - 1 + PADDING_JUMP,
        )
        jumps = tuple(JUMP * shot for shot in whole.owners)
        layout = whole.layout([frame + jump for frame, jump in zip(whole.frames, jumps, strict=True)])
        yield from whole.make(run, Call(whole.frames, layout, text, text_positions=jumps))
