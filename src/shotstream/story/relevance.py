"""Select context by relevance: frames whose caption is nearest to the new one in the text encoder's space.

Source: FrameMorrow (choosing ShotStream's context by relevance raises consistency without training). Nearness here is
the cosine between the means of two captions' rows, as sentence encoders pool them (Ni et al., Sentence-T5).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from shotstream.core.config import nearest
from shotstream.core.errors import InputError
from shotstream.story.selectors import SELECTORS, ContextSelector, FrameRef, Passage, PastShot, spread

Embed = Callable[[str], np.ndarray]
"""Returns a caption as one vector."""
RELEVANT = "relevant"
SELECTOR_NAMES = (*SELECTORS, RELEVANT)
FRAMES_A_PASSAGE = 2


@dataclass(frozen=True)
class Relevant:
    """Selector: the newest shot, and what was made under the captions nearest to the new one.

    What is ranked are passages: shots, or parts of one where it was steered. The newest comes first, then the others,
    nearest first, a newer one before an older that is as near. Each in turn gives two frames (a passage of a single
    frame one) until the budget is used up; what is left over goes round in the same order. A passage's frames are
    spread evenly over it.
    """

    embed: Embed

    def __call__(self, shots: Sequence[PastShot], caption: str, budget: int) -> list[FrameRef]:
        ranked = self.rank([passage for shot in shots for passage in shot.passages], caption)
        shares = _share(ranked, budget)
        chosen = [
            FrameRef(passage.shot, passage.first + frame)
            for passage, count in shares.items()
            for frame in spread(passage.stop - passage.first, count)
        ]
        return sorted(chosen)

    def rank(self, passages: Sequence[Passage], caption: str) -> list[Passage]:
        """Return the newest passage, then the others by nearness to the caption, newer ones first where it is equal."""
        if not passages:
            return []
        *older, newest = passages
        wanted = self.embed(caption)

        def order(passage: Passage) -> tuple[float, int, int]:
            return (-cosine(self.embed(passage.caption), wanted), -passage.shot, -passage.first)

        return [newest, *sorted(older, key=order)]


def cosine(a: Float[np.ndarray, "d"], b: Float[np.ndarray, "d"]) -> float:
    """Return the cosine similarity of two vectors, -1 to 1; 0 if one is zero."""
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else 0.0


def check_selector(name: str) -> str:
    """Check the name of a context selector, and return it.

    Raises:
        InputError: there is none of that name.
    """
    if name not in SELECTOR_NAMES:
        known = ", ".join(SELECTOR_NAMES)
        raise InputError(f"expected a context selector of {known}, got '{name}'{nearest(name, SELECTOR_NAMES)}")
    return name


def make_selector(name: str, embed: Embed) -> ContextSelector:
    """Return the selector of that name, which may compare captions.

    Raises:
        InputError: there is none.
    """
    return Relevant(embed) if check_selector(name) == RELEVANT else SELECTORS[name]


def _share(ranked: Sequence[Passage], budget: int) -> Mapping[Passage, int]:
    """Return frames of each passage: two each as long as there are any, the rest one by one from the first on."""
    shares = dict.fromkeys(ranked, 0)
    left = budget if ranked else 0
    for passage in ranked:
        shares[passage] = min(FRAMES_A_PASSAGE, passage.stop - passage.first, left)
        left -= shares[passage]
    for turn in range(left):
        shares[ranked[turn % len(ranked)]] += 1
    return shares
