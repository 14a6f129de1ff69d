"""Captions: every visible trait said in several ways, hidden ones never, all words known, all read back."""

import re

import pytest

from shotstream.world.captions import (
    caption_words,
    global_caption,
    shot_caption,
    split_words,
    story_captions,
    suggest_next,
    traits_of_caption,
    unknown_words,
)
from shotstream.world.scene import Character, WorldShot, WorldStory
from shotstream.world.stories import sample_story
from shotstream.world.traits import ACCESSORIES, LANDMARKS, PATTERNS
from shotstream.world.words import SMALL_WORDS, vocabulary

STORY = WorldStory(
    (Character("fox", "red", "hat", "spots"), Character("owl", "blue", "none", "plain")),
    "forest",
    "night",
    ("oak", "oak", "pine"),
    (WorldShot((0, 1), "wide", "pan right", "walk left", 2), WorldShot((1,), "close-up", "still", "sleep", 2)),
)
HIDDEN = {word for name in (*ACCESSORIES, *PATTERNS) for word in (name, name.rstrip("s"))} | {
    word for names in LANDMARKS.values() for name in names for word in (*name.split(), f"{name}s")
}


def many_captions() -> list[tuple[WorldStory, int, list[str]]]:
    """Captions of many stories in many wordings."""
    made = []
    for seed in range(150):
        story, variant = sample_story(seed), seed % 9
        caption, shots = story_captions(story, variant)
        made.append((story, variant, [caption, *shots]))
    return made


def test_the_plain_wording() -> None:
    assert global_caption(STORY) == "A red fox and a blue owl in a forest at night."
    assert shot_caption(STORY, 0) == "Wide shot: the fox and the owl walk left. The camera pans right."
    assert shot_caption(STORY, 1) == "Close-up: the owl sleeps."


def test_hidden_traits_are_never_named() -> None:
    for _, _, captions in many_captions():
        for caption in captions:
            assert not HIDDEN & set(split_words(caption)), caption
    assert not HIDDEN & caption_words()


def test_every_word_is_known_and_captions_are_short() -> None:
    known = caption_words()
    for _, _, captions in many_captions():
        for caption in captions:
            words = split_words(caption)
            assert set(words) <= known
            assert len(words) <= 20, caption
            assert re.fullmatch(r"[A-Z][^.]*\.( [A-Z][^.]*\.)?", caption), caption


def test_every_trait_can_be_said_in_three_ways() -> None:
    for values in vocabulary().values():
        for phrases in values.values():
            assert len(set(phrases)) >= 3
    assert len({global_caption(STORY, variant) for variant in range(200)}) > 100
    assert len({shot_caption(STORY, 0, variant) for variant in range(200)}) > 100


def test_no_phrase_means_two_things() -> None:
    for values in vocabulary().values():
        phrases = [phrase for group in values.values() for phrase in group]
        assert len(phrases) == len(set(phrases))


def test_equal_variants_give_equal_captions() -> None:
    assert story_captions(STORY, 5) == story_captions(STORY, 5)


def test_captions_are_read_back() -> None:
    for story, variant, captions in many_captions():
        read = traits_of_caption(captions[0])
        assert read["species"] == tuple(one.species for one in story.characters)
        assert read["colour"] == tuple(one.colour for one in story.characters)
        assert (read["place"], read["time"]) == ((story.place,), (story.time,))
        for shot_index, shot in enumerate(story.shots):
            read = traits_of_caption(captions[1 + shot_index])
            assert read["species"] == tuple(one.species for one in story.cast_of(shot_index)), (variant, captions)
            assert read["framing"] == (shot.framing,)
            assert read["action"] == (shot.action,)
            assert read.get("camera", ("still",)) == (shot.camera,)


def test_suggestions_are_captions_of_a_new_view() -> None:
    for seed in range(30):
        story = sample_story(seed)
        suggestions = suggest_next(story)
        assert len(set(suggestions)) == 3
        last = story.shots[-1]
        species = tuple(one.species for one in story.cast_of(len(story.shots) - 1))
        for caption in suggestions:
            read = traits_of_caption(caption)
            assert (read["species"], read["framing"]) != (species, (last.framing,))
            assert set(split_words(caption)) <= caption_words()


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("A spaceship, then a purple SPACESHIP and the fox's dragon.", ("spaceship", "dragon")),
        ("The owl is walking: it’s 3 o'clock", ("walking", "3", "o'clock")),
        ("a mid-shot of a big-eared bear", ("big-eared",)),
        ("Le café, 狐狸", ("le", "café", "狐狸")),
        ("They do not sleep", ("not",)),
        (" ,.! ", ()),
    ],
)
def test_words_that_no_caption_holds_are_told(text: str, unknown: tuple[str, ...]) -> None:
    assert unknown_words(text) == unknown


def test_whatever_the_grammar_says_is_known_and_small_words_say_no_trait() -> None:
    for _, _, captions in many_captions():
        assert unknown_words(" ".join(captions)) == ()
    for values in vocabulary().values():
        for phrases in values.values():
            assert not SMALL_WORDS & set(phrases)
