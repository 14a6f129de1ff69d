"""Fit a shot's caption to the text encoder: the global caption gives way first, the shot's own text last."""

import logging
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from shotstream.core.errors import InputError
from shotstream.story.captions import compose_caption
from shotstream.story.cast import CAST_SHOT
from shotstream.story.script import Script
from shotstream.story.shot_spec import ShotSpec

_log = logging.getLogger(__name__)
Lost = Callable[[str], str]
"""Returns the end of a caption that the text encoder does not read; empty if it reads all."""
FitCaption = Callable[[Lost, str, int, str], "FittedCaption"]
"""Fits the caption of a shot: what is not read, global caption, number of the shot from 0, its own text."""
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
    def lines(self) -> list[str]:
        """Return what a person should know of the caption, a line each; none where the model follows it wholly."""
        return [line for line in (self.too_long, self.unknown_words) if line]

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


def warn_or_refuse(report: CaptionReport, where: str = "", *, strict: bool | None) -> None:
    """Warn of a caption that a model will not follow wholly, by the log; `strict`: refuse it; None: do nothing.

    Raises:
        InputError: the model will not follow it wholly, and `strict` is true.
    """
    problem = " ".join(report.lines)
    if problem and strict:
        raise InputError(f"{where}{problem}")
    if problem and strict is not None:
        _log.warning("%s%s", where, problem)


CheckCaption = Callable[[str, str, int], CaptionReport]
"""Reports on a caption: global caption, text, shot (`Model.check_caption`)."""


@dataclass(frozen=True)
class Reported:
    """Unknown words and lost text that earlier reports on a story named, so that each is reported once."""

    unknown: frozenset[UnknownWord] = frozenset()
    lost_global: str = ""

    def new_in(self, report: CaptionReport) -> CaptionReport:
        """Return what is new in a report: words not named before, and the global caption where more of it is lost."""
        lost_global = report.lost_global if len(report.lost_global) > len(self.lost_global) else ""
        unknown = tuple(one for one in report.unknown if one not in self.unknown)
        return replace(report, lost_global=lost_global, unknown=unknown)

    def including(self, report: CaptionReport) -> "Reported":
        """Return this with one more report."""
        longest = max(self.lost_global, report.lost_global, key=len)
        return Reported(self.unknown.union(report.unknown), longest)


class CaptionCheck:
    """Warns of what a model will not follow of the captions of one story, or refuses them."""

    def __init__(self, check: CheckCaption, global_caption: str, *, strict: bool | None) -> None:
        """Warn by the log; `strict`: refuse; None: do nothing.

        Raises:
            InputError: the global caption has unknown words or is too long by itself, and the story is strict.
        """
        self._check, self._global, self._strict = check, global_caption, strict
        self._reported = Reported()
        self("", 0)

    def __call__(self, text: str, shot: int) -> None:
        """Check a caption of a shot (from 0). What is refused counts as not reported, so it is refused again.

        Raises:
            InputError: the model will not follow it wholly, and the story is strict.
        """
        if self._strict is None:
            return
        report = self._check(self._global, text, shot)
        warn_or_refuse(self._reported.new_in(report), strict=self._strict)
        self._reported = self._reported.including(report)


def fit_caption(lost: Lost, global_caption: str, shot_index: int, text: str) -> FittedCaption:
    """Compose ShotStream's caption of a shot (from 0) so that the text encoder reads the shot's own text (`_fit`)."""
    return _fit(lost, global_caption, lambda kept: compose_caption(kept, shot_index, text))


def fit_prompt(lost: Lost, global_caption: str, prompt: str) -> FittedCaption:
    """Fit a prompt of any form that says the global caption somewhere, so that all else in it is read (`_fit`)."""
    said = global_caption.strip()
    if not said or said not in prompt:
        return FittedCaption(prompt, "", lost(prompt))
    before, _, behind = prompt.partition(said)
    return _fit(lost, said, lambda kept: f"{before}{kept}{behind}")


def _fit(lost: Lost, global_caption: str, compose: Callable[[str], str]) -> FittedCaption:
    """Return what `compose` makes of as much of the global caption as leaves all else to be read.

    Where it is too long, sentences at the end of the global caption are left out; where not even its first sentence
    fits, words of that. What is too long without it is cut at its end by the text encoder.
    """
    if not lost(compose(global_caption)):
        return FittedCaption(compose(global_caption))
    cut = lost(compose(""))
    if cut:
        return FittedCaption(compose(""), global_caption.strip(), cut)

    def fits(kept: str) -> bool:
        return not lost(compose(kept))

    sentences = _beginnings(_SENTENCE, global_caption)
    words = _beginnings(r"\s+", sentences[0])
    longest = [kept for kept in sentences if fits(kept)]
    longest = longest or words[: bisect_right(words, False, key=lambda kept: not fits(kept))]
    kept = longest[-1] if longest else ""
    return FittedCaption(compose(kept), global_caption[len(kept) :].strip())


@dataclass(frozen=True)
class StoryCaption:
    """A caption of a story: its place in words ("shot 1"; empty: the global one), its text, and its shot, from 0."""

    where: str
    text: str
    shot: int


def captions_of_shots(shots: Iterable[ShotSpec], first: int = 0) -> list[StoryCaption]:
    """Return the captions of shots in a row, steers included, the first of which is shot `first` (from 0)."""
    return [
        StoryCaption(f"shot {number + 1}", text, number)
        for number, shot in enumerate(shots, start=first)
        for text in (shot.text, *(steer.text for steer in shot.steers))
    ]


def captions_of_script(script: Script, *, one_prompt: bool = False) -> list[StoryCaption]:
    """Return the captions of a script: the global one, those of its shots, and those of its cast.

    With `one_prompt` there is also that of all shots together, for policies that have one prompt for them.
    """
    cast = [StoryCaption(f"cast {number}", one.caption, CAST_SHOT) for number, one in enumerate(script.cast, start=1)]
    joined = StoryCaption("all shots together", " ".join(shot.text for shot in script.shots), 0)
    return [StoryCaption("", "", 0), *captions_of_shots(script.shots), *cast, *([joined] if one_prompt else [])]


def check_captions(
    check: CheckCaption, global_caption: str, captions: Iterable[StoryCaption], named: Iterable[UnknownWord] = ()
) -> Iterator[tuple[StoryCaption, CaptionReport]]:
    """Yield each caption that a model will not follow wholly, with what is new in its report (`Reported`).

    Args:
        check: reports on one caption (`Model.check_caption`).
        global_caption: the story's.
        captions: of the story, in order.
        named: unknown words that were named before.
    """
    reported = Reported(frozenset(named))
    for caption in captions:
        report = check(global_caption, caption.text, caption.shot)
        new, reported = reported.new_in(report), reported.including(report)
        if new != CaptionReport():
            yield caption, new


def _beginnings(end: str, text: str) -> list[str]:
    """Return the beginnings of a text up to each match of a pattern, shortest first."""
    return [text[: match.end()] for match in re.finditer(end, text)]


def _beginning(text: str) -> str:
    """Return the first words of a text in quotes."""
    return f'"{text}"' if len(text) <= 40 else f'"{text[:40].rsplit(" ", 1)[0]} …"'
