"""StoryWorld as training samples: the same for the same seed, with the right past and the right captions."""

import numpy as np
import pytest
import torch

from shotstream.core.errors import InputError
from shotstream.core.rng import derive_seed
from shotstream.core.spec import PAPER_SHOT
from shotstream.data.batches import pool_masks
from shotstream.data.samples import NO_CONTEXT_SHARE, ShotSample, as_pixels, stack_layouts
from shotstream.data.storyworld import (
    TRAINING_SEEDS,
    StoryWorldShots,
    compose_shot_caption,
    shot_of_story,
)
from shotstream.story.selectors import select_dynamic
from shotstream.world.captions import unknown_words
from shotstream.world.render import render_frames
from shotstream.world.stories import sample_story
from shotstream.world.traits import ACTIONS, MOVING_ACTIONS


def sample_shot(seed: int, chunks: int, first_share: float = 0.15) -> ShotSample:
    """The shot that a source draws with the generator of a seed."""
    return StoryWorldShots(first_share=first_share).draw(
        np.random.default_rng(derive_seed("shot-sample", seed)), chunks
    )


def sample_picture(seed: int) -> ShotSample:
    """The picture that a source draws with the generator of a seed."""
    return StoryWorldShots().draw_picture(np.random.default_rng(derive_seed("picture-sample", seed)))


class Draws:
    """Stands in for a random generator whose `random` is decided by the test; captions are worded by a real one."""

    def __init__(self, value: float) -> None:
        self.value, self.words = value, np.random.default_rng(0)

    def random(self) -> float:
        return self.value

    def integers(self, *arguments: int, **options: int) -> object:
        return self.words.integers(*arguments, **options)


def sample(shot: int, chunks: int = 1, *, forget: bool = False) -> ShotSample:
    """Shot `shot` of a story of four shots of two chunks each."""
    draws = Draws(0.0 if forget else 1.0)
    return shot_of_story(sample_story(5, shots=4, chunks=2), shot, chunks, draws)  # type: ignore[arg-type]


def test_equal_seeds_give_equal_samples() -> None:
    one, again, other = sample_shot(11, 2), sample_shot(11, 2), sample_shot(12, 2)
    assert np.array_equal(one.target, again.target)
    assert one.captions == again.captions
    assert (one.context is None) == (again.context is None)
    assert one.context is None or np.array_equal(one.context, again.context)
    assert torch.equal(one.layout.shots, again.layout.shots)
    assert not np.array_equal(one.target, other.target)


def test_a_seed_means_the_same_sample_for_ever() -> None:
    """Pools on disk belong to these draws."""
    shot, picture = sample_shot(11, 2), sample_picture(11)
    assert shot.captions[1] == (
        "In the dunes, a film about a mauv robot and a cobalt toad, at sunset. "
        "shot1:Panning right, mid shot, the tooad are walking left."
    )
    assert picture.captions == (
        "There is a milky robot and a saapphire frog, under the stars, by the sea."
        "shot0:The camera moves closer, closeup, nwo cobalt toad hops in place.",
    )
    pasts = [int(sample_shot(seed, 1).layout.shots[0, : PAPER_SHOT.context_latents].max()) for seed in range(8)]
    assert pasts == [1, 0, 2, 2, 0, 1, 0, 2]


def test_a_picture_is_one_frame_after_the_places_of_a_context() -> None:
    picture = sample_picture(3)
    assert picture.target.shape == (1, 80, 128, 3)
    assert picture.layout.positions.tolist() == [[PAPER_SHOT.context_latents]]


def test_the_selector_is_the_sources_and_part_of_its_identity() -> None:
    story = sample_story(5, shots=4, chunks=2)
    made = shot_of_story(story, 2, 1, Draws(1.0), "first_last")  # type: ignore[arg-type]
    assert made.context is not None
    last = story.shots[1].frames - 1
    assert np.array_equal(made.context[-1], render_frames(story, 1, [last])[0])
    assert np.array_equal(made.context[-2], render_frames(story, 1, [0])[0])
    assert StoryWorldShots().identity != StoryWorldShots(context="first_last").identity
    with pytest.raises(InputError, match="did you mean 'first_last'"):
        StoryWorldShots(context="frist_last")


def test_a_context_may_attend_to_the_new_shots_caption() -> None:
    source = StoryWorldShots(captions="target", first_share=0.0)
    samples = [source.draw(np.random.default_rng(seed), 1) for seed in range(4)]
    assert any(made.context is not None for made in samples)
    assert [len(made.captions) for made in samples] == [1] * 4
    assert all(made.layout.captions.unique().tolist() == [0] for made in samples)
    assert StoryWorldShots().identity != StoryWorldShots(captions="target").identity


@pytest.mark.parametrize("chunks", [1, 4])
def test_a_target_has_the_length_that_is_asked_for(chunks: int) -> None:
    made = sample(1, chunks)
    assert made.target.shape == (PAPER_SHOT.frames_of_chunks(chunks), 80, 128, 3)
    assert made.target.dtype == np.uint8
    assert made.layout.latents == PAPER_SHOT.context_latents + 3 * chunks


def test_the_context_is_what_the_engine_would_remember() -> None:
    story = sample_story(5, shots=4, chunks=2)
    made = sample(3)
    assert made.context is not None
    references = select_dynamic([shot.frames for shot in story.shots[:3]], PAPER_SHOT.context_latents)
    assert [r.shot for r in references] == [0, 0, 1, 1, 2, 2]
    for frame, reference in zip(made.context, references, strict=True):
        assert np.array_equal(frame, render_frames(story, reference.shot, [reference.frame])[0])
    assert made.layout.shots[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3]
    assert made.layout.positions[0].tolist() == list(range(9))
    assert made.layout.captions[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3]


