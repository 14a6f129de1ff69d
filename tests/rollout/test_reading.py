"""Captions that were read before are not encoded again, and nothing but time tells."""

import numpy as np
import pytest
import torch

from shotstream.model.parts import ModelParts
from shotstream.rollout import reading
from shotstream.rollout.reading import CaptionReader
from shotstream.rollout.stream import Story

CPU = torch.device("cpu")


@pytest.fixture
def encoded(parts: ModelParts, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the text encoder is asked for."""
    asked: list[str] = []
    encode = parts.text_encoder.encode
    monkeypatch.setattr(parts.text_encoder, "encode", lambda captions: asked.extend(captions) or encode(captions))
    return asked


def test_kept_rows_are_those_that_are_made_anew(parts: ModelParts, encoded: list[str]) -> None:
    reader = CaptionReader(parts.text_encoder, CPU)
    for captions in (["a fox"], ["an owl", "a fox"], ["a fox", "a fox", "a cat"]):
        assert torch.equal(reader.read(captions), parts.text_encoder.encode(captions))
        encoded.clear()
    reader.read(["a cat", "an owl"])
    assert encoded == []


def test_only_the_latest_are_kept(parts: ModelParts, encoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "KEPT_CAPTIONS", 2)
    reader = CaptionReader(parts.text_encoder, CPU)
    for caption in ("a", "b", "a", "c", "a", "b"):
        reader.read([caption])
    assert encoded == ["a", "b", "c", "b"], "of a and b, b had been read longer ago when c came"
    assert reader.read(["a", "b", "c"]).shape[0] == 3, "a shot may read more than are kept"


def test_a_story_has_the_same_frames(parts: ModelParts, encoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
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
    parts: ModelParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[torch.device] = []
    monkeypatch.setattr(reading, "send", lambda rows, device: sent.append(device) or rows.to(device))
    reader = CaptionReader(parts.text_encoder, torch.device("meta"))
    for captions in (["a fox", "an owl"], ["an owl", "a fox"]):
        assert reader.read(captions).is_meta
    assert sent == [torch.device("meta")] * 2
    assert not next(parts.text_encoder.parameters()).is_meta
