"""Captions that are longer than the text encoder reads: the shot's own text is read, and somebody is told."""

import logging

import numpy as np
import pytest

from shotstream.core.errors import InputError
from shotstream.engine.story import Story
from shotstream.weights.build import ModelComponents

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
    assert len(caplog.records) == 3
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
