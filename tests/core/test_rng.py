"""Noise: a pure function of where it is used, and standard normal."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from shotstream.core.rng import SeededNoise, derive_seed

SHAPE = (1, 3, 4, 6, 8)


def test_the_same_place_has_the_same_noise_in_any_order() -> None:
    noise, again = SeededNoise(7), SeededNoise(7)
    places = [(shot, chunk, step) for shot in range(2) for chunk in range(2) for step in range(2)]
    drawn = {place: noise(*place, SHAPE) for place in places}
    for place in reversed(places):
        torch.manual_seed(sum(place))
        assert torch.equal(drawn[place], again(*place, SHAPE))


def test_every_place_and_seed_has_its_own_noise() -> None:
    base = SeededNoise(7)(1, 2, 3, SHAPE)
    others = [
        SeededNoise(8)(1, 2, 3, SHAPE),
        *(SeededNoise(7)(*place, SHAPE) for place in ((0, 2, 3), (1, 0, 3), (1, 2, 0))),
    ]
    assert all(not torch.equal(base, other) for other in others)


def test_places_do_not_run_into_each_other() -> None:
    assert len({derive_seed(1, 11), derive_seed(11, 1), derive_seed(111), derive_seed("1", "1", 1)}) == 4


def test_drawing_leaves_the_global_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    SeededNoise(7)(0, 0, 0, SHAPE)
    assert torch.equal(torch.rand(4), expected)


def test_noise_is_standard_normal() -> None:
    noise = SeededNoise(0)(0, 0, 0, (100_000,))
    assert noise.dtype == torch.float32
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02


@given(st.lists(st.one_of(st.integers(), st.text()), max_size=4))
def test_seeds_fit_where_seeds_are_taken(parts: list[int | str]) -> None:
    assert 0 <= derive_seed(*parts) < 2**63
    assert derive_seed(*parts) == derive_seed(*parts)
