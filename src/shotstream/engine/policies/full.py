"""One prompt and full attention over all shots: what the base model makes of a script.

Nothing tells the model where a shot ends but the words of the prompt. Source: Wan2.1 (arXiv 2503.20314).
"""

from collections.abc import Iterator, Sequence

from shotstream.engine.call import Call
from shotstream.engine.engine import Engine
from shotstream.engine.policies.whole_video import WAN_NEGATIVE, WholeVideo
from shotstream.engine.policy import PolicySpec
from shotstream.engine.sampler import Latents
from shotstream.engine.video_plan import Video
from shotstream.model.config import SamplerConfig
from shotstream.story.captions import join_captions


class Full:
    """Bidirectional attention of every latent to every other, and to one prompt that names all shots."""

    spec = PolicySpec(
        name="full",
        summary="All shots at once under one prompt, every latent sees every other; no shot structure.",
        source="arXiv 2503.20314",
        weights="Wan-AI/Wan2.1-T2V-1.3B",
        licence="Apache-2.0",
        joined_prompts=1,
        sampler=SamplerConfig(kind="euler", num_steps=50, shift=8.0, guidance=6.0),
    )

    def prompts(self, global_caption: str, shots: Sequence[str]) -> list[str]:
        """Return one prompt: the global caption, then the captions of all shots in order."""
        return [join_captions(global_caption, " ".join(shot.strip() for shot in shots))]

    def rollout(self, video: Video, run: Engine) -> Iterator[Latents]:
        """Denoise the whole video."""
        whole = WholeVideo.of(video)
        text = run.text(self.prompts(video.global_caption, whole.captions), WAN_NEGATIVE)
        yield from whole.make(run, Call(whole.frames, whole.layout(), text))
