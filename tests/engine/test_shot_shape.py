"""A model with chunks of 2 latents, a context of 4, shots of up to 3 chunks: everything follows its configuration."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from shotstream.api import Model, with_policy
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT, ShotShape
from shotstream.engine.cached_transformer import shot_cache_size
from shotstream.engine.causal_rollout import ShotInputs, ShotRollout
from shotstream.engine.policies import SYSTEMS, find_system
from shotstream.engine.sampler import Sampler
from shotstream.engine.story import Story
from shotstream.model.config import SamplerConfig
from shotstream.model.schedule import clean_from_velocity
from shotstream.model.transformer import Transformer
from shotstream.model.velocity import Conditions, predict_velocity
from shotstream.story.layout import shot_layout
from shotstream.story.script import Script
from shotstream.story.script_files import load_scripts
from shotstream.story.selectors import PastShot
from shotstream.story.shot_spec import ShotSpec, Steer
from shotstream.weights.build import ModelComponents, random_components
from shotstream.weights.directory import write_directory
from shotstream.weights.hub import open_components, read_shot_shape
from tiny import SHORT_SHOTS, live_model, with_shots

SIZE = (4, 6)
TEXTS = ("the fox runs.", "the fox jumps.", "the fox sleeps.")


@pytest.fixture(scope="module")
def short() -> ModelComponents:
    return random_components(with_shots(live_model(layers=2)))


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tell(parts: ModelComponents, texts: tuple[str, ...] = TEXTS, directory: Path | None = None) -> list[np.ndarray]:
    with Story(parts, "A red fox.", seed=3, directory=directory) as story:
        return [np.concatenate(list(story.shot(text, 2))) for text in texts]


@torch.no_grad()
def test_streamed_chunks_equal_the_whole_forward() -> None:
    torch.manual_seed(0)
    network = Transformer(with_shots(live_model(layers=2)).transformer).eval()
    layout = shot_layout(2, [0, 0, 1, 1], SHORT_SHOTS, SHORT_SHOTS.max_latents)
    given = ShotInputs.of(random(1, 4, 4, *SIZE, seed=1), random(1, 3, 32, 16, seed=2), layout)
    noise = random(3, 1, 2, 4, *SIZE, seed=3)
    sampler = Sampler("few_step", (1.0,))
    size = shot_cache_size(network.config, sampler, SIZE)
    assert tuple(size)[2:] == (4 + 6, 4 + 2)
    made = torch.cat(list(ShotRollout(network, network.new_cache(*size), given, lambda at, _: noise[at], sampler)), 1)
    start = torch.cat(list(noise), 1)
    conditions = Conditions.of(network, given.context, given.text, given.layout.joined, made[:, :-2])
    velocity = predict_velocity(network, start, torch.ones(1), conditions)
    torch.testing.assert_close(made, clean_from_velocity(start, velocity, 1.0))


def test_shots_have_the_frames_of_their_chunks(short: ModelComponents) -> None:
    with Story(short, "A red fox.", seed=3) as story:
        shots = [[len(frames) for frames in story.shot(text)] for text in TEXTS[:2]]
        assert story.history.lengths == [21, 21]
    assert shots == [[5, 8, 8], [5, 8, 8]]
    assert not np.array_equal(tell(short)[1], tell(short, ("an owl.", TEXTS[1]))[1]), "the first shot is remembered"


def test_resumed_equals_uninterrupted(short: ModelComponents, tmp_path: Path) -> None:
    whole = tell(short)
    tell(short, TEXTS[:2], tmp_path / "story")
    with Story(short, "A red fox.", seed=3, directory=tmp_path / "story") as story:
        resumed = np.concatenate(list(story.shot(TEXTS[2], 2)))
    assert np.array_equal(whole[2], resumed)


def test_an_extended_shot_is_steered_and_rolls_on(short: ModelComponents) -> None:
    with Story(short, "A red fox.", seed=3) as story:
        shot, frames = story.shot(TEXTS[0], 6, extend=True, held=2), []
        for number in range(5):
            frames.append(next(shot))
            if number == 3:
                shot.steer("the fox sleeps.")
        shot.drop(1)
        rest = list(shot)
        [past] = story.history.past
    assert [len(one) for one in (*frames, *rest)] == [5, 8, 8, 8, 8, 8, 8]
    assert past.turns == ((4 * 8 - 3, "the fox sleeps."),)
    assert np.array_equal(frames[4], rest[0]), "made again as it was"


def test_a_teacher_makes_the_same_lengths(short: ModelComponents) -> None:
    sampler = SamplerConfig("euler", num_steps=1, order="whole")
    with Story(short, "A red fox.", sampler=sampler) as story:
        assert [[len(frames) for frames in story.shot(text, 2)] for text in TEXTS[:2]] == [[5, 8], [5, 8]]
        with pytest.raises(InputError, match="policy teacher makes shots of at most 3 chunks, got 4; split the shot"):
            story.shot(TEXTS[2], 4, extend=True)


def test_a_shot_that_is_too_long_is_refused_by_the_models_own_limit(short: ModelComponents, tmp_path: Path) -> None:
    said = "expected a shot of 1 to 3 chunks, got 4; split it into shots"
    with Story(short, "A red fox.") as story, pytest.raises(InputError, match=said):
        story.shot(TEXTS[0], 4)
    with pytest.raises(InputError, match=f"shot 2: {said}"):
        Model(short).check_script(Script("A fox.", (ShotSpec("It runs.", 3), ShotSpec("It jumps.", 4))))
    (tmp_path / "fox.yaml").write_text("global: a fox\nshots:\n- {text: it runs, chunks: 4}\n")
    with pytest.raises(InputError, match=f"fox.yaml, line 3, shot 1: {said}"):
        load_scripts(tmp_path / "fox.yaml", shape=SHORT_SHOTS)
    assert load_scripts(tmp_path / "fox.yaml", shape=PAPER_SHOT)[0].shots[0].chunks == 4


def test_frames_of_a_script_are_counted_in_the_models_chunks(tmp_path: Path) -> None:
    path = tmp_path / "fox.json"
    path.write_text('{"global_caption": "a fox", "shot1": "it runs", "shot2": "it jumps", "frames_per_shot": [13, 37]}')
    [script] = load_scripts(path, shape=SHORT_SHOTS)
    assert script.shots == (ShotSpec("it runs", 2), ShotSpec("it jumps", 5, extend=True))
    path.write_text('{"global_caption": "a fox", "shot1": "it runs"}')
    assert [load_scripts(path, shape=shape)[0].shots[0].chunks for shape in (SHORT_SHOTS, PAPER_SHOT)] == [3, 7]


def test_the_configuration_is_written_and_read_and_changes_the_fingerprint(
    short: ModelComponents, tmp_path: Path
) -> None:
    write_directory(short, tmp_path / "model")
    opened = open_components(tmp_path / "model")
    assert opened.config == short.config
    assert opened.config.shot == read_shot_shape(tmp_path / "model") == SHORT_SHOTS
    assert short.fingerprint != random_components(live_model(layers=2)).fingerprint
    assert read_shot_shape("storyworld") == read_shot_shape("nobody/nothing") == PAPER_SHOT


def test_models_with_channels_carry_their_own_number_of_context_latents() -> None:
    network = with_shots(live_model(layers=1)).transformer
    assert replace(network, injection="channel").embedded_channels == 4 * (1 + 4)


@pytest.mark.parametrize("name", [name for name, system in SYSTEMS.items() if system.spec.keys and system.prompts])
def test_policies_with_a_window_for_other_chunks_refuse_the_model(short: ModelComponents, name: str) -> None:
    with pytest.raises(InputError, match=f"policy {name} has a window for chunks of 3 latents, and tiny makes chunks"):
        find_system(name).spec.check_model(short.config)


@pytest.mark.parametrize("name", ["echoshot", "full"])
def test_policies_without_a_window_make_a_script(short: ModelComponents, name: str) -> None:
    script = Script("A fox.", (ShotSpec("It runs.", 2), ShotSpec("It jumps.", 1)))
    with Story(with_policy(short, name), script.global_caption, script=script) as story:
        made = [[len(frames) for frames in story.shot(shot.text, shot.chunks)] for shot in script.shots]
    assert [sum(frames) for frames in made] == find_system(name).spec.frames(script, SHORT_SHOTS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"chunk_latents": 0}, "expected shot.chunk_latents of at least 1, got 0"),
        ({"context_latents": 0}, "set the model's context to none"),
        ({"max_chunks": 1}, "expected shot.max_chunks of at least 2, got 1"),
    ],
)
def test_shapes_that_cannot_be_are_refused(wrong: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ShotShape(**wrong)


def test_steers_of_a_record_are_placed_by_its_own_length() -> None:
    spec = ShotSpec("it runs", 3, steers=(Steer(1, "it jumps"), Steer(2, "it sleeps")))
    assert PastShot.of(0, 33, spec).turns == ((9, "it jumps"), (21, "it sleeps"))
    assert PastShot.of(0, 21, spec).turns == ((5, "it jumps"), (13, "it sleeps"))
