"""Where latents sit: the reference's numbers for positions, phases and captions."""

import pytest
import torch

from shotstream.core.spec import PAPER_SHOT
from shotstream.core.types import FrameLayout
from shotstream.data.samples import stack_layouts
from shotstream.story.layout import frame_layout, shot_layout


def rows(layout: FrameLayout) -> tuple[list[int], list[int], list[int]]:
    return layout.positions[0].tolist(), layout.shots[0].tolist(), layout.captions[0].tolist()


def test_the_first_shot_sees_zeros_of_shot_0_and_is_itself_shot_1() -> None:
    layout = shot_layout(0, [], PAPER_SHOT, 21)
    assert rows(layout.context) == (list(range(6)), [0] * 6, [0] * 6)
    assert rows(layout.target) == (list(range(6, 27)), [1] * 21, [0] * 21)
    assert layout.context_captions == ()


def test_a_later_shot_carries_its_own_index_and_each_context_frame_its_own() -> None:
    layout = shot_layout(3, [0, 0, 1, 1, 2, 2], PAPER_SHOT, 21)
    assert rows(layout.context) == (list(range(6)), [0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2])
    assert rows(layout.target) == (list(range(6, 27)), [3] * 21, [0] * 21)
    assert layout.context_captions == (0, 1, 2)


def test_the_second_shot_is_shot_1_with_a_past_of_shot_0() -> None:
    layout = shot_layout(1, [0] * 6, PAPER_SHOT, 3)
    assert rows(layout.context) == (list(range(6)), [0] * 6, [0] * 6)
    assert rows(layout.target) == ([6, 7, 8], [1] * 3, [0] * 3)


def test_captions_are_numbered_by_those_that_are_handed_over() -> None:
    layout = shot_layout(9, [3, 4, 5, 6, 7, 8], PAPER_SHOT, 3)
    assert layout.context_captions == (3, 4, 5, 6, 7, 8)
    assert rows(layout.context)[1:] == ([3, 4, 5, 6, 7, 8], [0, 1, 2, 3, 4, 5])
    assert rows(layout.target)[1:] == ([9] * 3, [0] * 3)


@pytest.mark.parametrize("past", [[], [0, 0, 1, 1, 2, 2]])
def test_with_the_targets_caption_only_there_is_one_for_all(past: list[int]) -> None:
    plain, layout = shot_layout(3, past, PAPER_SHOT, 3), shot_layout(3, past, PAPER_SHOT, 3, "target")
    assert layout.context_captions == ()
    assert rows(layout.context)[2] == [0] * 6
    assert rows(layout.target)[2] == [0] * 3
    assert rows(layout.context)[:2] == rows(plain.context)[:2]
    assert rows(layout.target)[:2] == rows(plain.target)[:2]


def test_a_shot_whose_past_is_withheld_keeps_its_index() -> None:
    layout = shot_layout(4, [], PAPER_SHOT, 3)
    assert rows(layout.context)[1] == [0] * 6
    assert rows(layout.target)[1:] == ([4] * 3, [0] * 3)


@pytest.mark.parametrize("latents", [3, 9, 21])
def test_positions_start_again_at_every_shot(latents: int) -> None:
    positions = [rows(shot_layout(shot, [0] * 6, PAPER_SHOT, latents).target)[0] for shot in (1, 2, 30)]
    assert positions == [list(range(6, 6 + latents))] * 3


def test_layouts_are_cut_joined_and_repeated() -> None:
    layout = frame_layout([0, 1, 2], [5, 6, 7], [0, 0, 1])
    assert layout.latents == 3
    assert rows(layout[1:]) == ([1, 2], [6, 7], [0, 1])
    assert rows(layout[:1] + layout[1:]) == rows(layout)
    assert torch.equal(layout.expand(2).shots, torch.tensor([[5, 6, 7]] * 2))
    several = stack_layouts([layout, frame_layout([0, 1, 2], [8, 8, 8], [0, 0, 1])])
    assert several.expand(4).shots[:, 0].tolist() == [5, 8, 5, 8]


def test_a_context_of_another_size_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        shot_layout(1, [0, 0], PAPER_SHOT, 3)


def test_joined_the_shots_own_caption_is_behind_those_of_the_context() -> None:
    layout = shot_layout(3, [0, 0, 1, 1, 2, 2], PAPER_SHOT, 3)
    assert rows(layout.joined) == ([*range(9)], [0, 0, 1, 1, 2, 2, 3, 3, 3], [0, 0, 1, 1, 2, 2, 3, 3, 3])
    assert rows(shot_layout(3, [0, 0, 1, 1, 2, 2], PAPER_SHOT, 3, "target").joined)[2] == [0] * 9


def test_captions_that_differ_within_a_shot_are_told_apart_by_number() -> None:
    layout = shot_layout(2, [0, 0, 0, 1, 1, 1], PAPER_SHOT, 3, described=[0, 0, 1, 2, 3, 3])
    assert layout.context_captions == (0, 1, 2, 3)
    assert rows(layout.context)[1:] == ([0, 0, 0, 1, 1, 1], [0, 0, 1, 2, 3, 3])
    assert rows(layout.target)[1:] == ([2] * 3, [0] * 3)


def test_a_first_shot_that_remembers_a_cast_is_shot_1_as_ever() -> None:
    layout = shot_layout(0, [0] * 6, PAPER_SHOT, 3, described=[0, 0, 0, 1, 1, 1])
    assert rows(layout.context)[1] == [0] * 6
    assert rows(layout.target)[1] == [1] * 3


def test_a_shot_longer_than_any_in_training_stays_at_the_last_positions() -> None:
    positions = rows(shot_layout(1, [0] * 6, PAPER_SHOT, 27).target)[0]
    assert positions == [*range(6, 27), 24, 25, 26, 24, 25, 26]
