"""Rephrase StoryWorld captions as people write them: other words, any order of clauses, grammar slips and typos.

A model that learnt the grammar is measured on these to see how far it follows people, who have never read the grammar.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal, TypeVar

import numpy as np

from shotstream.core.rng import derive_seed
from shotstream.world.captions import (
    COLOUR_SAID_PROBABILITY,
    STILL_SAID_PROBABILITY,
    caption_words,
    story_captions,
    with_article,
)
from shotstream.world.scene import Character, WorldShot, WorldStory
from shotstream.world.traits import Action
from shotstream.world.words import ACTION_WORDS, Phrases, Vocabulary, both_forms, vocabulary

T = TypeVar("T")

Phrasing = Literal["grammar", "people"]

FURTHER_WORDS: Mapping[str, Mapping[str, Phrases]] = {
    "species": {
        "fox": ("vixen", "foxy"),
        "rabbit": ("cottontail", "bunny rabbit"),
        "bear": ("teddy", "grizzly"),
        "frog": ("froggy", "bullfrog"),
        "owl": ("barn owl", "owly"),
        "robot": ("bot", "mechanical man"),
    },
    "colour": {
        "red": ("ruby", "cherry-red"),
        "yellow": ("canary", "mustard"),
        "green": ("jade", "grass-green"),
        "blue": ("navy", "sapphire"),
        "purple": ("lavender", "mauve"),
        "white": ("snow-white", "milky"),
    },
    "place": {
        "forest": ("under the trees", "in a grove"),
        "beach": ("by the sea", "on the sand"),
        "village": ("in a small settlement", "among cottages"),
        "desert": ("in the dunes", "in the sahara"),
        "lake": ("by the lake", "at the edge of a lake"),
        "city": ("downtown", "among skyscrapers"),
    },
    "time": {
        "day": ("during the day", "in broad daylight"),
        "dusk": ("at twilight", "as the sun goes down"),
        "night": ("under the stars", "late at night"),
    },
    "framing": {
        "wide": ("wide angle", "seen from afar"),
        "medium": ("from the waist up", "medium framing"),
        "close-up": ("closeup", "very near view"),
    },
    "camera": {
        "still": ("the camera does not move", "locked camera"),
        "pan left": ("the camera swings left", "pan to the left"),
        "pan right": ("the camera swings right", "pan to the right"),
        "push in": ("the camera comes nearer", "zooming in"),
    },
}
"""Words for the same traits that the grammar does not have."""

FURTHER_ACTIONS: Mapping[Action, tuple[tuple[str, str], ...]] = {
    "walk left": (("is walking left", "are walking left"), ("wanders to the left", "wander to the left")),
    "walk right": (("is walking right", "are walking right"), ("wanders to the right", "wander to the right")),
    "jump": (("is jumping", "are jumping"), ("bounces up and down", "bounce up and down")),
    "wave": (("is waving", "are waving"), ("greets us", "greet us")),
    "sleep": (("is sleeping", "are sleeping"), ("snoozes", "snooze")),
    "dance": (("is dancing", "are dancing"), ("grooves", "groove")),
    "eat": (("is eating", "are eating"), ("nibbles on something", "nibble on something")),
}
"""Each said of one and of two."""

STORY_OPENERS = ("", "there is ", "we see ", "a film about ")
SHOT_OPENERS = ("", "", "now ", "then ")
ARTICLES = ("the ", "the ", "our ", "")
NUMBER_SLIP_PROBABILITY = 0.25
TWO_SENTENCES_PROBABILITY = 0.3
BARE_PROBABILITY = 0.5


def captions_in(phrasing: Phrasing, story: WorldStory) -> tuple[str, tuple[str, ...]]:
    """Return the global caption and the shot captions in a phrasing: the grammar's plain one, or as people write."""
    return story_captions(story) if phrasing == "grammar" else people_captions(story)


def people_captions(story: WorldStory, variant: int = 0) -> tuple[str, tuple[str, ...]]:
    """Return rephrased captions with one typo a sentence; half of the stories in lower case without punctuation.

    Pure: the same story and variant give the same text.
    """
    rng = _rng("typing", story, variant)
    typed = plain if rng.random() < BARE_PROBABILITY else str
    whole, shots = reworded_captions(story, variant)
    return typed(mistype(whole, rng)), tuple(typed(mistype(shot, rng)) for shot in shots)


