"""A tiny model with random weights."""

import pytest

from shotstream.weights.build import ModelComponents, random_components
from tiny import live_model


@pytest.fixture(scope="session")
def parts() -> ModelComponents:
    return random_components(live_model(layers=2))


@pytest.fixture
def encoded(parts: ModelComponents, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the text encoder is asked for."""
    asked: list[str] = []
    encode = parts.text_encoder.encode
    monkeypatch.setattr(parts.text_encoder, "encode", lambda captions: asked.extend(captions) or encode(captions))
    return asked
