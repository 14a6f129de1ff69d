"""Recorded forwards: the same frames as without, whatever a director does, and nothing read but what stays in place."""

import functools
import weakref
from collections.abc import Hashable, Iterator
from dataclasses import replace
from itertools import zip_longest

import numpy as np
import pytest
import torch
from torch import Tensor

from shotstream.api import Model
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.engine.story import Story
from shotstream.model.config import SamplerConfig
from shotstream.runtime import compile as compiled
from shotstream.runtime import options as running
from shotstream.runtime.cuda_graphs import CudaGraphPool, CudaGraphRecorder, TensorFunction
from shotstream.runtime.options import RunOptions
from shotstream.story.layout import shot_layout
from shotstream.weights.build import ModelComponents, random_components
from tiny import live_model

GUIDED = SamplerConfig("euler", num_steps=2, shift=3.0, guidance=2.0)
WINDOWS, RING = 7, 6
Shot = tuple[str, int, dict[int, str], int]
"""A caption, chunks, steerings before chunks, and the chunk before which it is cut."""
STORY: list[Shot] = [
    ("a fox walks", 3, {}, 3),
    ("a bear sleeps", 7, {1: "a bear wakes", 4: "night falls"}, 7),
    ("they dance", 4, {}, 2),
    ("they sit", 13, {12: "they sleep"}, 13),
]


@pytest.fixture(scope="module")
def parts() -> ModelComponents:
    return random_components(live_model(layers=2))


class Rerun:
    """Does again what it was given, as a graph does: results lie at one place each, which every other run destroys."""

    def __init__(self) -> None:
        self.shapes: list[Hashable] = []
        self.runs = 0
        self._results: list[Tensor] = []

    def record(self, run: TensorFunction, shape: Hashable) -> TensorFunction:
        result = run().clone()
        self.shapes.append(shape)
        self._results.append(result)

        def again() -> Tensor:
            made = run()
            for other in self._results:
                other.fill_(torch.nan)
            self.runs += 1
            return result.copy_(made)

        return again


def tell(story: Story, shots: list[Shot]) -> Iterator[np.ndarray]:
    for text, chunks, steers, cut in shots:
        shot = story.shot(text, chunks, extend=True)
        for chunk in range(cut):
            if chunk in steers:
                shot.steer(steers[chunk])
            yield next(shot)
        shot.cut()


@pytest.mark.parametrize("sampler", [None, GUIDED], ids=["few_step", "guided"])
def test_a_directed_story_is_the_same(parts: ModelComponents, sampler: SamplerConfig | None) -> None:
    recorder = Rerun()
    with (
        Story(parts, "a story.", sampler=sampler) as plain,
        Story(parts, "a story.", sampler=sampler, graphs=CudaGraphPool(parts.transformer, recorder)) as story,
    ):
        for one, other in zip(tell(plain, STORY), tell(story, STORY), strict=True):
            assert np.array_equal(one, other)
    assert len(recorder.shapes) == len(set(recorder.shapes)) == WINDOWS + RING - 1, "of the ring, one is a plain window"
    chunks = sum(cut for *_, cut in STORY)
    commits = chunks - len(STORY) - sum(len(steers) for *_, steers, _ in STORY)
    assert recorder.runs == 2 * chunks + commits, "steps and clean passes; what is read again runs as it is"


def test_stories_in_turn_have_recordings_of_their_own_and_leave_them_to_others(parts: ModelComponents) -> None:
    recorder = Rerun()
    graphs = CudaGraphPool(parts.transformer, recorder)
    one, two = [("a fox walks", 3, {1: "a fox runs"}, 3), ("night", 2, {}, 2)], [("a bear sleeps", 4, {}, 4)]
    with Story(parts, "first.", seed=1) as first, Story(parts, "second.", seed=2) as second:
        alone = list(tell(first, one)), list(tell(second, two))
    with (
        Story(parts, "first.", seed=1, graphs=graphs) as first,
        Story(parts, "second.", seed=2, graphs=graphs) as second,
    ):
        turns = list(zip_longest(tell(first, one), tell(second, two)))
    for made, expected in zip(zip(*turns, strict=True), alone, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(expected, made, strict=False))
    assert len(recorder.shapes) == 3 + 4
    with Story(parts, "second.", seed=2, graphs=graphs) as story:
        assert all(np.array_equal(a, b) for a, b in zip(alone[1], tell(story, two), strict=True))
    assert len(recorder.shapes) == 3 + 4 + 1, "the first story was left last, and saw three windows"


def test_a_story_that_is_over_leaves_its_recordings_to_the_next(parts: ModelComponents) -> None:
    recorder = Rerun()
    graphs = CudaGraphPool(parts.transformer, recorder)
    for expected in (1, 1, 1):
        with Story(parts, "a story.", graphs=graphs) as story:
            list(story.shot("a fox walks", 1))
        assert len(recorder.shapes) == expected
    with Story(parts, "a story.", sampler=GUIDED, graphs=graphs) as story:
        list(story.shot("a fox walks", 1))
    assert len(recorder.shapes) == 2, "another size of cache"


