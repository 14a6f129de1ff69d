"""Attention by a plan: the gradient of what several groups see."""

import pytest
import torch
from torch import Tensor

from shotstream.model import attention
from shotstream.model.attention import (
    Group,
    attend,
    attend_by_plan,
    attend_by_products,
    block_causal_plan,
    pieces,
    teacher_forcing_plan,
)


def sliced(x: Tensor, slices: list[slice]) -> list[Tensor]:
    return [x[:, one] for one in slices]


def test_pieces_and_their_gradient_are_those_of_slices() -> None:
    slices = [slice(0, 2), slice(0, 5), slice(3, 7)]
    one = torch.randn(2, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    other = one.detach().clone().requires_grad_()
    for x, taken in ((one, pieces(one, slices)), (other, sliced(other, slices))):
        assert [part.shape[1] for part in taken] == [2, 5, 4]
        sum((part.square() * (index + 1)).sum() for index, part in enumerate(taken)).backward()
        assert x.grad is not None
    assert torch.allclose(one.grad, other.grad, rtol=0, atol=1e-12)
    assert not one.grad[:, 7].any(), "what nothing sees has none"


def test_a_plan_has_the_gradient_of_its_groups_one_by_one() -> None:
    plan, tokens = block_causal_plan(2, (1, 1)), 3
    draw = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 12, 2, 4, dtype=torch.float64, generator=draw).requires_grad_() for _ in range(3))
    attend_by_plan(q, k, v, plan, tokens).square().sum().backward()
    found = [x.grad for x in (q, k, v)]
    for x in (q, k, v):
        x.grad = None
    groups = [(slice(0, 6), slice(0, 6)), (slice(6, 9), slice(0, 9)), (slice(9, 12), slice(0, 12))]
    sum(attend(q[:, a], k[:, b], v[:, b]).square().sum() for a, b in groups).backward()
    assert all(torch.allclose(x.grad, there, rtol=0, atol=1e-12) for x, there in zip((q, k, v), found, strict=True))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_products_give_the_values_and_gradients_of_the_fused_kernel(dtype: torch.dtype, tolerance: float) -> None:
    draw = torch.Generator().manual_seed(2)
    exact = [torch.randn(2, count, 3, 8, dtype=torch.float64, generator=draw) for count in (5, 7, 7)]
    results = []
    for attend_with, kind in ((attend, torch.float64), (attend_by_products, dtype)):
        q, k, v = (x.detach().to(kind).requires_grad_() for x in exact)
        out = attend_with(q, k, v)
        out.square().sum().backward()
        results.append([x.double() for x in (out.detach(), q.grad, k.grad, v.grad)])
    for expected, found in zip(*results, strict=True):
        assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def test_products_leave_attention_with_too_many_scores_to_the_fused_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    q = torch.randn(1, 4, 2, 8, generator=torch.Generator().manual_seed(3))
    expected = attend(q, q, q)
    monkeypatch.setattr(attention, "MAX_SCORES", 2 * 4 * 4 - 1)
    assert torch.equal(attend_by_products(q, q, q), expected)


def test_keys_in_several_pieces_are_seen_together_and_have_their_gradient() -> None:
    draw = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(1, 4, 2, 4, dtype=torch.float64, generator=draw).requires_grad_() for _ in range(3))
    plan = (Group(slice(0, 3), (slice(0, 3),)), Group(slice(3, 4), (slice(0, 1), slice(3, 4))))
    seen = attend_by_plan(q, k, v, plan, 1)
    seen[:, 3].sum().backward()
    assert torch.allclose(seen[:, 3:], attend(q[:, 3:], k[:, [0, 3]], v[:, [0, 3]]), rtol=0, atol=1e-12)
    assert v.grad is not None
    assert v.grad[0, :, 0, 0].ne(0).tolist() == [True, False, False, True]


def test_teacher_forcing_shows_noisy_chunks_the_clean_ones_before_them() -> None:
    def seen(context: int, chunks: int, copies: int = 1) -> list[list[int]]:
        plan = teacher_forcing_plan(context, chunks, 2, copies)
        places = range(context + 2 * ((1 + copies) * chunks - 1))
        assert [place for group in plan for place in places[group.queries]] == list(places), "each asks once, in order"
        return [[place for own in group.keys for place in places[own]] for group in plan]

    assert seen(1, 2) == [[0], [0, 1, 2], [0, 3, 4], [0, 1, 2, 5, 6]]
    assert seen(0, 2) == [[0, 1], [2, 3], [0, 1, 4, 5]]
    assert seen(0, 1) == [[0, 1]]
    assert seen(1, 1) == [[0], [0, 1, 2]]
    assert seen(0, 2, copies=2) == [[0, 1], [2, 3], [0, 1, 4, 5], [6, 7], [0, 1, 8, 9]]


def test_nothing_is_copied_where_no_gradient_is_recorded() -> None:
    x = torch.randn(1, 6, 2)
    with torch.inference_mode():
        first, second = pieces(x, [slice(0, 2), slice(2, 6)])
    assert first.data_ptr() == x.data_ptr()
    assert second.data_ptr() == x[:, 2:].data_ptr()
