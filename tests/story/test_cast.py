"""The cast: its share of what is remembered, and pictures of any size."""

import numpy as np
import pytest

from shotstream.core.errors import InputError
from shotstream.story.cast import CastMember, cast_as_shots, cast_share, check_member, choose_members, fit_picture
from shotstream.story.selectors import PastShot


@pytest.mark.parametrize(
    ("members", "shots", "share"),
    [(0, 0, 0), (0, 3, 0), (1, 0, 6), (2, 0, 6), (1, 1, 1), (2, 5, 2), (3, 1, 3), (9, 1, 3)],
)
def test_the_cast_has_all_before_the_first_shot_and_then_at_most_half(members, shots, share):
    assert cast_share(members, shots, 6) == share


def test_a_member_is_a_shot_of_one_frame():
    assert cast_as_shots([CastMember(0, "a"), CastMember(2, "b")]) == [PastShot(0, 1, "a"), PastShot(2, 1, "b")]


def test_members_are_chosen_by_their_numbers_and_one_that_left_is_passed_over():
    cast = (CastMember(0, "a"), CastMember(2, "b"))
    assert choose_members(cast, None) == cast
    assert choose_members(cast, (1, 2)) == cast[1:]
    assert choose_members(cast, ()) == ()
    assert check_member(cast, 2) == cast[1]
    with pytest.raises(InputError, match=r"of the cast, which has 0 \(a\), 2 \(b\); got 1"):
        check_member(cast, 1)


def test_a_picture_of_the_right_size_stays_as_it_is():
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    assert np.array_equal(fit_picture(picture, 32, 48), picture)


@pytest.mark.parametrize("size", [(64, 96), (200, 96), (64, 300), (10, 10), (7, 501)])
def test_a_picture_covers_the_frame_around_its_centre(size):
    height, width = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, width // 2 :] = 200
    fitted = fit_picture(picture, 32, 48)
    assert fitted.shape == (32, 48, 3)
    assert fitted[:, :16].max() < 20
    assert fitted[:, 32:].min() > 180


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1), (1, 8100), (1, 1)])
def test_of_a_thread_of_a_picture_only_its_middle_is_scaled(size):
    picture = np.full((*size, 3), 90, np.uint8)
    picture[(size[0] - 1) // 2 : size[0] // 2 + 1, (size[1] - 1) // 2 : size[1] // 2 + 1] = 200
    fitted = fit_picture(picture, 480, 832)
    assert fitted.shape == (480, 832, 3)
    assert fitted.max() > 190


@pytest.mark.usefixtures("unchecked_shapes")
def test_one_picture_at_a_time():
    with pytest.raises(InputError, match="expected one picture"):
        fit_picture(np.zeros((2, 32, 48, 3), np.uint8), 32, 48)
    with pytest.raises(InputError, match="expected uint8 frames"):
        fit_picture(np.zeros((32, 48, 3), np.float32), 32, 48)