def reworded_captions(story: WorldStory, variant: int = 0) -> tuple[str, tuple[str, ...]]:
    """Return rephrased captions without typos: words of both lists, any order of clauses, slips of number."""
    rng = _rng("rewording", story, variant)
    return _whole(story, rng), tuple(_shot(shot, story.cast_of(i), rng) for i, shot in enumerate(story.shots))


@cache
def people_vocabulary() -> Vocabulary:
    """Return the phrases for each trait: the grammar's and the further ones."""
    further = {**FURTHER_WORDS, "action": both_forms(FURTHER_ACTIONS)}
    return {
        trait: {value: phrases + further[trait][value] for value, phrases in values.items()}
        for trait, values in vocabulary().items()
    }


def mistype(caption: str, rng: np.random.Generator) -> str:
    """Put one typo in each sentence: two letters swapped, one dropped or doubled; never into a word of the grammar."""
    return re.sub(r"[^.]+\.", lambda sentence: _mistype_one(sentence.group(), rng), caption)


def plain(caption: str) -> str:
    """Return the caption in lower case without punctuation; hyphens stay."""
    return re.sub(r"[^a-z\- ]", "", caption.lower())


def slips(word: str) -> tuple[str, ...]:
    """Return every typo of a word behind its first letter that is not itself a word of the grammar."""
    inner = range(1, len(word))
    swapped = [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in inner[:-1]]
    dropped = [word[:i] + word[i + 1 :] for i in inner]
    doubled = [word[:i] + word[i] + word[i:] for i in inner]
    known = caption_words() | {word.lower()}
    return tuple(slip for slip in dict.fromkeys(swapped + dropped + doubled) if slip.lower() not in known)


def _mistype_one(sentence: str, rng: np.random.Generator) -> str:
    word = _pick(rng, list(re.finditer(r"[A-Za-z]{3,}", sentence)))
    return sentence[: word.start()] + _pick(rng, slips(word.group())) + sentence[word.end() :]


def _whole(story: WorldStory, rng: np.random.Generator) -> str:
    said = people_vocabulary()
    who = [
        with_article(f"{_pick(rng, said['colour'][one.colour])} {_pick(rng, said['species'][one.species])}")
        for one in story.characters
    ]
    clauses = [
        _pick(rng, STORY_OPENERS) + " and ".join(who),
        _pick(rng, said["place"][story.place]),
        _pick(rng, said["time"][story.time]),
    ]
    return _joined(clauses, rng)


def _shot(shot: WorldShot, cast: Sequence[Character], rng: np.random.Generator) -> str:
    said = people_vocabulary()
    who = " and ".join(_someone(one, said, rng) for one in cast)
    one_does = (len(cast) == 1) != (rng.random() < NUMBER_SLIP_PROBABILITY)
    action = _pick(rng, ACTION_WORDS[shot.action] + FURTHER_ACTIONS[shot.action])[0 if one_does else 1]
    clauses = [f"{_pick(rng, SHOT_OPENERS)}{who} {action}", _pick(rng, said["framing"][shot.framing])]
    if shot.camera != "still" or rng.random() < STILL_SAID_PROBABILITY:
        clauses.append(_pick(rng, said["camera"][shot.camera]))
    return _joined(clauses, rng)


def _someone(one: Character, said: Vocabulary, rng: np.random.Generator) -> str:
    colour = f"{_pick(rng, said['colour'][one.colour])} " if rng.random() < COLOUR_SAID_PROBABILITY else ""
    return f"{_pick(rng, ARTICLES)}{colour}{_pick(rng, said['species'][one.species])}"


def _joined(clauses: Sequence[str], rng: np.random.Generator) -> str:
    """Join clauses in any order, in one sentence or with the last one in a sentence of its own."""
    mixed = [clauses[i] for i in rng.permutation(len(clauses))]
    ends = len(mixed) - 1 if rng.random() < TWO_SENTENCES_PROBABILITY else len(mixed)
    sentences = [", ".join(part) + "." for part in (mixed[:ends], mixed[ends:]) if part]
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def _rng(purpose: str, story: WorldStory, variant: int) -> np.random.Generator:
    return np.random.default_rng(derive_seed("wording", purpose, story.seed, variant))
