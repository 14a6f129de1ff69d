"""A tiny real model with random weights, and a way to make it stop where a test wants it to."""

from collections.abc import Mapping
from typing import Any

import pytest

from shotstream.api import Model
from shotstream.core.rng import SeededNoise
from shotstream.weights.build import random_components
from tiny import live_model

TEXT_BYTES = 64
CONFIG = live_model(text_len=TEXT_BYTES)


class StoppingModel(Model):
    """Raises `failures[(shot, chunk)]` when that chunk is begun; `made` lists the chunks that were."""

    def __init__(self, failures: Mapping[tuple[int, int], BaseException] | None = None, weights: int = 0) -> None:
        super().__init__(random_components(CONFIG, weights))
        self.failures = failures or {}
        self.made: list[tuple[int, int]] = []
        self.options: dict[str, Any] = {}
        self.stories: list[Any] = []

    def story(self, global_caption: str, **options: Any) -> Any:
        plain = SeededNoise(options.get("seed", 0))

        def noise(shot: int, chunk: int, step: int, shape: Any) -> Any:
            if (shot, chunk) in self.failures:
                raise self.failures[shot, chunk]
            if step == 0:
                self.made.append((shot, chunk))
            return plain(shot, chunk, step, shape)

        story = super().story(global_caption, **(options | self.options), noise=noise)
        self.stories.append(story)
        return story


@pytest.fixture(scope="session")
def make_model() -> type[StoppingModel]:
    """Makes models."""
    return StoppingModel


@pytest.fixture
def model() -> StoppingModel:
    """One that makes every shot."""
    return StoppingModel()
