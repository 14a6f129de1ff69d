"""Callbacks: one a step and one a chunk, which change no frame and may stop a shot."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from shotstream.core.rng import SeededNoise
from shotstream.engine.callbacks import ChunkInfo, StepInfo
from shotstream.engine.sampler import Sampler
from shotstream.engine.story import Story
from shotstream.model.config import SamplerConfig
from shotstream.weights.build import ModelComponents

EULER = SamplerConfig(kind="euler", num_steps=3, order="whole")


def test_every_step_and_chunk_is_told_once_and_in_order(parts: ModelComponents) -> None:
    steps: list[StepInfo] = []
    chunks: list[ChunkInfo] = []
    with Story(parts, "A fox.") as story:
        list(story.shot("It waits.", 1))
        made = list(story.shot("It runs.", 2, on_step=steps.append, on_chunk=chunks.append))
        plain = list(story.shot("It runs.", 2))
    assert [(one.shot, one.chunk, one.step, one.steps) for one in steps] == [
        (1, chunk, step, 2) for chunk in range(2) for step in range(2)
    ]
    assert steps[0].sigma == 1
    assert steps[0].clean.shape[:2] == (1, 3)
    assert [(one.shot, one.chunk, one.chunks) for one in chunks] == [(1, 0, 2), (1, 1, 2)]
    assert all(one.frames is frames for one, frames in zip(chunks, made, strict=True))
    assert len(plain) == 2
    assert len(steps) == 4, "a callback belongs to its shot alone"


def test_callbacks_change_no_frame(parts: ModelComponents) -> None:
    with Story(parts, "A fox.") as story:
        told = list(story.shot("It runs.", 2, on_step=lambda _: None, on_chunk=lambda _: None))
    with Story(parts, "A fox.") as story:
        assert all(np.array_equal(a, b) for a, b in zip(told, story.shot("It runs.", 2), strict=True))


def test_a_shot_made_whole_tells_its_steps(parts: ModelComponents) -> None:
    steps: list[StepInfo] = []
    with Story(parts, "A fox.", sampler=EULER) as story:
        list(story.shot("It runs.", 2, on_step=steps.append))
    assert [(one.chunk, one.step, one.steps) for one in steps] == [(0, 0, 3), (0, 1, 3), (0, 2, 3)]


def test_a_callback_that_raises_stops_the_shot_at_the_chunk_before(parts: ModelComponents) -> None:
    def stop(step: StepInfo) -> None:
        if step.chunk == 1:
            raise KeyboardInterrupt

    with Story(parts, "A fox.") as whole:
        expected = list(whole.shot("It runs.", 2))
    with Story(parts, "A fox.") as story:
        shot = story.shot("It runs.", 3, on_step=stop)
        assert np.array_equal(next(shot), expected[0])
        with pytest.raises(KeyboardInterrupt):
            next(shot)
        shot.cut()
        assert [take.length_frames for take in story.history.records] == [len(expected[0])]


@pytest.mark.parametrize("kind", ["few_step", "euler"])
def test_the_last_clean_estimate_is_the_result(kind: str) -> None:
    estimates: list[torch.Tensor] = []
    sampler = Sampler.from_config(SamplerConfig(kind=kind, num_steps=4))  # type: ignore[arg-type]
    told = replace(sampler, on_step=lambda _step, _steps, _sigma, clean: estimates.append(clean))
    noise = SeededNoise(1)

    def denoise(sampler: Sampler) -> torch.Tensor:
        return sampler.denoise(lambda x, sigma: x * sigma, lambda step: noise(0, 0, step, (1, 3, 4, 2, 2)))

    assert torch.equal(denoise(told), denoise(sampler))
    assert told == sampler
    assert len(estimates) == sampler.forwards
    torch.testing.assert_close(estimates[-1], denoise(sampler))
