"""Which frames are remembered: what every selector owes the rollout."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotstream.core.errors import InputError
from shotstream.model.config import ContextChoice
from shotstream.story.relevance import SELECTOR_NAMES, cosine, make_selector
from shotstream.story.selectors import (
    SELECTORS,
    FrameRef,
    PastShot,
    get_selector,
    kept_frames,
    key_frames,
    share_budget,
)


def past(lengths):
    return [PastShot(index, length, f"shot {index}") for index, length in enumerate(lengths)]


def embed(caption):
    """Letters counted: captions of the same letters are the same."""
    return np.array([caption.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"], np.float32)


@given(st.lists(st.integers(1, 200), max_size=12), st.integers(0, 12), st.sampled_from(SELECTOR_NAMES))
def test_every_selector_fills_the_budget_in_order_with_frames_that_exist(lengths, budget, name):
    chosen = make_selector(name, embed)(past(lengths), "next", budget)
    assert len(chosen) == (budget if lengths and name != "none" else 0)
    assert chosen == sorted(chosen)
    assert all(ref.frame in key_frames(lengths[ref.shot], budget) for ref in chosen)
    assert all(0 <= ref.frame < lengths[ref.shot] for ref in chosen)


def test_a_configuration_may_name_every_selector():
    assert set(get_args(ContextChoice)) == set(SELECTORS), "every selector that can be trained with"


def test_shots_keep_their_own_index():
    assert get_selector("dynamic")([PastShot(4, 9, "a"), PastShot(7, 9, "b")], "next", 3) == [
        FrameRef(4, 0),
        FrameRef(7, 0),
        FrameRef(7, 8),
    ]


def test_first_and_first_last():
    assert get_selector("first")(past([9, 21]), "next", 3) == [FrameRef(0, 0), FrameRef(1, 0), FrameRef(1, 0)]
    assert get_selector("first_last")(past([9, 21]), "next", 5) == [
        FrameRef(0, 0),
        FrameRef(0, 8),
        FrameRef(1, 0),
        FrameRef(1, 0),
        FrameRef(1, 20),
    ]


def test_the_oldest_shots_fall_out_when_there_are_more_than_frames():
    assert share_budget(8, 6) == [0, 0, 1, 1, 1, 1, 1, 1]


def test_an_unknown_selector_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'dynamic'"):
        get_selector("dinamic")
    with pytest.raises(InputError, match="did you mean 'relevant'"):
        make_selector("relevent", embed)


def relevant(shots, caption, budget=6):
    return [(ref.shot, ref.frame) for ref in make_selector("relevant", embed)(shots, caption, budget)]


def test_relevant_remembers_the_newest_shot_and_the_nearest_captions():
    shots = [PastShot(index, 21, text) for index, text in enumerate(["ab", "cd", "abc", "xy", "zz"])]
    assert relevant(shots, "ba") == [(0, 0), (0, 20), (2, 0), (2, 20), (4, 0), (4, 20)]
    assert relevant(shots, "zz", 2) == [(4, 0), (4, 20)]
    assert relevant(shots, "ba", 5) == [(0, 0), (0, 20), (2, 0), (4, 0), (4, 20)]


def test_relevant_takes_newer_shots_where_captions_are_as_near():
    shots = [PastShot(index, 21, text) for index, text in enumerate(["ab", "ab", "ba", "zz"])]
    assert {shot for shot, _ in relevant(shots, "ab")} == {1, 2, 3}
    assert {shot for shot, _ in relevant(shots, "qq")} == {1, 2, 3}


def test_relevant_gives_what_is_left_over_in_the_same_order():
    assert relevant([PastShot(0, 21, "ab")], "ab") == [(0, frame) for frame in (0, 4, 8, 12, 16, 20)]
    shots = [PastShot(0, 21, "ab"), PastShot(1, 21, "zz")]
    assert [shot for shot, _ in relevant(shots, "ab", 5)] == [0, 0, 1, 1, 1]
    cast = [PastShot(index, 1, text) for index, text in enumerate(["ab", "cd", "ef"])]
    assert relevant(cast, "ef", 3) == [(0, 0), (1, 0), (2, 0)]


def test_relevant_finds_the_part_of_a_steered_shot_and_its_frames_are_kept():
    steered = PastShot(0, 81, "zz", ((21, "ab"), (33, "yy")))
    shots = [steered, PastShot(1, 21, "xx"), PastShot(2, 21, "ww")]
    chosen = relevant(shots, "ab")
    assert (0, 21) in chosen
    assert (0, 32) in chosen
    assert {21, 32} <= set(kept_frames(steered, 6))
    assert set(key_frames(81, 6)) < set(kept_frames(steered, 6))
    assert kept_frames(PastShot(0, 81, "zz"), 6) == key_frames(81, 6)


def test_a_shot_steered_before_its_first_chunk_has_only_the_later_caption():
    shot = PastShot(0, 21, "a", ((0, "b"), (9, "c")))
    assert [(passage.first, passage.stop, passage.caption) for passage in shot.passages] == [(0, 9, "b"), (9, 21, "c")]
    assert (shot.caption_at(0), shot.caption_at(20)) == ("b", "c")


def test_cosine_by_hand():
    assert cosine(np.array([3, 4], np.float32), np.array([4, 3], np.float32)) == pytest.approx(0.96)
    assert cosine(np.zeros(2, np.float32), np.array([4, 3], np.float32)) == 0
