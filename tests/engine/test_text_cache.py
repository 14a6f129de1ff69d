"""Captions that were read before are not encoded again, and nothing but time tells."""

import numpy as np
import pytest
import torch

from shotstream.engine import text_cache as reading
from shotstream.engine.story import Story
from shotstream.engine.text_cache import TextCache
from shotstream.weights.build import ModelComponents

CPU = torch.device("cpu")


def test_kept_rows_are_those_that_are_made_anew(parts: ModelComponents, encoded: list[str]) -> None:
    reader = TextCache(parts.text_encoder, CPU)
    for captions in (["a fox"], ["an owl", "a fox"], ["a fox", "a fox", "a cat"]):
        assert torch.equal(reader.read(captions), parts.text_encoder.encode(captions))
        encoded.clear()
    reader.read(["a cat", "an owl"])
    assert encoded == []


def test_only_the_latest_are_kept(parts: ModelComponents, encoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "KEPT_CAPTIONS", 2)
    reader = TextCache(parts.text_encoder, CPU)
    for caption in ("a", "b", "a", "c", "a", "b"):
        reader.read([caption])
    assert encoded == ["a", "b", "c", "b"], "of a and b, b had been read longer ago when c came"
    assert reader.read(["a", "b", "c"]).shape[0] == 3, "a shot may read more than are kept"


def test_drafts_are_encoded_once_and_push_nothing_out(
    parts: ModelComponents, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "KEPT_CAPTIONS", 1)
    monkeypatch.setattr(reading, "KEPT_DRAFTS", 2)
    reader = TextCache(parts.text_encoder, CPU)
    reader.read(["said"])
    reader.prepare(["a", "ab", "a", "abc", "said"])
    assert encoded == ["said", "a", "ab", "abc"]
    encoded.clear()
    assert torch.equal(reader.read(["said", "a", "abc"]), parts.text_encoder.encode(["said", "a", "abc"]))
    assert encoded == ["said", "a", "abc"], "by the test alone: a was written again after ab, and what was said stays"
    encoded.clear()
    reader.read(["ab"])
    assert encoded == ["ab"], "only the latest are kept"
    assert not reader._drafts, "what was said is no draft any more"


def test_a_story_has_the_same_frames(
    parts: ModelComponents, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell() -> list[np.ndarray]:
        encoded.clear()
        with Story(parts, "A fox. ", seed=3) as story:
            return [frames for text in ("It runs.", "It sits.", "It sings.") for frames in story.shot(text, 2)]

    kept = tell()
    assert len(encoded) == 3
    monkeypatch.setattr(reading, "KEPT_CAPTIONS", 0)
    anew = tell()
    assert len(encoded) == 6
    assert all(np.array_equal(one, other) for one, other in zip(kept, anew, strict=True))


def test_rows_are_kept_where_they_are_read_and_brought_there_once_a_caption(
    parts: ModelComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[torch.device] = []
    monkeypatch.setattr(reading, "send", lambda rows, device: sent.append(device) or rows.to(device))
    reader = TextCache(parts.text_encoder, torch.device("meta"))
    for captions in (["a fox", "an owl"], ["an owl", "a fox"]):
        assert reader.read(captions).is_meta
    assert sent == [torch.device("meta")] * 2
    assert not next(parts.text_encoder.parameters()).is_meta
