"""Captions of StoryWorld: a grammar with several ways to say each visible trait, and its reading back.

Accessory, pattern and layout are never named. Variant 0 is the plain wording; every other variant is another one.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from shotstream.core.rng import derive_seed
from shotstream.world.scene import Shot, Story
from shotstream.world.traits import Action, Camera, Colour, Framing, Place, Species, Time

T = TypeVar("T")

Phrases = tuple[str, ...]

COLOUR_WORDS: dict[Colour, Phrases] = {
    "red": ("red", "crimson", "scarlet"),
    "yellow": ("yellow", "golden", "lemon"),
    "green": ("green", "emerald", "lime"),
    "blue": ("blue", "azure", "cobalt"),
    "purple": ("purple", "violet", "lilac"),
    "white": ("white", "snowy", "ivory"),
}
SPECIES_WORDS: dict[Species, Phrases] = {
    "fox": ("fox", "fox cub", "little fox"),
    "rabbit": ("rabbit", "bunny", "hare"),
    "bear": ("bear", "bear cub", "little bear"),
    "frog": ("frog", "toad", "little frog"),
    "owl": ("owl", "owlet", "little owl"),
    "robot": ("robot", "droid", "android"),
}
PLACE_WORDS: dict[Place, Phrases] = {
    "forest": ("in a forest", "in the woods", "in a woodland"),
    "beach": ("on a beach", "at the seaside", "on the seashore"),
    "village": ("in a village", "in a hamlet", "in the countryside"),
    "desert": ("in a desert", "among sand dunes", "in a sandy wasteland"),
    "lake": ("by a mountain lake", "at an alpine lake", "on a lakeshore"),
    "city": ("in a city", "in a big city", "in the metropolis"),
}
TIME_WORDS: dict[Time, Phrases] = {
    "day": ("by day", "in the daytime", "on a sunny day", "at noon"),
    "dusk": ("at dusk", "at sunset", "in the evening"),
    "night": ("at night", "after dark", "by moonlight"),
}
FRAMING_WORDS: dict[Framing, Phrases] = {
    "wide": ("wide shot", "long shot", "full view"),
    "medium": ("medium shot", "mid shot", "middle view"),
    "close-up": ("close-up", "close shot", "tight shot"),
}
CAMERA_WORDS: dict[Camera, Phrases] = {
    "still": ("the camera is still", "static camera", "fixed camera"),
    "pan left": ("the camera pans left", "panning left", "the camera turns left"),
    "pan right": ("the camera pans right", "panning right", "the camera turns right"),
    "push in": ("the camera pushes in", "slow zoom in", "the camera moves closer"),
}
ACTION_WORDS: dict[Action, tuple[tuple[str, str], ...]] = {
    "walk left": (("walks left", "walk left"), ("strolls left", "stroll left"), ("goes left", "go left")),
    "walk right": (
        ("walks right", "walk right"),
        ("strolls right", "stroll right"),
        ("goes right", "go right"),
    ),
    "jump": (("jumps", "jump"), ("hops in place", "hop in place"), ("leaps high", "leap high")),
    "wave": (("waves", "wave"), ("says hello", "say hello"), ("waves a hand", "wave a hand")),
    "sleep": (("sleeps", "sleep"), ("takes a nap", "take a nap"), ("dozes", "doze")),
    "dance": (("dances", "dance"), ("does a dance", "do a dance"), ("sways to music", "sway to music")),
    "eat": (("eats", "eat"), ("has a snack", "have a snack"), ("munches a melon", "munch a melon")),
}
"""Each said of one and of two."""

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


def global_caption(story: Story, variant: int = 0) -> str:
    """Who is in the story, where and when. At most 20 words."""
    choose = _Chooser(story.seed, variant, "global")
    who = [
        _with_article(f"{choose(COLOUR_WORDS[one.colour])} {choose(SPECIES_WORDS[one.species])}")
        for one in story.characters
    ]
    template = choose(GLOBAL_TEMPLATES)
    place, time = choose(PLACE_WORDS[story.place]), choose(TIME_WORDS[story.time])
    return _sentence(template.format(who=" and ".join(who), place=place, time=time))


def shot_caption(story: Story, shot_index: int, variant: int = 0) -> str:
    """Framing, who, action and camera of one shot. At most 20 words. Whoever is in it is named by species."""
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


def story_captions(story: Story, variant: int = 0) -> tuple[str, tuple[str, ...]]:
    """The global caption and the caption of every shot."""
    return global_caption(story, variant), tuple(shot_caption(story, i, variant) for i in range(len(story.shots)))


def vocabulary() -> dict[str, dict[str, tuple[str, ...]]]:
    """Which words StoryWorld knows: trait -> value -> phrases."""
    actions = {name: tuple(form for forms in phrases for form in forms) for name, phrases in ACTION_WORDS.items()}
    tables: dict[str, Mapping[Any, tuple[str, ...]]] = {
        "species": SPECIES_WORDS,
        "colour": COLOUR_WORDS,
        "place": PLACE_WORDS,
        "time": TIME_WORDS,
        "framing": FRAMING_WORDS,
        "camera": CAMERA_WORDS,
        "action": actions,
    }
    return {trait: dict(values) for trait, values in tables.items()}


def caption_words() -> frozenset[str]:
    """Every lower-case word that a caption can hold."""
    templates = " ".join(GLOBAL_TEMPLATES + SHOT_TEMPLATES)
    glue = re.sub(r"\{\w+\}", " ", templates) + " a an the and it they"
    phrases = (phrase for values in vocabulary().values() for group in values.values() for phrase in group)
    return frozenset(split_words(" ".join([glue, *phrases])))


def split_words(caption: str) -> list[str]:
    """Lower-case words of a caption, hyphens kept, punctuation dropped."""
    return re.findall(r"[a-z]+(?:-[a-z]+)*", caption.lower())


def traits_of_caption(caption: str) -> dict[str, tuple[str, ...]]:
    """The traits a caption names: trait -> values in the order they are said. What it does not name is left out."""
    phrases = {
        phrase: (trait, value)
        for trait, values in vocabulary().items()
        for value, known in values.items()
        for phrase in known
    }
    longest_first = "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True))
    found: dict[str, tuple[str, ...]] = {}
    for match in re.finditer(rf"\b(?:{longest_first})\b", " ".join(caption.lower().split())):
        trait, value = phrases[match.group()]
        found[trait] = (*found.get(trait, ()), value)
    return found


def suggest_next(story: Story, count: int = 3) -> tuple[str, ...]:
    """Captions for a shot that could follow, each a new view of the same characters."""
    from_seed = _Chooser(story.seed, 1, f"next{len(story.shots)}")
    last, casts = story.shots[-1], [(index,) for index in range(len(story.characters))]
    suggestions: list[str] = []
    while len(suggestions) < count:
        shot = Shot(
            cast=from_seed([*casts, tuple(range(len(story.characters)))]),
            framing=from_seed(tuple(FRAMING_WORDS)),
            camera=from_seed(tuple(CAMERA_WORDS)),
            action=from_seed(tuple(ACTION_WORDS)),
            chunks=last.chunks,
        )
        followed = Story(story.characters, story.place, story.time, story.layout, (*story.shots, shot), story.seed)
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
        """Never in the plain wording."""
        return self.rng is not None and float(self.rng.random()) < probability


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
