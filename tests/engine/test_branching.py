"""Going back, other takes, the cast and what is remembered of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from shotstream.core.errors import InputError
from shotstream.engine.context import caption_vector, select_context_frames
from shotstream.engine.story import Story
from shotstream.engine.text_cache import TextCache
from shotstream.model.config import SamplerConfig
from shotstream.story.cast import CastMember
from shotstream.story.selectors import get_selector
from shotstream.weights.build import ModelComponents


def make(story: Story, text: str, **options: object) -> np.ndarray:
    return np.concatenate(list(story.shot(text, 1, **options)))  # type: ignore[arg-type]


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)


def nothing_lost(_: str) -> str:
    return ""


def frames(story: Story) -> list[np.ndarray]:
    return [story.history.frames(shot) for shot in range(len(story.history))]


def test_another_take_changes_what_follows_and_nothing_before(parts: ModelComponents) -> None:
    with Story(parts, "a story.") as story:
        first = [make(story, text) for text in ("a fox walks", "a bear sleeps", "they dance")]
        story.rewind(1)
        assert len(story.history) == 1
        second = [make(story, "a bear sleeps", seed=9), make(story, "they dance")]
        assert not np.array_equal(first[1], second[0])
        assert not np.array_equal(first[2], second[1]), "the last shot remembers the other take"
        assert [branch.takes for branch in story.branches()] == [(0, 0, 0), (0, 1, 1)]
        assert [take.spec.seed for take in story.history.records] == [0, 9, 0]
        story.switch(story.branches()[0])
        assert all(np.array_equal(a, b) for a, b in zip(frames(story), first, strict=True))
        third = make(story, "night falls")
    with Story(parts, "a story.") as plain:
        straight = [make(plain, text) for text in ("a fox walks", "a bear sleeps", "they dance", "night falls")]
    assert np.array_equal(third, straight[3]), "a branch goes on as if there had been no other"


def test_switching_makes_nothing(parts: ModelComponents, monkeypatch: pytest.MonkeyPatch) -> None:
    with Story(parts, "a story.") as story:
        make(story, "a fox walks")
        story.rewind(0)
        make(story, "a bear sleeps")

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("a network was run")

        monkeypatch.setattr(parts.transformer, "forward", refuse)
        monkeypatch.setattr(parts.text_encoder, "encode", refuse)
        for branch in story.branches():
            story.switch(branch)
            assert story.history.records[0].spec.text == branch.captions[0]


def test_a_tree_is_resumed_as_it_was_left(parts: ModelComponents, tmp_path: Path) -> None:
    def direct(step: int, story: Story) -> np.ndarray:
        match step:
            case 0 | 1:
                return make(story, f"shot {step}")
            case 2:
                story.rewind(0)
                return make(story, "another beginning", seed=3)
            case 3:
                return make(story, "and on")
            case _:
                story.switch((0, 0))
                return make(story, "back on the first")

    with Story(parts, "a story.") as story:
        whole = [direct(step, story) for step in range(5)]
        branches = story.branches()
    for step in range(5):
        with Story(parts, "a story.", directory=tmp_path) as story:
            assert np.array_equal(direct(step, story), whole[step])
    with Story(parts, "a story.", directory=tmp_path) as story:
        assert story.branches() == branches
        assert [branch.takes for branch in branches] == [(1, 1), (0, 0, 0)]


def test_going_back_while_a_shot_is_made_keeps_what_there_is_of_it(parts: ModelComponents) -> None:
    with Story(parts, "a story.") as story:
        make(story, "a fox walks")
        next(story.shot("a bear sleeps", 7))
        story.rewind(1)
        assert [branch.takes for branch in story.branches()] == [(0, 0)]
        make(story, "a bear wakes")
        story.switch((0, 0))
        assert story.history.lengths == [9, 9]


def test_a_shot_goes_on_where_there_is_nothing_to_go_to(parts: ModelComponents) -> None:
    with Story(parts, "a story.") as story:
        shot = story.shot("a fox walks", 2)
        with pytest.raises(InputError, match="expected a shot from 0 to 0"):
            story.rewind(1)
        next(shot)
        for refused in (lambda: story.switch([3]), lambda: story.rewind(2)):
            with pytest.raises(InputError, match="expected a"):
                refused()
        assert len(next(shot)) == 12
        story.rewind(1)
        assert story.history.lengths == [21]


def test_what_is_no_shot_and_no_branch_is_refused(parts: ModelComponents) -> None:
    with Story(parts, "a story.") as story:
        make(story, "a fox walks")
        for shot in (-1, 2):
            with pytest.raises(InputError, match="expected a shot from 0 to 1 to go back to"):
                story.rewind(shot)
        with pytest.raises(InputError, match=r"expected a branch of the story \(\[0\]\)"):
            story.switch([1])
        with pytest.raises(InputError, match="expected a seed"):
            story.shot("a fox walks", seed=-1)


def test_a_cast_is_remembered_from_the_first_shot_on(parts: ModelComponents, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []
    real = TextCache.read
    monkeypatch.setattr(TextCache, "read", lambda self, texts: read.append(list(texts)) or real(self, texts))
    made = []
    for images in ((), (0,), (1,)):
        read.clear()
        with Story(parts, "a story.") as story:
            for image in images:
                story.add_cast(picture(image), "a fox, front")
            made.append(make(story, "a fox walks"))
            assert len(story.history.records[0].cast) == len(images)
    assert read == [["a story.shot0:a fox, front", "a story.shot0:a fox walks"]]
    assert not any(np.array_equal(made[a], made[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_later_the_cast_has_a_frame_each_at_most_half_and_stands_first(parts: ModelComponents) -> None:
    select = get_selector("dynamic")
    with Story(parts, "a story.") as story:
        for member in range(2):
            story.add_cast(picture(member), f"member {member}")
        alone = select_context_frames(story.history, select, "next", story.history.cast, nothing_lost, 6)
        assert alone.captions == ("a story.shot0:member 0",) * 3 + ("a story.shot0:member 1",) * 3
        for text in ("a fox walks", "a bear sleeps"):
            make(story, text)
        both = select_context_frames(story.history, select, "next", story.history.cast, nothing_lost, 6)
        assert both.shots == (0, 0, 0, 0, 1, 1)
        assert both.captions[:4] == (
            "a story.shot0:member 0",
            "a story.shot0:member 1",
            "a story.shot0:a fox walks",
            "a story.shot0:a fox walks",
        )
        assert both.described == [0, 1, 2, 2, 3, 3]
        assert both.pixels.shape == (1, 6, 3, 32, 48)
        for member in range(2, 5):
            story.add_cast(picture(member), f"member {member}")
        many = select_context_frames(story.history, select, "next", story.history.cast, nothing_lost, 6)
        assert many.captions[:3] == tuple(f"a story.shot0:member {member}" for member in (2, 3, 4))


def test_a_cast_that_joins_later_changes_only_what_comes_and_is_resumed(parts: ModelComponents, tmp_path: Path) -> None:
    with Story(parts, "a story.") as plain, Story(parts, "a story.", directory=tmp_path) as story:
        assert np.array_equal(make(plain, "a fox walks"), make(story, "a fox walks"))
        story.add_cast(picture(0), "a bear")
        made = make(story, "a bear sleeps")
        assert not np.array_equal(make(plain, "a bear sleeps"), made)
        assert [take.cast for take in story.history.records] == [(), (CastMember(0, "a bear"),)]
    with Story(parts, "a story.", directory=tmp_path) as story:
        story.rewind(1)
        assert np.array_equal(make(story, "a bear sleeps"), made)
        with pytest.raises(InputError, match="expected the caption of a cast member"):
            story.add_cast(picture(0), "")


def test_a_shot_chooses_whom_it_knows_and_a_member_is_renamed_and_removed(
    parts: ModelComponents, tmp_path: Path
) -> None:
    def shot(story: Story, cast: Sequence[int] | None) -> np.ndarray:
        return np.concatenate(list(story.shot("a fox walks", 1, cast=cast)))

    with Story(parts, "a story.") as alone, Story(parts, "a story.", directory=tmp_path) as story:
        alone.add_cast(picture(1), "a bear")
        assert [story.add_cast(picture(number), text) for number, text in enumerate(("a fox", "a bear"))] == [0, 1]
        with pytest.raises(InputError, match=r"0 \(a fox\), 1 \(a bear\); got 2"):
            story.shot("a fox walks", cast=[2])
        chosen = shot(story, [1])
        assert np.array_equal(chosen, shot(alone, None))
        assert story.history.records[0].spec.cast == (1,)
        story.rewind(0)
        everyone = shot(story, None)
        assert not np.array_equal(everyone, chosen)
        story.rename_cast(0, "an owl")
    with Story(parts, "a story.", directory=tmp_path) as story:
        story.rewind(0)
        assert not np.array_equal(shot(story, None), everyone), "the caption of the cast is read"
        story.remove_cast(0)
        story.rewind(0)
        assert np.array_equal(shot(story, None), chosen)
        owl, bear = CastMember(0, "an owl"), CastMember(1, "a bear")
        known = [take.cast for take in story.history.tree.takes]
        assert known == [(bear,), (CastMember(0, "a fox"), bear), (owl, bear), (bear,)]
        with pytest.raises(InputError, match=r"1 \(a bear\); got 0"):
            story.remove_cast(0)


def test_relevant_reads_each_caption_once_and_is_a_storys_choice(
    parts: ModelComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    encode = parts.text_encoder.encode
    monkeypatch.setattr(parts.text_encoder, "encode", lambda texts: read.extend(texts) or encode(texts))
    with Story(parts, "a story.", context="relevant", sampler=SamplerConfig(steps=(1000.0,))) as story:
        for text in ("aaaa", "bbbb", "cccc", "dddd", "aaaa"):
            make(story, text)
        assert story.history.identity.context == "relevant"
        shots = set(
            select_context_frames(story.history, story._maker._context._select, "aaaa", (), nothing_lost, 6).shots
        )
    assert {0, 4} < shots
    assert len(shots) == 3
    assert [read.count(text) for text in ("aaaa", "bbbb", "cccc", "dddd")] == [1] * 4


def test_a_captions_vector_is_the_mean_of_what_is_no_padding(parts: ModelComponents) -> None:
    rows = parts.text_encoder.encode(["a fox"])[0]
    length = int(parts.text_encoder.tokenize(["a fox"])[1].sum())
    assert length < len(rows)
    expected = rows[:length].mean(0).numpy()
    assert np.allclose(caption_vector(parts.text_encoder.encode)("a fox"), expected, atol=1e-6)
