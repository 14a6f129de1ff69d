"""Captions that are longer than the text encoder reads: the shot's own text is read, and somebody is told."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from shotstream.api import Model
from shotstream.core.errors import InputError
from shotstream.engine.policies import POLICIES
from shotstream.engine.story import Story
from shotstream.model.config import SamplerConfig
from shotstream.story.caption_fit import CaptionReport, UnknownWord, captions_of_script, check_captions
from shotstream.story.script import Script
from shotstream.story.shot_spec import ShotSpec
from shotstream.weights.build import ModelComponents, random_components
from tiny import live_model

GLOBAL = "It is night. " * 40


def make(story: Story, text: str) -> np.ndarray:
    return np.concatenate(list(story.shot(text, 1)))


def test_the_shot_is_read_however_long_the_global_caption_is(parts: ModelComponents) -> None:
    with Story(parts, GLOBAL, strict=None) as story:
        story.shot("A fox runs.", 1)
        read = list(story._reader._rows)
    most = parts.config.text_encoder.text_len
    assert read[0].endswith(". shot0:A fox runs.")
    assert 0 < len(read[0].encode()) < most, "one token a byte, and one at the end"
    assert len((read[0] + "It is night. ").encode()) >= most


def test_remembered_frames_have_the_captions_that_they_were_made_with(parts: ModelComponents) -> None:
    with Story(parts, GLOBAL, strict=None) as story:
        made = [make(story, text) for text in ("A fox runs.", "An owl flies.")]
        read = list(story._reader._rows)
    assert len(made) == len(read) == 2, "no caption was encoded in another length"


def test_a_long_caption_is_warned_of_or_refused(parts: ModelComponents, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Story(parts, GLOBAL) as story:
        shot = story.shot("A fox runs.", 2)
        next(shot)
        shot.steer("A fox jumps.")
        story.add_cast(np.zeros((8, 8, 3), np.uint8), "A fox.")
    assert len(caplog.records) == 2, "the global caption by itself, then more of it beside a shot's"
    assert "does not read the end of the global caption" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING), Story(parts, "It is night. ", strict=True) as story:
        shot = story.shot("A fox runs.", 2)
        made = next(shot)
        with pytest.raises(InputError, match="does not read the end of this caption"):
            shot.steer("A fox runs. " * 60)
        with pytest.raises(InputError, match="does not read the end of this caption"):
            story.shot("A fox runs. " * 60)
        with pytest.raises(InputError, match="does not read the end of this caption"):
            story.add_cast(np.zeros((8, 8, 3), np.uint8), "A fox. " * 80)
        assert len(np.concatenate([made, *shot])) == 21, "the shot goes on"
        assert not story.history.cast
    assert not caplog.records


def test_what_was_refused_is_refused_again_and_what_was_warned_of_is_not_said_again(
    parts: ModelComponents, caplog: pytest.LogCaptureFixture
) -> None:
    def check(global_caption: str, text: str, shot: int) -> CaptionReport:  # noqa: ARG001
        return CaptionReport("", "", (UnknownWord("foxx", "fox"),) if "foxx" in text else ())

    with Story(parts, "It is night.", strict=True, check=check) as story:
        for _ in range(2):
            with pytest.raises(InputError, match='does not know "foxx"'):
                story.shot("A foxx runs.", 1)
    with caplog.at_level(logging.WARNING), Story(parts, "It is night.", check=check) as story:
        for _ in range(2):
            next(story.shot("A foxx runs.", 1))
    assert [record.getMessage().count('"foxx"') for record in caplog.records] == [1]


@pytest.fixture(scope="module")
def wide() -> ModelComponents:
    """A tiny model that reads prompts long enough for two shots together, in any policy's form."""
    config = live_model(layers=2)
    transformer, text = replace(config.transformer, text_len=160), replace(config.text_encoder, text_len=160)
    return random_components(replace(config, transformer=transformer, text_encoder=text))


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_reads_its_shots_and_leaves_out_the_end_of_the_global_caption(
    wide: ModelComponents, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, encode = list[str](), wide.text_encoder.encode
    monkeypatch.setattr(wide.text_encoder, "encode", lambda captions: read.extend(captions) or encode(captions))
    script = Script("It is night. " * 20, (ShotSpec("A fox runs.", 1), ShotSpec("An owl flies.", 1)))
    with Story(replace(wide, policy=name), script.global_caption, script=script, strict=None) as story:
        for shot in script.shots:
            list(story.shot(shot.text, 1))
    prompts = [prompt for prompt in read if "night" in prompt]
    assert prompts
    assert not any(map(wide.text_encoder.lost, prompts)), "all of what is asked for is read"
    for shot in script.shots:
        assert any(shot.text in prompt for prompt in read)


@pytest.mark.parametrize("name", ["self_forcing", "longlive2", "cinetrans", "full"])
def test_what_a_policy_does_not_read_of_its_prompts_is_reported(wide: ModelComponents, name: str) -> None:
    model, long = Model(replace(wide, policy=name)), "It runs on and on. " * 20
    assert model.check_caption("A fox. ", "It runs.").too_long == ""
    assert model.check_caption("It is night. " * 20, "It runs.").lost_global.endswith("It is night.")
    assert model.check_caption("A fox. ", long).lost_text.endswith("on and on.")
    with (
        pytest.raises(InputError, match=r"the end of this caption|all shots in one text"),
        model.story("A fox. ", strict=True, script=Script("A fox. ", (ShotSpec(long, 1),))) as story,
    ):
        story.shot(long, 1)


def test_one_prompt_for_all_shots_is_checked_as_a_whole(wide: ModelComponents) -> None:
    script = Script("A fox. ", tuple(ShotSpec("It runs on and on over the hills and far away.", 1) for _ in range(4)))
    for name, said in (("full", "policy full describes all shots in one text of at most 160"), ("mask2dit", "")):
        model = Model(replace(wide, policy=name))
        captions = captions_of_script(script, one_prompt=model.policy.one_prompt)
        found = list(check_captions(model.check_caption, script.global_caption, captions))
        assert [caption.where for caption, _ in found] == (["all shots together"] if said else [])
        if said:
            with pytest.raises(InputError, match=said):
                model.story(script.global_caption, script=script, strict=True)


def test_python_names_unknown_words_too(parts: ModelComponents, caplog: pytest.LogCaptureFixture) -> None:
    model = Model(replace(parts, config=replace(parts.config, name="storyworld")))
    with caplog.at_level(logging.WARNING), model.story("A foxx. ") as story:
        story.shot("It sings.", 1)
        story.shot("It sings.", 1)
    assert [record.message for record in caplog.records] == [
        'The model does not know "foxx" (near: "fox"). Use other words.',
        'The model does not know "sings". Use other words.',
    ]
    with pytest.raises(InputError, match='does not know "sings"'), model.story("A fox. ", strict=True) as story:
        story.shot("It sings.", 1)


def test_the_end_of_a_long_negative_prompt_is_named(parts: ModelComponents, caplog: pytest.LogCaptureFixture) -> None:
    guided = SamplerConfig(steps=(1000.0, 500.0), guidance=2.0)
    model, long = Model(replace(parts, config=replace(parts.config, sampler=guided))), "An owl. " * 40
    with caplog.at_level(logging.WARNING), model.story("A fox. ", negative_prompt=long):
        pass
    (warning,) = caplog.records
    assert warning.message.startswith("Negative prompt: The model does not read the end of this caption, from ")
    with pytest.raises(InputError, match="Negative prompt: "):
        model.story("A fox. ", negative_prompt=long, strict=True)
