"""Fit a shot's caption to the text encoder: the global caption gives way first, the shot's own text last."""

import logging
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from shotstream.core.errors import InputError
from shotstream.story.captions import compose_caption
from shotstream.story.cast import CAST_SHOT
from shotstream.story.script import Script

_log = logging.getLogger(__name__)
Lost = Callable[[str], str]
"""Returns the end of a caption that the text encoder does not read; empty if it reads all."""
_SENTENCE = r"[.!?…]+[\"'”’)]*(?:\s+|$)|[。！？]+\s*|$"
"""The end of a sentence, and the space after it."""


@dataclass(frozen=True)
class FittedCaption:
    """A caption that the text encoder reads to its end, and the text that was left out for it.

    Attributes:
        caption: the global caption, as much of it as fits, and the shot's own text.
        lost_global: the end of the global caption, left out; empty where all of it fits.
        lost_text: the end of the shot's own text, which is not read; empty where all of it fits.
    """

    caption: str
    lost_global: str = ""
    lost_text: str = ""


@dataclass(frozen=True)
class UnknownWord:
    """A word that a model was not trained on, and the nearest one in spelling that it knows; None: none is near."""

    word: str
    nearest: str | None


@dataclass(frozen=True)
class CaptionReport:
    """Everything in a caption that a model will not follow; `FittedCaption` says what the lost texts are."""

    lost_global: str = ""
    lost_text: str = ""
    unknown: tuple[UnknownWord, ...] = ()

    @property
    def too_long(self) -> str:
        """Return a line on what is not read and what to do; empty where all is read."""
        lost = [(self.lost_text, "this caption"), (self.lost_global, "the global caption")]
        lines = [
            f"The model does not read the end of {whose}, from {_beginning(text)} on. Shorten {whose}."
            for text, whose in lost
            if text
        ]
        return " ".join(lines)

    @property
    def unknown_words(self) -> str:
        """Return a line that names the unknown words and their nearest; empty where all are known."""
        words = [f'"{one.word}"' + (f' (near: "{one.nearest}")' if one.nearest else "") for one in self.unknown]
        return f"The model does not know {', '.join(words)}. Use other words." if words else ""


class LengthCheck:
    """Warns of captions of one story that are longer than the text encoder reads, or refuses them."""

    def __init__(self, lost: Lost, global_caption: str, *, strict: bool | None) -> None:
        """Warn by the log; `strict`: refuse; None: do nothing."""
        self._lost, self._global, self._strict = lost, global_caption, strict

    def __call__(self, text: str, shot: int) -> None:
        """Check a caption of a shot (from 0).

        Raises:
            InputError: it is too long, and the story strict.
        """
        if self._strict is None:
            return
        fitted = fit_caption(self._lost, self._global, shot, text)
        too_long = CaptionReport(fitted.lost_global, fitted.lost_text).too_long
        if too_long and self._strict:
            raise InputError(too_long)
        if too_long:
            _log.warning("%s", too_long)


CheckCaption = Callable[[str, str, int], CaptionReport]
"""Reports on a caption: global caption, text, shot (`Model.check_caption`)."""


def fit_caption(lost: Lost, global_caption: str, shot_index: int, text: str) -> FittedCaption:
    """Compose the caption of a shot (from 0) so that the text encoder reads the shot's own text.

    Where it is too long, sentences at the end of the global caption are left out; where not even its first sentence
    fits, words of that. A text that is too long by itself is cut at its end by the text encoder.
    """
    whole = FittedCaption(compose_caption(global_caption, shot_index, text))
    if not lost(whole.caption):
        return whole
    cut = lost(compose_caption("", shot_index, text))
    if cut:
        return FittedCaption(compose_caption("", shot_index, text), global_caption.strip(), cut)

    def without(kept: str) -> FittedCaption:
        return replace(
            whole, caption=compose_caption(kept, shot_index, text), lost_global=global_caption[len(kept) :].strip()
        )

    def fits(kept: str) -> bool:
        return not lost(compose_caption(kept, shot_index, text))

    sentences = _beginnings(_SENTENCE, global_caption)
    words = _beginnings(r"\s+", sentences[0])
    longest = [kept for kept in sentences if fits(kept)]
    longest = longest or words[: bisect_right(words, False, key=lambda kept: not fits(kept))]
    return without(longest[-1] if longest else "")


def check_captions(check: CheckCaption, script: Script) -> Iterator[tuple[str, CaptionReport]]:
    """Yield a report of each caption of a script that a model will not follow wholly, with where it stands.

    A word is named the first time that it comes, and so is the end of the global caption where no more of it is lost.
    """
    captions = [
        (f"shot {index + 1}", text, index)
        for index, shot in enumerate(script.shots)
        for text in (shot.text, *(steer.text for steer in shot.steers))
    ]
    captions += [(f"cast {number}", entry.caption, CAST_SHOT) for number, entry in enumerate(script.cast, start=1)]
    named, lost = set[UnknownWord](), ""
    for where, text, index in captions:
        report = check(script.global_caption, text, index)
        lost_global = report.lost_global if len(report.lost_global) > len(lost) else ""
        unknown = tuple(one for one in report.unknown if one not in named)
        new = replace(report, lost_global=lost_global, unknown=unknown)
        named.update(report.unknown)
        lost = lost_global or lost
        if new != CaptionReport():
            yield where, new


def _beginnings(end: str, text: str) -> list[str]:
    """Return the beginnings of a text up to each match of a pattern, shortest first."""
    return [text[: match.end()] for match in re.finditer(end, text)]


def _beginning(text: str) -> str:
    """Return the first words of a text in quotes."""
    return f'"{text}"' if len(text) <= 40 else f'"{text[:40].rsplit(" ", 1)[0]} …"'
