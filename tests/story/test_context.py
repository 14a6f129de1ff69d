"""Which frames are remembered: the published cases, and what every selector owes the rollout."""

import json
from itertools import accumulate
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotstream.core.errors import InputError
from shotstream.model.config import ContextChoice
from shotstream.story.context import (
    SELECTORS,
    FrameRef,
    PastShot,
    get_selector,
    key_frames,
    select_dynamic,
    share_budget,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "context_sampling.json").read_text())


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['shot_lengths']}-{case['budget']}")
def test_dynamic_equals_the_published_choice(case):
    chosen = select_dynamic(case["shot_lengths"], case["budget"])
    starts = list(accumulate(case["shot_lengths"], initial=0))
    assert [ref.shot for ref in chosen] == case["shots"]
    assert [starts[ref.shot] + ref.frame for ref in chosen] == case["frame_indices"]


def past(lengths):
    return [PastShot(index, length, f"shot {index}") for index, length in enumerate(lengths)]


@given(st.lists(st.integers(1, 200), max_size=12), st.integers(0, 12), st.sampled_from(sorted(SELECTORS)))
def test_every_selector_fills_the_budget_in_order_with_frames_that_exist(lengths, budget, name):
    chosen = get_selector(name)(past(lengths), "next", budget)
    assert len(chosen) == (budget if lengths else 0)
    assert chosen == sorted(chosen)
    assert all(ref.frame in key_frames(lengths[ref.shot], budget) for ref in chosen)
    assert all(0 <= ref.frame < lengths[ref.shot] for ref in chosen)


def test_a_configuration_may_name_every_selector():
    assert set(get_args(ContextChoice)) == set(SELECTORS)


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
