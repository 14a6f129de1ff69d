"""Select the context of a new shot: frames of the cast and of earlier shots, each with its caption."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.model.codec import to_pixels
from shotstream.story.caption_fit import Lost, fit_caption
from shotstream.story.cast import CAST_SHOT, CastMember, cast_as_shots, cast_share
from shotstream.story.history import History
from shotstream.story.selectors import ContextSelector, FrameRef


@dataclass(frozen=True)
class SelectedContext:
    """Selected frames in the order of the context.

    `shots` and `captions` are each frame's own, captions composed as they were when the frame was made; all are empty
    before the first shot of a story without a cast.
    """

    pixels: Float[Tensor, "1 f c h w"]
    shots: tuple[int, ...]
    captions: tuple[str, ...]

    @property
    def different_captions(self) -> list[str]:
        """Return every caption once, in the order in which they come."""
        return list(dict.fromkeys(self.captions))

    @property
    def described(self) -> list[int]:
        """Return, for each frame, the index of its caption among the different captions."""
        return [self.different_captions.index(caption) for caption in self.captions]


def select_context_frames(
    history: History, select: ContextSelector, text: str, cast: Sequence[CastMember], lost: Lost, budget: int
) -> SelectedContext:
    """Return the context of a shot with this caption: the cast's share, then the chosen frames of earlier shots.

    Args:
        history: of the story.
        select: which frames.
        text: the new shot's own caption.
        cast: the members of the cast that it knows.
        lost: says what the text encoder does not read of a caption.
        budget: frames of a context.
    """
    members, frames = choose_context_frames(history, select, text, cast, budget)
    said = {member.number: member.caption for member in cast}
    captions = [(CAST_SHOT, said[ref.shot]) for ref in members]
    captions += [(ref.shot, history.past[ref.shot].caption_at(ref.frame)) for ref in frames]
    whole = history.identity.global_caption
    return SelectedContext(
        _pixels(history, members, frames),
        tuple(shot for shot, _ in captions),
        tuple(fit_caption(lost, whole, shot, caption).caption for shot, caption in captions),
    )


def choose_context_frames(
    history: History, select: ContextSelector, text: str, cast: Sequence[CastMember], budget: int
) -> tuple[list[FrameRef], list[FrameRef]]:
    """Return which members of the cast (by their number) and which frames of earlier shots are a shot's context.

    Args:
        history: of the story.
        select: which frames.
        text: the new shot's own caption.
        cast: the members of the cast that it knows.
        budget: frames of a context.
    """
    share = cast_share(len(cast), len(history), budget)
    members = select(cast_as_shots(cast), text, share)
    return members, select(history.past, text, budget - share)


def caption_vector(encode: Callable[[Sequence[str]], Float[Tensor, "s l d"]]) -> Callable[[str], np.ndarray]:
    """Return the vector of a caption, for comparing captions: the mean of its embedding's rows, computed once."""
    known: dict[str, np.ndarray] = {}

    def embed(caption: str) -> np.ndarray:
        if caption not in known:
            rows = encode([caption])[0].float()
            known[caption] = rows[rows.any(-1)].mean(0).cpu().numpy()
        return known[caption]

    return embed


def _pixels(history: History, members: Sequence[FrameRef], frames: Sequence[FrameRef]) -> Tensor:
    """Return exact pixels in [-1, 1] of pictures and frames, `[1, n, 3, h, w]`."""
    pictures = history.cast_frames([ref.shot for ref in members])
    found = [to_pixels(np.stack(pictures))] if pictures else []
    if frames:
        found.append(torch.from_numpy(history.read_key_frames(frames))[None])
    height, width = history.identity.height, history.identity.width
    return torch.cat(found, 1) if found else torch.empty(1, 0, 3, height, width)
