"""Linear maps in 8-bit floats: the numbers they are to compute, which maps are replaced, and where they are refused."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.evaluate.fidelity import first_velocity, relative_error
from shotstream.model import fp8
from shotstream.model.device import cuda_capability
from shotstream.model.fp8 import LABEL, Float8Linear, quantise, to_float8
from shotstream.model.parts import ModelParts, random_parts
from shotstream.model.quantized import replace_linears
from shotstream.train.presets import TINY

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


def model(dim: int = 32, dtype: torch.dtype = torch.bfloat16) -> ModelParts:
    return random_parts(replace(TINY.model, transformer=replace(TINY.model.transformer, dim=dim)), dtype=dtype)


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
    assert 0 < relative_error(first_velocity(made), before) < 0.1
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
