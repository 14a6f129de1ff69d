"""Rotary positions: the reference's angles, and what they are for."""

import pytest
import torch
from torch import Tensor

from shotstream.model.rotary import SHOT_PHASE, join_axes, make_rotary, rotary_angles, rotate, time_rotation
from shotstream.story.layout import frame_layout

CPU = torch.device("cpu")


def angles(positions: list[int], shots: list[int], grid: tuple[int, int] = (2, 3), head_dim: int = 128) -> Tensor:
    """[frames, rows, columns, channels]"""
    layout = frame_layout(positions, shots, shots)
    every = join_axes(*rotary_angles(layout.positions, layout.shots, grid, head_dim))
    return every[0].unflatten(0, (len(positions), *grid))


def frequency(channel: int, channels: int) -> float:
    return 10000.0 ** (-channel / channels)


def test_channels_are_split_22_21_21_and_angles_follow_the_reference() -> None:
    got = angles([0, 5, 26], [0, 1, 3])
    for frame, (position, shot) in enumerate([(0, 0), (5, 1), (26, 3)]):
        for channel in (0, 1, 21):
            expected = position * frequency(channel, 22) + shot / 6
            assert got[frame, 1, 2, channel].item() == pytest.approx(expected, abs=1e-12)
    for channel in (0, 7, 20):
        assert got[0, 1, 2, 22 + channel].item() == pytest.approx(1 * frequency(channel, 21), abs=1e-12)
        assert got[0, 1, 2, 43 + channel].item() == pytest.approx(2 * frequency(channel, 21), abs=1e-12)
    assert got.shape[-1] == 64
    assert got.dtype == torch.float64


@pytest.mark.parametrize(("head_dim", "time"), [(32, 6), (12, 2), (8, 2), (128, 22)])
def test_time_takes_what_thirds_leave(head_dim: int, time: int) -> None:
    difference = angles([0, 1], [0, 0], head_dim=head_dim).diff(dim=0)[0, 0, 0]
    assert (difference != 0).tolist() == [True] * time + [False] * (head_dim // 2 - time)


def test_a_shot_adds_one_phase_to_every_temporal_channel_and_to_no_other() -> None:
    difference = (angles([3], [2]) - angles([3], [0]))[0, 0, 0]
    torch.testing.assert_close(difference[:22], torch.full((22,), 2 * SHOT_PHASE, dtype=torch.float64))
    assert not difference[22:].any()


def test_tokens_run_frame_by_frame_row_by_row() -> None:
    layout = frame_layout([4, 5], [0, 0], [0, 0])
    flat = join_axes(*rotary_angles(layout.positions, layout.shots, (2, 3), 12))[0]
    assert flat.shape == (12, 6)
    assert flat[:, 0].tolist() == [4.0] * 6 + [5.0] * 6
    assert flat[:, 2].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0] * 2
    assert flat[:, 4].tolist() == [0.0, 1.0, 2.0] * 4


def test_rotation_multiplies_neighbouring_channels_as_complex_numbers() -> None:
    table = make_rotary(frame_layout([0, 7], [0, 1], [0, 0]), (4, 4), 12, CPU)
    assert (table.cos.dtype, table.cos.shape) == (torch.float32, (1, 8, 1, 6))
    x = torch.randn(1, 8, 3, 12, generator=torch.Generator().manual_seed(0))
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.complex(table.cos, table.sin)
    torch.testing.assert_close(rotate(x, table), torch.view_as_real(turned).flatten(-2))
    torch.testing.assert_close(rotate(x, table).norm(dim=-1), x.norm(dim=-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.usefixtures("unchecked_shapes")
def test_real_arithmetic_which_compilers_see_turns_alike(dtype: torch.dtype) -> None:
    table = make_rotary(frame_layout([0, 7], [0, 1], [0, 0]), (4, 4), 12, CPU)
    x = torch.randn(1, 8, 3, 12, generator=torch.Generator().manual_seed(0)).to(dtype)
    traced = torch.compile(rotate, backend="eager")
    torch.testing.assert_close(traced(x, table), rotate(x, table), rtol=1e-6, atol=1e-6)


def test_rotation_keeps_the_precision_of_what_it_turns() -> None:
    table = make_rotary(frame_layout([3], [0], [0]), (2, 2), 12, CPU)
    assert rotate(torch.ones(1, 1, 1, 12, dtype=torch.bfloat16), table).dtype == torch.bfloat16


def product(query: tuple[int, int], key: tuple[int, int]) -> float:
    """Attention logit of equal vectors at two (position, shot)."""
    layout = frame_layout(*zip(query, key, strict=True), [0, 0])
    vector = torch.ones(1, 2, 1, 24)
    q, k = rotate(vector, make_rotary(layout, (2, 2), 24, CPU))[0, :, 0]
    return (q @ k).item()


def test_attention_feels_how_far_apart_latents_are_and_not_where() -> None:
    assert product((9, 2), (6, 2)) == pytest.approx(product((20, 2), (17, 2)), abs=1e-4)
    assert product((9, 2), (6, 2)) != pytest.approx(product((9, 2), (7, 2)), abs=1e-2)


def test_attention_feels_how_many_shots_apart_latents_are() -> None:
    assert product((9, 3), (6, 2)) == pytest.approx(product((9, 1), (6, 0)), abs=1e-4)
    assert product((9, 2), (6, 2)) != pytest.approx(product((9, 3), (6, 2)), abs=1e-2)


@pytest.mark.parametrize(("before", "after", "shot"), [(26, 23, 4), (9, 12, 0), (24, 0, 1)])
def test_turned_keys_are_those_made_at_the_other_position(before: int, after: int, shot: int) -> None:
    keys = torch.randn(1, 6, 2, 128, generator=torch.Generator().manual_seed(0))
    made = [
        rotate(keys, make_rotary(frame_layout([position], [shot], [0]), (4, 6), 128, CPU))
        for position in (before, after)
    ]
    turned = rotate(made[0], time_rotation(after - before, 128, CPU))
    assert torch.allclose(turned, made[1], atol=1e-5)
    assert not torch.allclose(made[0], made[1], atol=1e-2)
