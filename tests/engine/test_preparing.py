"""Preparing a shot before it is asked for: the same frames, sooner, whatever the story does in between."""

from dataclasses import replace

import numpy as np
import pytest

from shotstream.core.errors import InputError
from shotstream.core.profiling import Span
from shotstream.engine.story import Story
from shotstream.model.config import SamplerConfig
from shotstream.weights.build import ModelComponents, random_components
from tiny import live_model

GUIDED = SamplerConfig("euler", num_steps=2, shift=3.0, guidance=2.0)
TEXTS = ("a fox walks", "a bear sleeps", "they dance")


class Names:
    """A clock that only notes what it is told."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def __call__(self, part: Span) -> "Names":
        self.noted.append(part)
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)


def make(story: Story, text: str, chunks: int = 1) -> np.ndarray:
    return np.concatenate(list(story.shot(text, chunks)))


@pytest.mark.parametrize("sampler", [None, GUIDED], ids=["few_step", "guided"])
@pytest.mark.parametrize(("field", "choice"), [("indicator", "phase"), ("injection", "channel")])
def test_prepared_shots_are_the_same(sampler: SamplerConfig | None, field: str, choice: str) -> None:
    config = live_model(layers=2)
    parts = random_components(replace(config, transformer=replace(config.transformer, **{field: choice})))
    with Story(parts, "a story.", sampler=sampler) as plain, Story(parts, "a story.", sampler=sampler) as ahead:
        for one in (plain, ahead):
            one.add_cast(picture(0), "a hat")
        for text in TEXTS:
            ahead.prepare()
            assert np.array_equal(make(ahead, text, 2), make(plain, text, 2))


def test_what_is_prepared_is_not_done_again(parts: ModelComponents, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Names()
    with Story(parts, "a story.", clock=clock) as story:
        make(story, TEXTS[0])
        assert story.can_prepare
        story.prepare()
        assert clock.noted[-3:] == ["context", "text", "prefill"]
        assert not story.can_prepare
        clock.noted.clear()
        story.prepare()
        assert clock.noted == []
        forwards: list[int] = []
        forward = parts.transformer.forward
        monkeypatch.setattr(
            parts.transformer, "forward", lambda x, *rest: forwards.append(x.shape[1]) or forward(x, *rest)
        )
        make(story, TEXTS[1])
        assert "context" not in clock.noted
        assert set(forwards) == {3}, "only chunks are computed"


@pytest.mark.parametrize("context", ["dynamic", "relevant"])
def test_of_a_caption_that_was_written_before_nothing_is_left_to_encode(
    context: str, parts: ModelComponents, encoded: list[str]
) -> None:
    with Story(parts, "a story.", context=context) as plain, Story(parts, "a story.", context=context) as ahead:
        for text in TEXTS:
            for written in (text[:4], text[:6], text):
                ahead.prepare(written)
            encoded.clear()
            frames = make(ahead, text, 2)
            assert not [caption for caption in encoded if text in caption]
            assert np.array_equal(frames, make(plain, text, 2))


def test_what_is_written_while_a_shot_is_made_may_steer_it_or_follow_it(
    parts: ModelComponents, encoded: list[str]
) -> None:
    def tell(story: Story, written: bool) -> list[np.ndarray]:
        shot = story.shot(TEXTS[0], 3)
        if written:
            story.prepare(TEXTS[2])
        frames = [next(shot)]
        encoded.clear()
        shot.steer(TEXTS[2])
        frames += [*shot, *story.shot(TEXTS[2], 1)]
        assert (encoded == []) == written
        return frames

    with Story(parts, "a story.") as plain, Story(parts, "a story.") as ahead:
        pairs = zip(tell(plain, False), tell(ahead, True), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)
        ahead.shot(TEXTS[0])
        ahead.prepare(TEXTS[1])
        encoded.clear()
        next(ahead.shot(TEXTS[1]))
        assert encoded == [], "a shot without a chunk is forgotten, and has not counted"


def test_a_caption_is_prepared_only_where_it_is_one(parts: ModelComponents, encoded: list[str]) -> None:
    with Story(parts, "a story.") as story, pytest.raises(InputError, match="a caption that may come"):
        story.prepare(" ")
    assert encoded == []


def test_a_story_that_goes_elsewhere_is_not_misled(parts: ModelComponents) -> None:
    with Story(parts, "a story.") as plain, Story(parts, "a story.") as ahead:
        for one in (plain, ahead):
            for text in TEXTS:
                make(one, text)
        ahead.prepare()
        for one in (plain, ahead):
            one.rewind(1)
        assert ahead.can_prepare
        assert np.array_equal(make(ahead, "night falls"), make(plain, "night falls"))
        ahead.prepare()
        for one in (plain, ahead):
            one.add_cast(picture(1), "a hat")
        assert np.array_equal(make(ahead, "a hat falls"), make(plain, "a hat falls"))
        ahead.prepare()
        before = [list(one.shot("they sit", 1, cast=())) for one in (plain, ahead)]
        assert np.array_equal(*before)
        ahead.prepare()
        for one in (plain, ahead):
            one.switch(one.branches()[0])
        assert np.array_equal(make(ahead, "day breaks"), make(plain, "day breaks"))


def test_nothing_is_prepared_where_it_cannot_be_known(parts: ModelComponents) -> None:
    with Story(parts, "a story.") as story:
        assert not story.can_prepare, "a first shot remembers nothing"
        shot = story.shot(TEXTS[0], 2)
        next(shot)
        assert not story.can_prepare, "a shot is using the memory"
        story.prepare()
        next(shot)
        shot.cut()
        assert story.can_prepare
    whole = replace(GUIDED, order="whole")
    described_by_the_target = random_components(replace(live_model(layers=2), captions="target"))
    for story in (
        Story(parts, "a story.", context="relevant"),
        Story(parts, "a story.", context="none"),
        Story(parts, "a story.", sampler=whole),
        Story(described_by_the_target, "a story."),
    ):
        with story:
            make(story, TEXTS[0])
            assert not story.can_prepare
            story.prepare()
            make(story, TEXTS[1])