def test_a_shot_that_goes_on_after_its_story_keeps_its_memory_to_itself(parts: ModelComponents) -> None:
    graphs = CudaGraphPool(parts.transformer, Rerun())
    left = Story(parts, "a story.", graphs=graphs)
    shot = left.shot("a fox walks", 2)
    next(shot)
    cache = weakref.ref(left._maker._context._cache)
    left.close()
    with Story(parts, "a story.", graphs=graphs) as story:
        next(story.shot("a bear sleeps", 1))
        assert story._maker._context._cache is not cache()
    del left, shot
    assert cache() is None, "memory is given back at once"


@pytest.mark.parametrize(("part", "choice"), [("indicator", "learned"), ("injection", "channel")])
def test_other_designs_are_the_same(part: str, choice: str) -> None:
    config = live_model(layers=2)
    parts = random_components(replace(config, transformer=replace(config.transformer, **{part: choice})))
    recorder = Rerun()
    shots = [("a fox walks", 2, {}, 2), ("a bear sleeps", 2, {}, 2)]
    with (
        Story(parts, "a story.") as plain,
        Story(parts, "a story.", graphs=CudaGraphPool(parts.transformer, recorder)) as story,
    ):
        assert all(np.array_equal(a, b) for a, b in zip(tell(plain, shots), tell(story, shots), strict=True))
    assert len(recorder.shapes) == 2


@pytest.mark.usefixtures("unchecked_shapes")
def test_compiled_blocks_are_recorded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as they would be compiled, and run as they are."""
    monkeypatch.setenv(compiled.CACHE_VARIABLE, "")
    monkeypatch.setenv("CXX", "true")
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    shots = [("a fox walks", 2, {1: "a fox runs"}, 2), ("a bear sleeps", 1, {}, 1)]
    parts, recorder = random_components(live_model(layers=2)), Rerun()
    compiled.compile_blocks(parts.transformer)
    with Story(parts, "a story.") as story:
        expected = list(tell(story, shots))
    with Story(parts, "a story.", graphs=CudaGraphPool(parts.transformer, recorder)) as story:
        assert all(np.array_equal(a, b) for a, b in zip(expected, tell(story, shots), strict=True))
    assert len(recorder.shapes) == 2


def test_the_first_story_after_a_warm_up_finds_all_windows(
    parts: ModelComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Rerun()
    monkeypatch.setattr(running, "CudaGraphRecorder", lambda _: recorder)
    model = Model(parts, RunOptions(graphs=True))
    model.warm_up()
    assert len(recorder.shapes) == WINDOWS
    with model.story("a story.") as story:
        list(story.shot("a fox walks", 7))
    assert len(recorder.shapes) == WINDOWS


def test_a_result_stays_what_it_is(parts: ModelComponents) -> None:
    recorder, transformer = Rerun(), parts.transformer
    forward = CudaGraphPool(transformer, recorder).borrow((1, (4, 6), 9, 6))
    layout = shot_layout(0, [], PAPER_SHOT, 3).target
    placement, source = transformer.make_positions(layout, (4, 6)), torch.Generator().manual_seed(0)
    captions = torch.randn(1, 1, 32, 16, generator=source)

    def call(seed: float) -> Tensor:
        text, staged = transformer.project_text(captions), forward.cache.stage(3)
        return forward(torch.full((1, 3, 4, 4, 6), seed), torch.full((1, 3), 0.5), text, placement, staged)

    with torch.inference_mode():
        first = call(1.0)
        kept = first.clone()
        assert not torch.allclose(call(2.0), kept)
        assert torch.equal(first, kept)
        text, staged = transformer.project_text(captions), transformer.new_cache(1, (4, 6), 9, 6).stage(3)
        expected = transformer(torch.ones(1, 3, 4, 4, 6), torch.full((1, 3), 0.5), text, placement, staged)
    assert torch.allclose(first, expected, atol=1e-5)
    assert len(recorder.shapes) == 1


def test_where_there_is_nothing_to_record_on_is_refused(parts: ModelComponents) -> None:
    with pytest.raises(InputError, match="expected a CUDA device to record graphs on, got cpu; leave out --graphs"):
        Model(parts, RunOptions(graphs=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device to record on")
def test_cuda_graphs_give_the_same_frames() -> None:
    device = torch.device("cuda")
    parts = random_components(live_model(layers=2), device=device)
    graphs = CudaGraphPool(parts.transformer, CudaGraphRecorder(device))
    with Story(parts, "a story.") as plain, Story(parts, "a story.", graphs=graphs) as story:
        for one, other in zip(tell(plain, STORY), tell(story, STORY), strict=True):
            assert np.abs(one.astype(int) - other).max() <= 1
