"""Captions as people write them: they name what the grammar's name, in words and orders that the grammar lacks."""

import re
from collections.abc import Iterator

import numpy as np
import pytest

from shotstream.world.captions import caption_words, split_words, story_captions, traits_of_caption
from shotstream.world.phrasing import (
    FURTHER_ACTIONS,
    captions_in,
    mistype,
    people_captions,
    people_vocabulary,
    plain,
    reworded_captions,
    slips,
)
from shotstream.world.scene import WorldStory
from shotstream.world.stories import sample_story
from shotstream.world.traits import ACCESSORIES, LANDMARKS, PATTERNS
from shotstream.world.words import ACTION_WORDS, vocabulary

STORIES = [sample_story(seed) for seed in range(150)]
HIDDEN = {*ACCESSORIES, *PATTERNS} | {word for names in LANDMARKS.values() for name in names for word in name.split()}


def check_story(story: WorldStory, whole: str, shots: tuple[str, ...]) -> None:
    """The captions name every trait of the story, and no other."""
    said = people_vocabulary()
    assert traits_of_caption(whole, said) == {
        "species": tuple(one.species for one in story.characters),
        "colour": tuple(one.colour for one in story.characters),
        "place": (story.place,),
        "time": (story.time,),
    }
    for index, (text, shot) in enumerate(zip(shots, story.shots, strict=True)):
        read, cast = traits_of_caption(text, said), story.cast_of(index)
        assert read.pop("camera", ("still",)) == (shot.camera,), text
        assert set(read.pop("colour", ())) <= {one.colour for one in cast}, text
        species = tuple(one.species for one in cast)
        assert read == {"species": species, "framing": (shot.framing,), "action": (shot.action,)}, text


def test_reworded_captions_name_every_trait() -> None:
    for variant, story in enumerate(STORIES):
        whole, shots = reworded_captions(story, variant % 4)
        check_story(story, whole, shots)
        check_story(story, plain(whole), tuple(plain(text) for text in shots))


def test_what_people_type_is_that_with_one_slip_a_sentence() -> None:
    for story in STORIES:
        for well, typed in zip(_flat(reworded_captions(story)), _flat(people_captions(story)), strict=True):
            spelt = well if typed.endswith(".") else plain(well)
            changed = [pair for pair in zip(spelt.split(), typed.split(), strict=True) if pair[0] != pair[1]]
            assert len(changed) == well.count(".")
            for right, wrong in changed:
                assert wrong.strip(",.") in slips(right.strip(",."))


def test_a_slip_swaps_drops_or_doubles_one_letter() -> None:
    assert set(slips("fox")) == {"fxo", "fx", "fo", "foox", "foxx"}
    assert "walk" not in slips("walks")
    assert {mistype("Owl.", np.random.default_rng(seed)) for seed in range(60)} == {f"{slip}." for slip in slips("Owl")}


def test_equal_seeds_give_equal_text_and_others_give_another() -> None:
    story = STORIES[3]
    assert people_captions(story, 5) == people_captions(story, 5)
    assert len({people_captions(story, variant) for variant in range(50)}) == 50
    assert captions_in("people", story) == people_captions(story)
    assert captions_in("grammar", story) == story_captions(story)


def test_people_have_every_way_of_writing() -> None:
    typed = [text for story in STORIES for text in _flat(people_captions(story))]
    bare = sum(not text.endswith(".") for text in typed)
    assert 0.3 < bare / len(typed) < 0.7
    well = [text for story in STORIES for text in _flat(reworded_captions(story))]
    assert any(re.search(r"\. ", text) for text in well)
    first = {next(iter(traits_of_caption(text, people_vocabulary()))) for text in well}
    assert first >= {"species", "place", "time", "framing", "camera"}


def test_a_quarter_of_the_verbs_are_in_the_other_number() -> None:
    slipped = []
    for story in STORIES:
        for text, shot in zip(reworded_captions(story)[1], story.shots, strict=True):
            forms = [said[len(shot.cast) == 1] for said in ACTION_WORDS[shot.action] + FURTHER_ACTIONS[shot.action]]
            slipped.append(re.search(rf"\b({'|'.join(forms)})\b", text) is not None)
    assert 0.15 < np.mean(slipped) < 0.35


def test_further_words_are_not_the_grammars_and_mean_one_thing() -> None:
    known, said = vocabulary(), people_vocabulary()
    phrases = [phrase for values in said.values() for group in values.values() for phrase in group]
    assert len(phrases) == len(set(phrases))
    for trait, values in said.items():
        for value, group in values.items():
            assert len(group) >= len(known[trait][value]) + 2
    strange = {word for phrase in phrases for word in split_words(phrase)} - caption_words()
    assert len(strange) > 60
    assert not HIDDEN & strange


@pytest.mark.parametrize(("text", "bare"), [("The Fox, a cub: it jumps. Close-up.", "the fox a cub it jumps close-up")])
def test_bare_captions_are_lower_case_without_punctuation(text: str, bare: str) -> None:
    assert plain(text) == bare


def _flat(captions: tuple[str, tuple[str, ...]]) -> Iterator[str]:
    yield captions[0]
    yield from captions[1]
