"""The trait reader: reads held-out renders, also degraded ones; scores and memory follow the ground truth."""

import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from shotstream.core.errors import InputError
from shotstream.world.render import render_shot
from shotstream.world.scene import Character, WorldShot, WorldStory
from shotstream.world.trait_reader import (
    CharacterReading,
    MemoryAnswer,
    ShotReading,
    TraitReader,
    TraitValue,
    clip_starts,
    read_memory,
    score_memory,
    score_shot,
)
from shotstream.world.trait_reader_network import READER_FRAMES, TraitReaderNetwork
from shotstream.world.trait_reader_training import (
    HELD_OUT_SEED,
    IGNORED,
    TraitReaderTraining,
    accuracy_table,
    degrade_frames,
    labels_of,
    save_trait_reader,
    train_trait_reader,
)
from shotstream.world.traits import SPECIES

SEEDS = range(HELD_OUT_SEED + 5000, HELD_OUT_SEED + 5006)
STORY = WorldStory(
    (Character("fox", "red", "hat", "spots"), Character("owl", "blue", "none", "plain")),
    "forest",
    "night",
    ("oak", "oak", "pine"),
    (
        WorldShot((0, 1), "wide", "still", "wave", 1),
        WorldShot((1,), "wide", "still", "sleep", 1),
        WorldShot((0,), "medium", "still", "eat", 1),
    ),
)


def perfect(shot_index: int) -> ShotReading:
    """What a trait reader without fault reads."""
    shot = STORY.shots[shot_index]
    return ShotReading(
        characters=tuple(
            CharacterReading(
                one.species,
                1.0,
                TraitValue(one.colour, 1.0),
                TraitValue(one.accessory, 1.0),
                TraitValue(one.pattern, 1.0),
            )
            for one in STORY.cast_of(shot_index)
        ),
        place=TraitValue(STORY.place, 1.0),
        time=TraitValue(STORY.time, 1.0),
        framing=TraitValue(shot.framing, 1.0),
        camera=TraitValue(shot.camera, 1.0),
        action=TraitValue(shot.action, 1.0),
        layout=tuple(TraitValue(name, 1.0) for name in STORY.layout),
    )


def mean(table: dict[str, dict[str, float]]) -> float:
    return float(np.mean([shares["all"] for shares in table.values()]))


@pytest.fixture(scope="module")
def reader() -> TraitReader:
    torch.set_num_threads(1)
    return TraitReader.load()


def test_held_out_renders_are_read(reader: TraitReader) -> None:
    table = accuracy_table(reader, SEEDS)
    assert mean(table) > 0.95, table
    assert min(shares["all"] for shares in table.values()) > 0.8, table


def test_degraded_renders_are_read(reader: TraitReader) -> None:
    table = accuracy_table(reader, SEEDS[:3], degrade_frames)
    assert mean(table) > 0.85, table


def test_shuffled_weights_read_nothing(reader: TraitReader) -> None:
    network = TraitReaderNetwork()
    generator = torch.Generator().manual_seed(0)
    shuffled = {
        name: value.flatten()[torch.randperm(value.numel(), generator=generator)].view_as(value)
        for name, value in reader.network.state_dict().items()
    }
    network.load_state_dict(shuffled)
    assert mean(accuracy_table(TraitReader(network), SEEDS[:2])) < 0.5


def test_nine_frames_are_enough_and_eight_are_not(reader: TraitReader) -> None:
    frames = render_shot(STORY, 0)
    assert len(frames) == READER_FRAMES
    scores = score_shot(reader.read(frames), STORY, 0)
    assert sum(scores.values()) >= len(scores) - 1, scores
    with pytest.raises(InputError, match="at least 9 frames"):
        reader.read(frames[:8])