def test_captions_stand_in_the_layouts_order() -> None:
    assert [f"shot{index}:" in caption for index, caption in enumerate(sample(3).captions)] == [True] * 4
    assert len(sample(0).captions) == 1
    assert "shot0:" in sample(0).captions[0]


@pytest.mark.parametrize(("made", "phase"), [(sample(0), 1), (sample(2, forget=True), 2)], ids=["first", "withheld"])
def test_without_a_past_there_is_no_context_and_one_caption(made: ShotSample, phase: int) -> None:
    assert made.context is None
    assert len(made.captions) == 1
    assert made.layout.shots[0].tolist() == [0] * PAPER_SHOT.context_latents + [phase] * 3
    assert made.layout.captions[0].tolist() == [0] * 9


def leave_pictures_blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render nothing, where only what is drawn by lot matters."""
    blank = np.zeros((1, 80, 128, 3), np.uint8)
    monkeypatch.setattr("shotstream.data.storyworld.render_frames", lambda *_: blank)
    monkeypatch.setattr("shotstream.data.storyworld.character_masks", lambda *_: blank[..., 0] > 0)


def test_the_past_is_withheld_as_often_as_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_pictures_blank(monkeypatch)
    later = [sample_shot(seed, 1, first_share=0.0).context is None for seed in range(600)]
    assert np.mean(later) == pytest.approx(NO_CONTEXT_SHARE, abs=0.04)
    assert all(sample_shot(seed, 1, first_share=1.0).context is None for seed in range(20))


def test_pairs_are_drawn_as_often_as_asked() -> None:
    def pairs(share: float) -> float:
        source = StoryWorldShots(pair_share=share)
        picked = [source._pick(np.random.default_rng(seed)) for seed in range(800)]
        return float(np.mean([len(story.shots[shot].cast) > 1 for story, shot in picked]))

    left_alone, often, always = pairs(0.0), pairs(0.5), pairs(1.0)
    assert 0.2 < left_alone < 0.35
    assert often == pytest.approx(0.5 + 0.5 * left_alone, abs=0.08)
    assert always == 1.0
    assert StoryWorldShots().identity != StoryWorldShots(pair_share=0.5).identity


def test_shots_that_move_are_drawn_as_often_as_asked() -> None:
    def moving(**shares: float) -> float:
        source = StoryWorldShots(**shares)
        picked = [source._pick(np.random.default_rng(seed)) for seed in range(800)]
        return float(np.mean([story.shots[shot].action in MOVING_ACTIONS for story, shot in picked]))

    natural = len(MOVING_ACTIONS) / len(ACTIONS)
    assert moving() == pytest.approx(natural, abs=0.06)
    assert moving(moving_share=0.5) == pytest.approx(0.5 + 0.5 * natural, abs=0.06)
    assert moving(moving_share=1.0, pair_share=1.0) == 1.0


def test_samples_come_from_training_stories(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def watched(seed: int) -> object:
        asked.append(seed)
        return sample_story(seed)

    monkeypatch.setattr("shotstream.data.storyworld.sample_story", watched)
    leave_pictures_blank(monkeypatch)
    for seed in range(100):
        sample_shot(seed, 1)
    assert len(set(asked)) == 100
    assert all(0 <= seed < TRAINING_SEEDS for seed in asked)


def test_captions_come_in_many_wordings_with_and_without_a_space() -> None:
    story, rng = sample_story(5), np.random.default_rng(0)
    captions = {compose_shot_caption(story, 1, rng) for _ in range(60)}
    assert len(captions) > 30
    assert {caption[caption.index("shot1:") - 1] == " " for caption in captions} == {True, False}


def test_a_share_of_the_captions_is_worded_as_people_do() -> None:
    story = sample_story(5)

    def known(share: float) -> list[bool]:
        rng = np.random.default_rng(0)
        captions = [compose_shot_caption(story, 1, rng, share).replace("shot1:", " ") for _ in range(80)]
        return [not unknown_words(caption) for caption in captions]

    assert all(known(0.0))
    assert sum(known(1.0)) <= 4
    assert 0.45 < sum(known(0.4)) / 80 < 0.75


def test_pixels_span_minus_one_to_one() -> None:
    frames = np.zeros((2, 8, 16, 3), np.uint8)
    frames[..., 0] = 255
    pixels = as_pixels([frames, frames])
    assert pixels.shape == (2, 2, 3, 8, 16)
    assert pixels[:, :, 0].unique().tolist() == [1.0]
    assert pixels[:, :, 1:].unique().tolist() == [-1.0]


def test_layouts_are_stacked_in_order() -> None:
    layouts = [sample(1).layout, sample(2).layout]
    stacked = stack_layouts(layouts)
    for index, layout in enumerate(layouts):
        assert torch.equal(stacked.positions[index], layout.positions[0])
        assert torch.equal(stacked.shots[index], layout.shots[0])
        assert torch.equal(stacked.captions[index], layout.captions[0])


def test_masks_are_pooled_as_frames_are_encoded() -> None:
    masks = np.zeros((1, 9, 16, 24), bool)
    masks[0, 0, :8, 8:16] = True
    masks[0, 1:3, 8:, :8] = True
    shares = pool_masks(masks)
    assert shares.shape == (1, 3, 2, 3)
    assert shares[0, 0].tolist() == [[0, 1, 0], [0, 0, 0]]
    assert shares[0, 1].tolist() == [[0, 0, 0], [0.5, 0, 0]]
    assert not shares[0, 2].any()
