"""HoloCine: one prompt of which each shot reads the global part and its own, and attention that may be sparse.

Sparse: a latent sees its own shot and the first latent of every shot, its own among them, which thus counts twice.
Full: everyone sees everyone. The branch without guidance reads its whole prompt.

Source: HoloCine (arXiv 2510.20822).
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

CUT = " [shot cut]"
"""Ends the text of every shot but the last, to which the tag belongs."""


class HoloCine:
    """All shots at once; `sparse` attention between shots or full one."""

    def __init__(self, *, sparse: bool) -> None:
        name = "sparse" if sparse else "full"
        attention = "its own shot and the first latent of each" if sparse else "every other latent"
        self.sparse = sparse
        self.spec = PolicySpec(
            name="holocine" if sparse else "holocine_full",
            summary=f"All shots at once; a latent sees {attention}, and reads the global caption and its shot's.",
            source="arXiv 2510.20822",
            weights=f"hlwang06/HoloCine, {name}_high_noise and {name}_low_noise.safetensors (14B, of Wan2.2)",
            licence="CC-BY-NC-SA-4.0",
            shots=(1, 13),
            joined_prompts=1,
            sampler=SamplerConfig(kind="euler", num_steps=50, shift=5.0, guidance=5.0),
        )

    def prompts(self, global_caption: str, shots: Sequence[str]) -> list[str]:
        """Return one prompt in HoloCine's form."""
        return ["".join(self.pieces(global_caption, shots))]

    def pieces(self, global_caption: str, shots: Sequence[str]) -> list[str]:
        """Return the parts of the prompt: the global one, then one a shot."""
        last = len(shots) - 1
        count = f"This scene contains {len(shots)} shots."
        own = [f" {shot.strip()}{CUT if index < last else ''}" for index, shot in enumerate(shots)]
        return [f"[global caption] {global_caption.strip()} {count} ", f"[per shot caption]{own[0]}", *own[1:]]

    def rollout(self, video: Video, run: Engine) -> Iterator[Latents]:
        """Denoise the whole video."""
        whole = WholeVideo.of(video)
        pieces = self.pieces(video.global_caption, whole.captions)
        text = run.pieced_text(pieces, WAN_NEGATIVE)
        everyones, *own = (slice(span.start, span.stop + 1) for span in text.spans)
        padding = slice(text.padding.start + 1, text.padding.stop)
        reads = tuple(
            Group(span, (everyones, slice(max(part.start, everyones.stop), part.stop), padding))
            for span, part in zip(whole.spans, own, strict=True)
        )
        firsts = tuple(slice(span.start, span.start + 1) for span in whole.spans)
        sees = tuple(Group(span, (span, *firsts)) for span in whole.spans) if self.sparse else ()
        call = Call(
            whole.frames, whole.layout(), text, sees=lambda _: sees, reads=lambda _: reads, guided_reads_only=True
        )
        yield from whole.make(run, call)
