"""Kernels of attention: which is chosen where, what is refused, and that a stand-in for each sees the same."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend

from shotstream.core.errors import InputError
from shotstream.core.types import FrameLayout
from shotstream.model import attention_kernels as kernels
from shotstream.model.attention import block_causal_plan
from shotstream.model.attention_kernels import CUDNN_FIRST, Kernel, from_package, pick_kernel, usable_kernels
from shotstream.model.transformer import Transformer
from tiny import NETWORK

BOTH = ("fa2", "fa3")
CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    ("capability", "dtype", "head_dim", "installed", "expected"),
    [
        (None, torch.bfloat16, 128, BOTH, ("torch",)),
        ((7, 5), torch.float16, 128, BOTH, ("torch",)),
        ((8, 0), torch.bfloat16, 128, (), ("cudnn", "torch")),
        ((8, 0), torch.bfloat16, 128, BOTH, ("fa2", "cudnn", "torch")),
        ((8, 9), torch.float16, 128, ("fa3",), ("cudnn", "torch")),
        ((9, 0), torch.bfloat16, 128, (), ("cudnn", "torch")),
        ((9, 0), torch.bfloat16, 128, ("fa2",), ("cudnn", "fa2", "torch")),
        ((9, 0), torch.bfloat16, 128, BOTH, ("fa3", "cudnn", "fa2", "torch")),
        ((9, 0), torch.float32, 128, BOTH, ("torch",)),
        ((9, 0), torch.bfloat16, 12, BOTH, ("torch",)),
        ((9, 0), torch.bfloat16, 264, BOTH, ("torch",)),
        ((10, 0), torch.bfloat16, 64, BOTH, ("cudnn", "fa2", "torch")),
        ((12, 0), torch.bfloat16, 128, (), ("cudnn", "torch")),
    ],
)
def test_what_can_be_used_and_in_which_order(
    capability: tuple[int, int] | None,
    dtype: torch.dtype,
    head_dim: int,
    installed: tuple[str, ...],
    expected: tuple[str, ...],
) -> None:
    assert usable_kernels(capability, dtype, head_dim, installed) == expected


def flash_attn_func(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """What a FlashAttention package has, in plain torch: [b, n, heads, d], softmax in float32."""
    scores = torch.einsum("bnhd,bmhd->bhnm", q, k).float() * q.shape[-1] ** -0.5
    return torch.einsum("bhnm,bmhd->bnhd", scores.softmax(-1).to(v.dtype), v).contiguous()


def on_hopper(monkeypatch: pytest.MonkeyPatch, *installed: str) -> None:
    """A device of capability 9.0 with these modules, whose function is the stand-in."""
    modules = {name: SimpleNamespace(flash_attn_func=flash_attn_func) for name in installed}
    monkeypatch.setattr(kernels, "cuda_capability", lambda _: (9, 0))
    monkeypatch.setattr(kernels, "find_spec", modules.get)
    monkeypatch.setattr(kernels, "import_module", modules.__getitem__)


def test_the_best_is_picked_and_another_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    on_hopper(monkeypatch, "flash_attn_interface", "flash_attn")
    assert pick_kernel(CUDA, torch.bfloat16, 128).name == "fa3"
    assert [pick_kernel(CUDA, torch.bfloat16, 128, name).name for name in kernels.KERNELS] == [*kernels.KERNELS]
    q = torch.randn(1, 3, 2, 8)
    assert torch.equal(pick_kernel(CUDA, torch.bfloat16, 128, "fa2").attend(q, q, q), flash_attn_func(q, q, q))


def test_what_does_not_run_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="expected an attention of auto, fa3, fa2, cudnn, torch, got 'fa4'"):
        pick_kernel(torch.device("cpu"), torch.float32, 128, "fa4")
    with pytest.raises(InputError, match="got 'cudnn'; use auto or torch"):
        pick_kernel(torch.device("cpu"), torch.bfloat16, 128, "cudnn")
    on_hopper(monkeypatch)
    with pytest.raises(InputError, match="got 'fa3'; use auto or cudnn, torch"):
        pick_kernel(CUDA, torch.bfloat16, 128, "fa3")


def test_a_package_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    on_hopper(monkeypatch, "flash_attn_interface")

    def broken(_: str) -> object:
        raise ImportError("undefined symbol")

    monkeypatch.setattr(kernels, "import_module", broken)
    with pytest.raises(
        InputError, match=r"flash_attn_interface is installed .* \(undefined symbol\); install .* remove"
    ):
        pick_kernel(CUDA, torch.bfloat16, 128)
    assert pick_kernel(CUDA, torch.bfloat16, 128, "cudnn").name == "cudnn"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", kernels.KERNELS)
def test_on_a_device_every_kernel_there_is_attends(name: str) -> None:
    q, k = torch.randn(1, 64, 4, 128), torch.randn(1, 192, 4, 128)
    try:
        kernel = pick_kernel(CUDA, torch.bfloat16, 128, name)
    except InputError as error:
        pytest.skip(str(error))
    with torch.inference_mode(), kernel.scope():
        got = kernel.attend(*(tensor.to(CUDA, torch.bfloat16) for tensor in (q, k, k)))
    assert torch.allclose(got.float().cpu(), flash_attn_func(q, k, k), atol=0.02)


def test_cudnn_comes_first_inside_its_scope_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    on_hopper(monkeypatch)
    before = torch._C._get_sdp_priority_order()
    with pick_kernel(CUDA, torch.bfloat16, 128).scope():
        assert torch._C._get_sdp_priority_order()[:4] == [int(backend) for backend in CUDNN_FIRST]
        assert torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.math_sdp_enabled()
    assert torch._C._get_sdp_priority_order() == before
    assert int(SDPBackend.CUDNN_ATTENTION) != before[0]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


@pytest.mark.parametrize("tuples", [False, True], ids=["result", "result_and_more"])
@torch.inference_mode()
def test_a_network_sees_the_same_through_a_package(*, tuples: bool) -> None:
    """Over a cache, by a plan and with captions that differ: all ways to attention."""
    torch.manual_seed(0)
    network = Transformer(replace(NETWORK, dim=32)).double().eval()
    layout = FrameLayout(torch.arange(6)[None], torch.zeros(1, 6, dtype=torch.long), torch.tensor([[0, 0, 0, 1, 1, 1]]))
    calls: list[torch.Size] = []

    def package(q: Tensor, k: Tensor, v: Tensor) -> Tensor | tuple[Tensor, ...]:
        calls.append(q.shape)
        out = flash_attn_func(q, k, v)
        return (out, out.sum(-1)) if tuples else out

    def look() -> Tensor:
        text, cache = network.project_text(random(1, 2, 5, 10)), network.new_cache(1, (4, 6), 9, 0)
        placement = network.make_positions(layout, (4, 6))
        x, sigmas = random(1, 6, 4, 4, 6), torch.full((1, 6), 0.5)
        planned = network(x, sigmas, text, placement, None, block_causal_plan(0, (3, 3)))
        staged = cache.stage(3)
        network(x[:, :3], sigmas[:, :3], text, network.make_positions(layout[:3], (4, 6)), staged)
        cache.commit(staged)
        return torch.cat(
            [
                planned,
                network(x[:, 3:], sigmas[:, 3:], text, network.make_positions(layout[3:], (4, 6)), cache.stage(3)),
            ],
            1,
        )

    entered: list[str] = []

    @contextmanager
    def scope():  # type: ignore[no-untyped-def]
        entered.append("once a forward")
        yield

    expected = look()
    network.use(Kernel("package", from_package(package), scope))
    assert torch.allclose(look(), expected, atol=1e-6)
    assert len(entered) == 3
    assert len(calls) == network.config.num_layers * (4 + 2 + 2), "captions that differ are read in two parts"
