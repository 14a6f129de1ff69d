"""Write and parse StoryWorld captions: a grammar with several phrases for each visible trait.

Accessory, pattern and layout are never named. Variant 0 is the plain phrasing; every other variant is another one.
"""

import difflib
import re
from collections.abc import Sequence
from functools import cache
from typing import TypeVar

import numpy as np

from shotstream.core.rng import derive_seed
from shotstream.world.scene import WorldShot, WorldStory
from shotstream.world.words import (
    ACTION_WORDS,
    CAMERA_WORDS,
    COLOUR_WORDS,
    FRAMING_WORDS,
    PLACE_WORDS,
    SMALL_WORDS,
    SPECIES_WORDS,
    TIME_WORDS,
    Vocabulary,
    vocabulary,
)

T = TypeVar("T")

GLOBAL_TEMPLATES = (
    "{who} {place} {time}.",
    "{time}, {place}: {who}.",
    "{place} {time}, {who}.",
    "a story of {who} {place} {time}.",
)
SHOT_TEMPLATES = (
    "{framing}: {who} {action}.",
    "{who} {action}, {framing}.",
    "{framing} of {who}: {they} {action}.",
)
STILL_SAID_PROBABILITY = 0.3
COLOUR_SAID_PROBABILITY = 0.5


def global_caption(story: WorldStory, variant: int = 0) -> str:
    """Return the global caption: who is in the story, where and when. At most 20 words."""
    choose = _Chooser(story.seed, variant, "global")
    who = [
        with_article(f"{choose(COLOUR_WORDS[one.colour])} {choose(SPECIES_WORDS[one.species])}")
        for one in story.characters
    ]
    template = choose(GLOBAL_TEMPLATES)
    place, time = choose(PLACE_WORDS[story.place]), choose(TIME_WORDS[story.time])
    return _sentence(template.format(who=" and ".join(who), place=place, time=time))


def shot_caption(story: WorldStory, shot_index: int, variant: int = 0) -> str:
    """Return a shot's caption: framing, characters by species, action and camera. At most 20 words."""
    shot = story.shots[shot_index]
    choose = _Chooser(story.seed, variant, f"shot{shot_index}")
    who = []
    for one in story.cast_of(shot_index):
        colour = f"{choose(COLOUR_WORDS[one.colour])} " if choose.happens(COLOUR_SAID_PROBABILITY) else ""
        who.append(f"the {colour}{choose(SPECIES_WORDS[one.species])}")
    alone = len(who) == 1
    action = choose(ACTION_WORDS[shot.action])[0 if alone else 1]
    caption = choose(SHOT_TEMPLATES).format(
        framing=choose(FRAMING_WORDS[shot.framing]),
        who=" and ".join(who),
        they="it" if alone else "they",
        action=action,
    )
    camera = choose(CAMERA_WORDS[shot.camera])
    if shot.camera == "still" and not choose.happens(STILL_SAID_PROBABILITY):
        return _sentence(caption)
    return f"{_sentence(caption)} {_sentence(camera + '.')}"


def story_captions(story: WorldStory, variant: int = 0) -> tuple[str, tuple[str, ...]]:
    """Return the global caption and the caption of every shot."""
    return global_caption(story, variant), tuple(shot_caption(story, i, variant) for i in range(len(story.shots)))


@cache
def caption_words() -> frozenset[str]:
    """Return every lower-case word that a caption can contain."""
    templates = " ".join(GLOBAL_TEMPLATES + SHOT_TEMPLATES)
    glue = re.sub(r"\{\w+\}", " ", templates) + " a an the and it they"
    phrases = (phrase for values in vocabulary().values() for group in values.values() for phrase in group)
    return frozenset(split_words(" ".join([glue, *phrases])))


def split_words(caption: str) -> list[str]:
    """Split a caption into lower-case words; hyphens stay, punctuation goes."""
    return re.findall(r"[a-z]+(?:-[a-z]+)*", caption.lower())


def unknown_words(text: str) -> tuple[str, ...]:
    """Return the words of a text that no caption can contain, in order; small words do not count.

    A word with hyphens is known where all its parts are.
    """
    known = caption_words() | SMALL_WORDS
    words = re.findall(r"\w+(?:[-'’]\w+)*", re.sub(r"['’](?:s|m|re|ll|ve|d)\b", "", text.lower()))
    return tuple(dict.fromkeys(word for word in words if word not in known and not known.issuperset(word.split("-"))))


def nearest_word(word: str) -> str | None:
    """Return the word of captions that is nearest to an unknown one in spelling; None where none is near."""
    return next(iter(difflib.get_close_matches(word, sorted(caption_words()), n=1, cutoff=0.7)), None)


def traits_of_caption(caption: str, words: Vocabulary | None = None) -> dict[str, tuple[str, ...]]:
    """Parse the traits that a caption names: trait -> values in order. Traits it does not name are left out.

    `words` are those it may be said in; None: the grammar's.
    """
    phrases = {
        phrase: (trait, value)
        for trait, values in (words or vocabulary()).items()
        for value, known in values.items()
        for phrase in known
    }
    longest_first = "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True))
    found: dict[str, tuple[str, ...]] = {}
    for match in re.finditer(rf"\b(?:{longest_first})\b", " ".join(caption.lower().split())):
        trait, value = phrases[match.group()]
        found[trait] = (*found.get(trait, ()), value)
    return found


def with_article(noun: str) -> str:
    """Return a noun with 'a' or 'an'."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def suggest_next(story: WorldStory, count: int = 3) -> tuple[str, ...]:
    """Suggest captions for the next shot, each a new view of the same characters."""
    from_seed = _Chooser(story.seed, 1, f"next{len(story.shots)}")
    last, casts = story.shots[-1], [(index,) for index in range(len(story.characters))]
    suggestions: list[str] = []
    while len(suggestions) < count:
        shot = WorldShot(
            cast=from_seed([*casts, tuple(range(len(story.characters)))]),
            framing=from_seed(tuple(FRAMING_WORDS)),
            camera=from_seed(tuple(CAMERA_WORDS)),
            action=from_seed(tuple(ACTION_WORDS)),
            chunks=last.chunks,
        )
        followed = WorldStory(story.characters, story.place, story.time, story.layout, (*story.shots, shot), story.seed)
        caption = shot_caption(followed, len(story.shots))
        if (shot.cast, shot.framing) != (last.cast, last.framing) and caption not in suggestions:
            suggestions.append(caption)
    return tuple(suggestions)


class _Chooser:
    """Picks phrasings: the first of each for variant 0, otherwise by (seed, variant, what it is for)."""

    def __init__(self, seed: int, variant: int, purpose: str) -> None:
        self.rng = np.random.default_rng(derive_seed("captions", seed, variant, purpose)) if variant else None

    def __call__(self, options: Sequence[T]) -> T:
        return options[0] if self.rng is None else options[int(self.rng.integers(len(options)))]

    def happens(self, probability: float) -> bool:
        """Never in the plain phrasing."""
        return self.rng is not None and float(self.rng.random()) < probability


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
