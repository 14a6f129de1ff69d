"""8-bit floats: the numbers that maps and attention are to compute, what is replaced, and where they are refused."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from shotstream.bench.decoder_fidelity import first_velocity, relative_norm_error
from shotstream.core.errors import InputError
from shotstream.model.attention import attend
from shotstream.model.device import cuda_capability
from shotstream.runtime import fp8
from shotstream.runtime.fp8 import (
    ATTENTION_LABEL,
    LABEL,
    Float8Linear,
    attend_in_float8,
    attention_to_float8,
    quantise,
    to_float8,
)
from shotstream.runtime.quantized import replace_linears
from shotstream.train.presets import TINY
from shotstream.weights.build import ModelComponents, random_components

CAPABILITY = cuda_capability(torch.device("cuda")) if torch.cuda.is_available() else None
needs_float8 = pytest.mark.skipif((CAPABILITY or (0, 0)) < fp8.CAPABILITY, reason="no CUDA device with 8-bit floats")
BFLOAT16_STEP = 2**-8


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).bfloat16()


def linear(i: int = 64, o: int = 48) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(i, o, dtype=torch.bfloat16)


def in_plain_torch(x: Tensor, made_of: nn.Linear) -> Tensor:
    """Rounded to 8 bits, made 32 bits again, and multiplied."""

    def rounded(rows: Tensor) -> Tensor:
        scale = rows.float().abs().amax(-1, keepdim=True) / 448
        return (rows / scale).to(torch.float8_e4m3fn).float() * scale

    return rounded(x) @ rounded(made_of.weight.detach()).T + made_of.bias.detach().float()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_float8)])
@torch.inference_mode()
def test_it_computes_the_product_of_the_rounded(device: str) -> None:
    plain, x = linear(), random(2, 5, 64)
    expected = in_plain_torch(x, plain)
    got = Float8Linear(plain.to(device))(x.to(device)).float().cpu()
    plain.cpu()
    assert got.shape == (2, 5, 48)
    assert torch.allclose(got, expected, rtol=BFLOAT16_STEP, atol=BFLOAT16_STEP * float(expected.abs().max()))
    loss = float((got - plain(x).float()).norm() / plain(x).float().norm())
    assert 0.01 < loss < 0.06, "three bits of mantissa on either side"


@torch.inference_mode()
def test_every_row_has_a_scale_of_its_own() -> None:
    x = random(4, 64)
    large = x.clone()
    large[1] *= 2**14
    large[2] = 0
    (one, small), (other, scales) = quantise(x), quantise(large)
    assert torch.equal(other[1].float(), one[1].float())
    assert scales[1] == small[1] * 2**14
    assert float(other.float().abs().max()) == 448.0
    layer = Float8Linear(linear())
    assert torch.equal(layer(large)[[0, 3]], layer(x)[[0, 3]])
    assert torch.equal(layer(large)[2], layer.bias)


def model(dim: int = 32, dtype: torch.dtype = torch.bfloat16) -> ModelComponents:
    return random_components(replace(TINY.model, transformer=replace(TINY.model.transformer, dim=dim)), dtype=dtype)


def test_the_maps_of_the_blocks_are_replaced_and_no_others() -> None:
    transformer, made = model().transformer, []
    replace_linears(transformer, lambda old: made.append(old) or nn.Identity())
    names = {name for name, module in transformer.named_modules() if isinstance(module, nn.Identity)}
    parts = (*(f"{kind}_attn.{name}" for kind in ("self", "cross") for name in "qkvo"), "ffn.0", "ffn.2")
    assert names == {f"blocks.{block}.{part}" for block in range(len(transformer.blocks)) for part in parts}
    assert len(made) == len(names)
    assert all(isinstance(old, nn.Linear) for old in made)


def test_a_network_says_nearly_the_same_and_is_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fp8, "cuda_capability", lambda _: (8, 9))
    parts = model()
    before, blocks = first_velocity(parts), parts.transformer.blocks
    size = sum(tensor.nbytes for tensor in blocks.state_dict().values())
    made = to_float8(replace(parts, lossy=("something else",)))
    assert 0 < relative_norm_error(first_velocity(made), before) < 0.1
    assert sum(tensor.nbytes for tensor in blocks.state_dict().values()) < 0.75 * size
    assert made.lossy == ("something else", LABEL)
    assert made.fingerprint != parts.fingerprint


@pytest.mark.parametrize(
    ("capability", "dtype", "dim", "message"),
    [
        (None, torch.bfloat16, 32, "expected a CUDA device of capability 8.9 or more for 8 bits, got cpu; leave out"),
        ((8, 6), torch.bfloat16, 32, "got 8.6; leave out --fp8"),
        ((9, 0), torch.float32, 32, "expected a model in bfloat16 to make 8 bits of, got float32"),
        ((9, 0), torch.bfloat16, 40, "expected linear maps of widths divisible by 16, got 40 to 40"),
    ],
)
def test_where_it_cannot_be_is_refused(
    capability: tuple[int, int] | None, dtype: torch.dtype, dim: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fp8, "cuda_capability", lambda _: capability)
    with pytest.raises(InputError, match=message):
        to_float8(model(dim, dtype))


def flash_attn_func(
    q: Tensor, k: Tensor, v: Tensor, *, q_descale: Tensor, k_descale: Tensor, v_descale: Tensor
) -> Tensor:
    """What FlashAttention 3 has for 8-bit floats, in plain torch: scales of [b, heads], a result in bfloat16."""
    assert {tensor.dtype for tensor in (q, k, v)} == {torch.float8_e4m3fn}
    rows = [
        tensor.float() * scale[:, None, :, None] for tensor, scale in ((q, q_descale), (k, k_descale), (v, v_descale))
    ]
    return attend(*rows).bfloat16()


@torch.inference_mode()
def test_attention_is_that_of_the_rounded() -> None:
    q, k, v = random(2, 6, 3, 16), random(2, 9, 3, 16), random(2, 9, 3, 16)
    v[:, :, 1] *= 100

    def rounded(tokens: Tensor) -> Tensor:
        scale = tokens.float().abs().amax((1, 3), keepdim=True) / 448
        return (tokens / scale).to(torch.float8_e4m3fn).float() * scale

    got = attend_in_float8(flash_attn_func)(q, k, v)
    assert torch.equal(got, attend(rounded(q), rounded(k), rounded(v)).bfloat16())
    exact = attend(q.float(), k.float(), v.float())
    for head in range(3):
        loss = relative_norm_error(got[:, :, head].float(), exact[:, :, head])
        assert 0.005 < loss < 0.06, "a head with large values does not cost the others theirs"
    several = attend_in_float8(lambda *given, **scales: (flash_attn_func(*given, **scales), None))
    assert torch.equal(several(q, k, v), got)


def test_self_attention_alone_is_in_8_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fp8, "cuda_capability", lambda _: (9, 0))
    monkeypatch.setattr(fp8, "flash_attention_3", lambda: flash_attn_func)
    parts = model()
    before = first_velocity(parts)
    made = attention_to_float8(parts)
    assert 0 < relative_norm_error(first_velocity(made), before) < 0.05
    assert all(block.cross_attn.attend is attend for block in made.transformer.blocks)
    assert made.lossy == (ATTENTION_LABEL,)
    assert made.fingerprint != parts.fingerprint
    assert to_float8(made).lossy == (ATTENTION_LABEL, LABEL)


def test_attention_in_8_bits_is_refused_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fp8, "cuda_capability", lambda _: None)
    with pytest.raises(
        InputError, match=r"expected .* capability 9.0 for attention in 8 bits, got no CUDA device; leave"
    ):
        attention_to_float8(model())
    monkeypatch.setattr(fp8, "cuda_capability", lambda _: (8, 9))
    with pytest.raises(InputError, match=r"got 8.9; leave out --fp8-attention"):
        attention_to_float8(model())
    monkeypatch.setattr(fp8, "cuda_capability", lambda _: (9, 0))
    with pytest.raises(InputError, match=r"expected FlashAttention 3 \(flash_attn_interface\), which is not installed"):
        attention_to_float8(model())