@pytest.mark.parametrize("frames", [np.zeros((9, 80, 128, 3)), np.zeros((9, 80, 120, 3), np.uint8)])
def test_frames_of_another_kind_are_refused(reader: TraitReader, frames: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected uint8 frames"):
        reader.read(frames)


def test_clips_are_spread_over_the_shot() -> None:
    assert clip_starts(9) == [0]
    assert clip_starts(21) == [0, 12]
    assert clip_starts(81) == [0, 24, 48, 72]


def test_a_perfect_reading_scores_everywhere() -> None:
    for shot_index in range(len(STORY.shots)):
        assert all(score_shot(perfect(shot_index), STORY, shot_index).values())


@pytest.mark.parametrize("trait", ["place", "time", "framing", "camera", "action"])
def test_a_wrong_trait_of_a_shot_is_wrong_alone(trait: str) -> None:
    scores = score_shot(replace(perfect(0), **{trait: TraitValue("something else", 0.9)}), STORY, 0)
    assert [name for name, right in scores.items() if not right] == [trait]


@pytest.mark.parametrize("trait", ["colour", "accessory", "pattern"])
def test_a_wrong_trait_of_one_of_two_characters_is_wrong_alone(trait: str) -> None:
    reading = perfect(0)
    other = replace(reading.characters[1], **{trait: TraitValue("something else", 0.9)})
    scores = score_shot(replace(reading, characters=(reading.characters[0], other)), STORY, 0)
    assert [name for name, right in scores.items() if not right] == [trait]


def test_a_character_too_few_or_too_many_is_wrong() -> None:
    assert not score_shot(replace(perfect(0), characters=perfect(1).characters), STORY, 0)["species"]
    assert not score_shot(replace(perfect(1), characters=perfect(0).characters), STORY, 1)["species"]


def test_memory_asks_for_what_was_shown_first_not_for_the_truth() -> None:
    readings = [perfect(0), perfect(1), perfect(2)]
    assert score_memory(readings, STORY)[0] == {}
    assert all(all(scores.values()) for scores in score_memory(readings, STORY))
    crowned = [
        replace(one, characters=tuple(replace(c, accessory=TraitValue("crown", 1.0)) for c in one.characters))
        for one in readings
    ]
    assert score_memory(crowned, STORY)[2] == {"accessory": True, "pattern": True, "layout": True}
    assert score_memory([readings[0], readings[1], crowned[2]], STORY)[2]["accessory"] is False
    moved = replace(readings[1], layout=tuple(TraitValue("mushroom", 1.0) for _ in STORY.layout))
    assert score_memory([readings[0], moved, readings[2]], STORY)[1]["layout"] is False


def test_memory_counts_the_shots_since_a_trait_was_last_seen() -> None:
    fox = STORY.characters[0].species
    seen = [shot for shot in range(3) if fox in {one.species for one in STORY.cast_of(shot)}]
    answers = [one for one in read_memory([perfect(0), perfect(1), perfect(2)], STORY) if one.trait == "accessory"]
    assert MemoryAnswer(seen[1], "accessory", seen[1] - seen[0], True) in answers
    assert all(1 <= one.distance <= one.shot for one in answers)
    gone = replace(perfect(1), characters=())
    later = read_memory([perfect(0), gone, perfect(2)], STORY)
    assert {one.distance for one in later if one.shot == 2 and one.trait == "accessory"} == {2}, "not seen in shot 1"


def test_a_missing_character_keeps_nothing() -> None:
    gone = replace(perfect(2), characters=())
    scores = score_memory([perfect(0), perfect(1), gone], STORY)[2]
    assert (scores["accessory"], scores["pattern"]) == (False, False)


def test_labels_ask_nothing_of_who_is_not_there() -> None:
    labels = labels_of(STORY, 1)
    assert labels["present"].tolist() == [int(species == "owl") for species in SPECIES]
    assert [value == IGNORED for value in labels["colour"]] == [species != "owl" for species in SPECIES]


def test_training_lowers_the_loss_and_what_is_saved_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(time, "monotonic", lambda: 0.25 * next(ticks))
    losses: list[float] = []
    config = TraitReaderTraining(minutes=0.05, batch=8, pool_clips=64, new_clips_a_batch=1, clips_a_shot=4)
    network = train_trait_reader(config, lambda _, loss: losses.append(loss))
    assert len(losses) == 11, "of 3 seconds, a quarter a step"
    assert min(losses[-4:]) < losses[0]
    path = tmp_path / "trait_reader.safetensors"
    save_trait_reader(network, path)
    assert path.stat().st_size < 2 * 2**20
    loaded = TraitReader.load(path=path)
    frames = render_shot(STORY, 0)
    assert loaded.read(frames).characters == TraitReader(loaded.network).read(frames).characters
    weights = loaded.network.state_dict()
    assert all(torch.allclose(weights[name], value, rtol=0.01) for name, value in network.state_dict().items())


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="got other tensors"):
        TraitReader.load(path=tmp_path / "other.safetensors")
    (tmp_path / "README.md").write_text("# Not weights at all, though long enough to hold a header\n")
    with pytest.raises(InputError, match=r"expected the trait reader's weights in .*README\.md, got no safetensors"):
        TraitReader.load(path=tmp_path / "README.md")
