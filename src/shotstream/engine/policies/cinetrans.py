"""CineTrans: masks in the middle layers, where latents see their own shot and the video's first latent.

There, a latent also reads the caption of its shot and the global one alone. The first and last layers have no mask.

Source: CineTrans (arXiv 2508.11484).
"""

from collections.abc import Iterator, Sequence

from shotstream.engine.call import Call
from shotstream.engine.engine import Engine
from shotstream.engine.policies.whole_video import WAN_NEGATIVE, WholeVideo
from shotstream.engine.policy import PolicySpec
from shotstream.engine.sampler import Latents
from shotstream.engine.video_plan import Video
from shotstream.model.attention import Group
from shotstream.model.config import SamplerConfig

FIRST_MASKED, AFTER_MASKED, LAYERS = 6, 28, 30
"""Masked layers of the published model, and all that it has; in a network of another depth, the same part of them."""
FIRST_LATENT = slice(0, 1)


class CineTrans:
    """All shots at once; block-diagonal attention in the middle layers, with the first latent for all."""

    spec = PolicySpec(
        name="cinetrans",
        summary="All shots at once; in the middle layers a latent sees its own shot and the video's first latent.",
        source="arXiv 2508.11484",
        weights="NumlockUknowSth/CineTrans-DiT, weights.pt (an adapter of Wan2.1-T2V-1.3B; 21 latents in all)",
        licence="none given",
        sampler=SamplerConfig(kind="euler", num_steps=50, shift=8.0, guidance=6.0),
    )

    def prompts(self, global_caption: str, shots: Sequence[str]) -> list[str]:
        """Return one prompt a shot, and the global one as the last."""
        return [*shots, global_caption]

    def rollout(self, video: Video, run: Engine) -> Iterator[Latents]:
        """Denoise the whole video."""
        whole = WholeVideo.of(video)
        text = run.joined_text(self.prompts(video.global_caption, whole.captions), WAN_NEGATIVE)
        *own, everyones = text.spans
        sees = tuple(Group(span, (FIRST_LATENT, span) if span.start else (span,)) for span in whole.spans)
        reads = tuple(Group(span, (prompt, everyones)) for span, prompt in zip(whole.spans, own, strict=True))
        masked = masked_layers(run.layers)
        call = Call(
            whole.frames,
            whole.layout(),
            text,
            sees=lambda layer: sees if layer in masked else (),
            reads=lambda layer: reads if layer in masked else (),
        )
        yield from whole.make(run, call)


def masked_layers(layers: int) -> range:
    """Return the masked layers of a network with so many."""
    return range(layers * FIRST_MASKED // LAYERS, layers * AFTER_MASKED // LAYERS)
