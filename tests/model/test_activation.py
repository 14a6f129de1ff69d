"""The activation without gradient, which has arithmetic of its own on a CPU, against torch's."""

import pytest
import torch
import torch.nn.functional as F

from shotstream.model.activation import TanhGELU


def test_without_gradient_it_is_torchs_within_rounding() -> None:
    x = torch.linspace(-120, 120, 4801)
    with torch.no_grad():
        torch.testing.assert_close(TanhGELU()(x), F.gelu(x, approximate="tanh"), rtol=1e-6, atol=1e-6)


def test_what_it_is_given_stays_as_it_was() -> None:
    x = torch.randn(16, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    with torch.inference_mode():
        TanhGELU()(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_with_gradient_and_in_other_precisions_it_is_torchs(dtype: torch.dtype) -> None:
    x = torch.randn(16, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    assert torch.equal(TanhGELU()(x), F.gelu(x, approximate="tanh"))
    (ours,) = torch.autograd.grad(TanhGELU()(x).sum(), x)
    (theirs,) = torch.autograd.grad(F.gelu(x, approximate="tanh").sum(), x)
    assert torch.equal(ours, theirs)
    with torch.no_grad():
        assert TanhGELU()(x.bfloat16()).equal(F.gelu(x.bfloat16(), approximate="tanh"))
