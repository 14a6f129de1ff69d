"""The phrases for every trait of StoryWorld, used to write and to parse captions."""

from collections.abc import Mapping
from typing import Any

from shotstream.world.traits import Action, Camera, Colour, Framing, Place, Species, Time

WORLD_MODEL = "storyworld"
"""Name in the configuration of a model that learnt StoryWorld; which words other models know is not known."""
Phrases = tuple[str, ...]
Vocabulary = dict[str, dict[str, Phrases]]
"""Trait -> value -> phrases."""

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

_SMALL = (
    "i you he she they we me him her them us my your his its our their this that these those some who which what "
    "is are was were be being been do does did has have had and or but so as then now while when there here "
    "also too very just again of to from with for let"
)
SMALL_WORDS = frozenset(_SMALL.split())
"""Words that people write and that show nothing by themselves; whether they are known does not matter."""


def vocabulary() -> Vocabulary:
    """Return the phrases of each visible trait as plain data; of an action both forms, singular and plural."""
    tables: dict[str, Mapping[Any, Phrases]] = {
        "species": SPECIES_WORDS,
        "colour": COLOUR_WORDS,
        "place": PLACE_WORDS,
        "time": TIME_WORDS,
        "action": both_forms(ACTION_WORDS),
        "framing": FRAMING_WORDS,
        "camera": CAMERA_WORDS,
    }
    return {trait: dict(values) for trait, values in tables.items()}


def both_forms(actions: Mapping[Action, tuple[tuple[str, str], ...]]) -> dict[str, Phrases]:
    """Return singular and plural phrases of each action in one tuple."""
    return {action: tuple(form for forms in said for form in forms) for action, said in actions.items()}
