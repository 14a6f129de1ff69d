"""A story as a stream, on a tiny model with random weights."""

import gc
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.core.video import probe_video
from shotstream.engine.story import Story
from shotstream.engine.text_cache import TextCache
from shotstream.model.config import SamplerConfig, WanVAEConfig
from shotstream.weights.build import ModelComponents, random_components
from tiny import live_model

FEW_STEPS = SamplerConfig(steps=(1000.0, 500.0))
GUIDED = SamplerConfig("euler", num_steps=2, shift=3.0, guidance=2.0)
SHOTS = ("a fox walks", "a bear sleeps", "they dance", "night falls")


def tell(
    parts: ModelComponents, shots: tuple[str, ...] = SHOTS, chunks: int = 2, **options: object
) -> list[np.ndarray]:
    with Story(parts, "a story.", **options) as story:  # type: ignore[arg-type]
        return [np.concatenate(list(story.shot(text, chunks))) for text in shots]


@pytest.mark.parametrize("sampler", [FEW_STEPS, GUIDED], ids=["few_step", "guided_euler"])
def test_same_seed_same_story_and_another_seed_another(parts: ModelComponents, sampler: SamplerConfig) -> None:
    first, again, other = (tell(parts, sampler=sampler, seed=seed)[3] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_frames_leave_with_their_chunk(parts: ModelComponents) -> None:
    asked: list[tuple[int, int]] = []

    def noise(shot: int, chunk: int, _: int, shape: object) -> torch.Tensor:
        asked.append((shot, chunk))
        return torch.zeros(shape)  # type: ignore[call-overload]

    with Story(parts, "a story.", noise=noise) as story:
        shot = story.shot("a fox walks", 3)
        sizes = []
        for chunk, frames in enumerate(shot):
            sizes.append(len(frames))
            assert max(asked) == (0, chunk), "a later chunk was begun before this one's frames were out"
        assert sizes == [9, 12, 12]
        assert shot.finished


def test_a_later_caption_changes_nothing_before(parts: ModelComponents) -> None:
    plain = tell(parts)
    changed = tell(parts, shots=(*SHOTS[:2], "a robot flies", SHOTS[3]))
    assert all(np.array_equal(a, b) for a, b in zip(plain[:2], changed[:2], strict=True))
    assert not np.array_equal(plain[2], changed[2])
    assert not np.array_equal(plain[3], changed[3]), "the last shot should remember the changed one"


@pytest.mark.parametrize("chunks", range(1, 8))
def test_every_length(parts: ModelComponents, chunks: int) -> None:
    (frames,) = tell(parts, shots=SHOTS[:1], chunks=chunks)
    assert frames.shape == (PAPER_SHOT.frames_of_chunks(chunks), 32, 48, 3)


def test_a_longer_shot_begins_as_a_shorter_one(parts: ModelComponents) -> None:
    short, long = (tell(parts, shots=SHOTS[:1], chunks=chunks)[0] for chunks in (2, 4))
    assert np.array_equal(short, long[: len(short)])


def test_a_cut_shot_is_a_shorter_shot(parts: ModelComponents) -> None:
    with Story(parts, "a story.") as story:
        shot = story.shot(SHOTS[0], 7)
        next(shot), next(shot)
        shot.cut()
        assert list(shot) == []
        after = np.concatenate(list(story.shot(SHOTS[1], 2)))
        assert story.history.lengths == [PAPER_SHOT.frames_of_chunks(2)] * 2
    assert np.array_equal(after, tell(parts)[1])


def test_a_shot_left_early_is_cut_when_the_next_begins(parts: ModelComponents) -> None:
    with Story(parts, "a story.") as story:
        next(story.shot(SHOTS[0], 7))
        list(story.shot(SHOTS[1], 1))
        assert story.history.lengths == [9, 9]


def test_a_shot_left_early_is_cut_when_the_story_is_left_and_forgotten_after_an_error(
    parts: ModelComponents, tmp_path: Path
) -> None:
    with Story(parts, "a story.", directory=tmp_path) as story:
        frames = next(story.shot(SHOTS[0], 7))
    with pytest.raises(AttributeError), Story(parts, "a story.", directory=tmp_path) as story:
        next(story.shot(SHOTS[1], 7)).no_such_thing  # type: ignore[attr-defined]  # noqa: B018
    with Story(parts, "a story.", directory=tmp_path) as story:
        assert story.history.lengths == [9]
        assert np.array_equal(story.history.frames(0), frames)


def test_saving_cuts_a_shot_that_is_being_made(parts: ModelComponents, tmp_path: Path) -> None:
    with Story(parts, "a story.") as story:
        shot = story.shot(SHOTS[0], 7)
        next(shot)
        story.save(tmp_path / "x.mp4")
        assert shot.finished
    assert probe_video(tmp_path / "x.mp4").frames == 9


def test_a_closed_story_says_so(parts: ModelComponents, tmp_path: Path) -> None:
    with Story(parts, "a story.") as story:
        list(story.shot(SHOTS[0], 1))
    picture = np.zeros((32, 48, 3), np.uint8)
    for ask in (
        lambda: story.shot(SHOTS[1], 1),
        lambda: story.prepare(),
        lambda: story.prepare(SHOTS[1]),
        lambda: story.add_cast(picture, "a fox"),
        lambda: story.rewind(0),
        lambda: story.switch([0]),
        lambda: story.save(tmp_path / "x.mp4"),
    ):
        with pytest.raises(InputError, match="expected an open story"):
            ask()
    story.close()


def test_resumed_equals_uninterrupted(parts: ModelComponents, tmp_path: Path) -> None:
    whole = tell(parts, directory=tmp_path / "whole")
    story = Story(parts, "a story.", directory=tmp_path / "broken")
    for text in SHOTS[:2]:
        list(story.shot(text, 2))
    next(story.shot(SHOTS[2], 2))  # and here the process dies
    with Story(parts, "a story.", directory=tmp_path / "broken") as story:
        assert len(story.history) == 2
        resumed = [np.concatenate(list(story.shot(text, 2))) for text in SHOTS[2:]]
    assert all(np.array_equal(a, b) for a, b in zip(whole[2:], resumed, strict=True))


def test_another_story_in_the_directory_is_refused(parts: ModelComponents, tmp_path: Path) -> None:
    tell(parts, shots=SHOTS[:1], directory=tmp_path, seed=1)
    with pytest.raises(InputError, match="seed"):
        Story(parts, "a story.", directory=tmp_path, seed=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": "abc"}, "expected a seed"),
        ({"seed": -1}, "expected a seed"),
        ({"seed": 2.5}, "expected a seed"),
        ({"context": "frist"}, "did you mean 'first'"),
    ],
)
def test_what_cannot_begin_leaves_nothing(
    parts: ModelComponents, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Story(parts, "a story.", directory=tmp_path / "story", **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_what_is_remembered_is_the_models_choice_unless_told_otherwise(parts: ModelComponents) -> None:
    choosing = replace(parts, config=replace(parts.config, context="first_last"))
    asked, unasked = tell(parts, context="first_last"), tell(choosing)
    assert all(np.array_equal(a, b) for a, b in zip(asked, unasked, strict=True))
    assert not np.array_equal(tell(parts)[1], asked[1])
    assert np.array_equal(tell(choosing, context="dynamic")[1], tell(parts)[1])
    with Story(choosing, "a story.") as story:
        assert story.history.identity.context == "first_last"


def test_with_the_targets_caption_only_no_other_is_read(
    parts: ModelComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str]] = []
    real = TextCache.read
    monkeypatch.setattr(TextCache, "read", lambda self, texts: read.append(list(texts)) or real(self, texts))
    tell(replace(parts, config=replace(parts.config, captions="target")), SHOTS[:3], 1)
    assert read == [[f"a story.shot{index}:{text}"] for index, text in enumerate(SHOTS[:3])]
    read.clear()
    tell(parts, SHOTS[:3], 1)
    assert [len(captions) for captions in read] == [1, 2, 3]


@pytest.mark.parametrize("sampler", [FEW_STEPS, GUIDED], ids=["few_step", "guided_euler"])
def test_a_context_in_channels_is_remembered_too(sampler: SamplerConfig) -> None:
    config = live_model(layers=2)
    parts = random_components(replace(config, transformer=replace(config.transformer, injection="channel")))
    plain = tell(parts, SHOTS[:3], sampler=sampler)
    changed = tell(parts, (SHOTS[0], "a robot flies", SHOTS[2]), sampler=sampler)
    assert np.array_equal(plain[0], changed[0])
    assert not np.array_equal(plain[2], changed[2])


@pytest.mark.parametrize(("text", "chunks"), [("", 1), ("  ", 1), ("a fox", 0), ("a fox", 8)])
def test_bad_shots_are_refused(parts: ModelComponents, text: str, chunks: int) -> None:
    with Story(parts, "a story.") as story, pytest.raises(InputError, match="expected"):
        story.shot(text, chunks)


def test_saving_without_a_shot_is_refused(parts: ModelComponents, tmp_path: Path) -> None:
    with Story(parts, "a story.") as story, pytest.raises(InputError, match="at least one shot"):
        story.save(tmp_path / "x.mp4")
    assert not list(tmp_path.iterdir())


def test_streams_through_wans_codec_too() -> None:
    parts = random_components(live_model(layers=2, wan_vae=WanVAEConfig(dim=4, num_res_blocks=1)))
    first, again = (tell(parts, shots=SHOTS[:2], chunks=1) for _ in range(2))
    assert [len(frames) for frames in first] == [9, 9]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_memory_stays_flat_over_thirty_shots(parts: ModelComponents) -> None:
    def resident_mib() -> float:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    with Story(parts, "a story.") as story:
        for shot in range(30):
            list(story.shot(f"shot {shot}", 1))
            if shot == 9:
                early = resident_mib()
        grown = resident_mib() - early
    one_shot_mib = PAPER_SHOT.frames_of_chunks(1) * 32 * 48 * 3 * 4 / 2**20
    assert grown < 8 + one_shot_mib, f"grew by {grown:.1f} MiB over twenty shots"
