"""Every policy behind a story: frames, cuts, steering, resumption and branches, and what is refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.engine.policies import POLICIES, SYSTEMS
from shotstream.engine.story import Story
from shotstream.story.script import Script
from shotstream.story.shot_spec import ShotSpec, Steer
from shotstream.weights.build import ModelComponents, random_components
from tiny import live_model

LIVE = [name for name, system in SYSTEMS.items() if system.spec.live]
PLANNED = [name for name, system in SYSTEMS.items() if not system.spec.live]
STEERED = [name for name in LIVE if SYSTEMS[name].spec.steers]
SCRIPT = Script("A fox.", (ShotSpec("It waits.", 1), ShotSpec("It runs.", 2)))


@pytest.fixture(scope="module")
def parts() -> ModelComponents:
    """A tiny model that reads prompts long enough for all shots together."""
    config = live_model(layers=2)
    transformer, text = replace(config.transformer, text_len=160), replace(config.text_encoder, text_len=160)
    return random_components(replace(config, transformer=transformer, text_encoder=text))


def with_policy(parts: ModelComponents, name: str) -> ModelComponents:
    return replace(parts, policy=name)


def make(story: Story, shots: Sequence[ShotSpec] = SCRIPT.shots) -> list[np.ndarray]:
    """The frames of every shot."""
    return [np.concatenate(list(story.shot(shot.text, shot.chunks))) for shot in shots]


def begin(parts: ModelComponents, name: str, directory: Path | None = None) -> Story:
    return Story(with_policy(parts, name), SCRIPT.global_caption, seed=3, directory=directory, script=SCRIPT)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_story_has_as_many_frames_as_its_policy_decodes(parts: ModelComponents, name: str) -> None:
    with begin(parts, name) as story:
        lengths = [len(frames) for frames in make(story)]
        assert story.history.lengths == lengths
    assert lengths == ([9, 24] if SYSTEMS[name].spec.decode == "video" else [9, 21])
    assert SYSTEMS[name].spec.frames(SCRIPT, PAPER_SHOT) == lengths


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_story_that_was_closed_goes_on_as_if_it_had_not_been(
    parts: ModelComponents, name: str, tmp_path: Path
) -> None:
    with begin(parts, name) as story:
        whole = make(story)
    with begin(parts, name, tmp_path) as story:
        make(story, SCRIPT.shots[:1])
    with begin(parts, name, tmp_path) as story:
        (rest,) = make(story, SCRIPT.shots[1:])
    assert np.array_equal(rest, whole[1])


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_shot_is_cut_and_has_other_takes_where_the_policy_is_live(parts: ModelComponents, name: str) -> None:
    with begin(parts, name) as story:
        make(story, SCRIPT.shots[:1])
        shot = story.shot("It runs.", 2)
        first = next(shot)
        story.rewind(1)
        assert [branch.takes for branch in story.branches()] == [(0, 0)], "the shot was cut where it was left"
        again = story.shot("It runs.", 2)
        assert np.array_equal(next(again), first)
        story.rewind(1)
        if SYSTEMS[name].spec.live:
            assert not np.array_equal(next(story.shot("It runs.", 2, seed=9)), first)
        else:
            with pytest.raises(InputError, match=f"policy {name} makes all shots together, .* one take, of seed 3"):
                story.shot("It runs.", 2, seed=9)
        story.switch((0, 0))
        assert np.array_equal(story.history.frames(1), first)
        assert story.history.lengths == [9, len(first)]


def test_a_live_policy_refuses_the_shot_after_its_last(parts: ModelComponents) -> None:
    with Story(with_policy(parts, "lct"), "A fox.", seed=3) as story:
        for _ in range(9):
            next(story.shot("It waits.", 1))
        with pytest.raises(InputError, match="policy lct makes 1 to 9 shots, got 10; use another policy"):
            story.shot("It waits.", 1)


def test_a_shot_after_a_cut_is_the_same_when_it_is_made_again(parts: ModelComponents) -> None:
    with Story(with_policy(parts, "longlive"), "A fox.", seed=3) as story:
        first = story.shot("It waits.", 3)
        next(first)
        make(story, [ShotSpec("It runs.", 1)])
        after_a_cut = np.concatenate(list(story.history.iter_frames(1)))
        assert story.history.lengths == [9, 12]
        story.rewind(1)
        make(story, [ShotSpec("It runs.", 1)])
        assert np.array_equal(np.concatenate(list(story.history.iter_frames(1))), after_a_cut)
        assert len(story.branches()) == 2


@pytest.mark.parametrize("name", STEERED)
def test_steering_changes_the_frames_after_it_alone(parts: ModelComponents, name: str) -> None:
    def frames(steer: bool) -> list[np.ndarray]:
        with Story(with_policy(parts, name), "A fox.", seed=3) as story:
            shot = story.shot("It waits.", 3)
            made = [next(shot)]
            if steer:
                shot.steer("It flies.")
            return [*made, *shot]

    steered, plain = frames(steer=True), frames(steer=False)
    assert np.array_equal(steered[0], plain[0])
    assert not np.array_equal(steered[1], plain[1])


@pytest.mark.parametrize("name", PLANNED)
def test_a_policy_that_plans_needs_the_script_and_keeps_to_it(parts: ModelComponents, name: str) -> None:
    with pytest.raises(InputError, match=f"policy {name} needs the whole script before the first frame"):
        Story(with_policy(parts, name), "A fox.")
    with begin(parts, name) as story:
        with pytest.raises(InputError, match="shot 1 is another"):
            story.shot("It flies.", 1)
        shot = story.shot("It waits.", 1)
        with pytest.raises(InputError, match="cannot steer"):
            shot.steer("It flies.")


STEERED_SCRIPT = Script("A fox.", (ShotSpec("It waits.", 2, steers=(Steer(1, "It runs."),)),))


def repeated(count: int, words: int = 1) -> Script:
    return Script("A fox.", tuple(ShotSpec("It waits. " * words, 1) for _ in range(count)))


@pytest.mark.parametrize(
    ("name", "script", "message"),
    [
        ("echoshot", STEERED_SCRIPT, "policy echoshot cannot steer a shot while it is made; remove the steers"),
        ("teacher", STEERED_SCRIPT, "policy teacher cannot steer a shot while it is made"),
        ("echoshot", repeated(7), "policy echoshot makes 1 to 6 shots, got 7; use another policy"),
        ("lct", repeated(10), "policy lct makes 1 to 9 shots, got 10"),
        ("holocine", repeated(14), "policy holocine makes 1 to 13 shots, got 14"),
        ("teacher", Script("A fox.", (ShotSpec("It waits.", 8, extend=True),)), "at most 7 chunks, got 8; split"),
        ("full", repeated(3, 30), "policy full describes all shots in one text of at most 160 tokens, got [0-9]+"),
        ("holocine", repeated(3, 30), "policy holocine describes all shots in one text of at most 160 tokens"),
        ("echoshot", repeated(6, 30), "policy echoshot describes all shots in one text of at most 640 tokens"),
    ],
)
def test_a_script_that_a_policy_cannot_make_is_refused_and_nothing_is_written(
    parts: ModelComponents, tmp_path: Path, name: str, script: Script, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Story(with_policy(parts, name), script.global_caption, script=script, directory=tmp_path / "story")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_that_does_not_fit_the_weights_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    config = live_model()
    channels = random_components(replace(config, transformer=replace(config.transformer, injection="channel")))
    with pytest.raises(InputError, match=f"policy {name} has no context, and tiny is a network that carries one"):
        Story(with_policy(channels, name), "A fox.", script=SCRIPT, directory=tmp_path / "story")
    assert not list(tmp_path.iterdir())


def test_another_policy_is_another_story(parts: ModelComponents, tmp_path: Path) -> None:
    with begin(parts, "longlive", tmp_path) as story:
        make(story, SCRIPT.shots[:1])
    with pytest.raises(InputError, match="policy: 'longlive' there, 'self_forcing' here"):
        begin(parts, "self_forcing", tmp_path)


def test_two_transformers_make_whole_videos_and_nothing_else() -> None:
    config = replace(live_model(layers=2), expert_boundary=0.9)
    both = random_components(config)
    one = replace(both, low_noise=None)
    frames = []
    for parts in (both, one):
        with begin(parts, "full") as story:
            frames.append(make(story)[0])
    assert not np.array_equal(*frames)
    for name in ("shotstream", "longlive"):
        with pytest.raises(InputError, match=f"policy {name} runs one transformer, and .* has two"):
            begin(both, name)
