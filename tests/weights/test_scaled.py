"""8-bit weights become plain ones by their scales, in every spelling; other quantisations are named."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.weights.load import read_component
from shotstream.weights.scaled import apply_scales
from shotstream.weights.tensors import read_checkpoint

FP8 = torch.float8_e4m3fn
WEIGHT = torch.linspace(-0.3, 0.4, 300 * 260).reshape(300, 260)
BIAS = torch.zeros(300)


def quantised(scale: Tensor, dtype: torch.dtype = FP8) -> Tensor:
    return (WEIGHT / scale).round().to(torch.int8) if dtype == torch.int8 else (WEIGHT / scale).to(dtype)


ROWS = WEIGHT.abs().amax(1, keepdim=True) / 448
BLOCKS = torch.full((3, 3), 0.001).mul_(torch.arange(1.0, 10.0).reshape(3, 3))
SPREAD = BLOCKS.repeat_interleave(128, 0).repeat_interleave(128, 1)[:300, :260]
ONE = torch.tensor(0.001)
CASES: dict[str, tuple[dict[str, Tensor], Tensor]] = {
    "scale_weight": ({"weight": quantised(ONE), "scale_weight": ONE}, ONE),
    "scale_weight of one dimension": ({"weight": quantised(ONE), "scale_weight": ONE[None]}, ONE),
    "weight_scale": ({"weight": quantised(ONE), "weight_scale": ONE.bfloat16()}, ONE.bfloat16().float()),
    "e5m2": ({"weight": quantised(ONE, torch.float8_e5m2), "weight_scale": ONE}, ONE),
    "a scale a row": ({"weight": quantised(ROWS), "weight_scale": ROWS}, ROWS),
    "a scale a row, flat": ({"weight": quantised(ROWS), "weight_scale": ROWS.flatten()}, ROWS),
    "int8": ({"weight": quantised(ROWS * 4, torch.int8), "weight_scale": ROWS * 4}, ROWS * 4),
    "blocks of 128": ({"weight": quantised(SPREAD), "weight_scale_inv": BLOCKS}, SPREAD),
    "equal blocks": ({"weight": quantised(ONE), "weight_scale": torch.full((10, 2), 0.001)}, ONE),
}


@pytest.mark.parametrize("case", CASES)
def test_a_weight_is_its_stored_value_times_its_scale(case: str) -> None:
    stored, scale = CASES[case]
    state = {f"layer.{name}": value for name, value in stored.items()} | {"layer.bias": BIAS}
    plain, notes = apply_scales(state, "x")
    assert plain.keys() == {"layer.weight", "layer.bias"}
    assert plain["layer.weight"].dtype == torch.float32
    torch.testing.assert_close(plain["layer.weight"], stored["weight"].float() * scale)
    assert (plain["layer.weight"] - WEIGHT).abs().max() < 0.1 * WEIGHT.abs().max()
    assert notes == ()


def test_what_only_serves_8_bit_products_is_left_out() -> None:
    state = {
        "scaled_fp8": torch.empty(0, dtype=FP8),
        "spiece_model": torch.zeros(9, dtype=torch.uint8),
        "a.weight": quantised(ONE),
        "a.scale_weight": ONE,
        "a.scale_input": ONE,
        "b.weight": quantised(ONE),
        "b.weight_scale": ONE,
        "b.input_scale": ONE,
        "b.comfy_quant": torch.zeros(9, dtype=torch.uint8),
    }
    plain, _ = apply_scales(state, "x")
    assert plain.keys() == {"a.weight", "b.weight"}
    assert {value.dtype for value in plain.values()} == {torch.bfloat16}


def test_floats_without_a_scale_are_read_as_they_are_and_reported() -> None:
    plain, notes = apply_scales({"a.weight": WEIGHT.to(FP8), "a.bias": BIAS.half()}, "x.safetensors")
    assert torch.equal(plain["a.weight"], WEIGHT.to(FP8).half())
    assert notes == ("x.safetensors: 1 tensors are 8-bit floats without a scale (first: a.weight): read as they are",)


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ({"a.scale_weight": ONE}, "'a.scale_weight' scales 'a.weight', which is not there"),
        ({"a.weight": WEIGHT, "a.weight_scale": ONE}, "which is float32 and not 8-bit"),
        ({"a.weight": quantised(ROWS, torch.int8)}, "'a.weight' is int8 without a scale"),
        ({"a.weight": quantised(ONE), "a.weight_scale": torch.ones(7)}, r"shape \[7\], which does not scale a weight"),
        ({"a.weight": quantised(ONE), "a.weight_scale": torch.ones(7, 7)}, r"shape \[7, 7\], which does not"),
        ({"a.weight": quantised(ONE), "a.weight_scale": torch.ones(0, 2)}, r"shape \[0, 2\], which does not"),
        ({"a.weight": quantised(ONE), "a.weight_scale": torch.ones(300, dtype=torch.uint8)}, "is uint8, a format"),
        ({"a.weight": quantised(ONE), "a.weight_scale_2": ONE}, "belongs to a quantisation that is not read here"),
        ({"a.weight": quantised(ROWS, torch.int8), "a.SCB": ONE}, "belongs to a quantisation that is not read here"),
        ({"a.weight": quantised(ONE), "a.weight_scale": ONE * torch.nan}, "above 0 in 'a.weight_scale', got others"),
        ({"a.weight": quantised(ONE), "a.weight_scale": -ONE}, "above 0 in 'a.weight_scale', got others"),
        ({"a.weight": quantised(ONE), "a.weight_scale": ONE * 0}, "above 0 in 'a.weight_scale', got others"),
        ({"a.weight": quantised(ONE), "a.weight_scale": ONE, "a.scale_weight": ONE}, "'a.weight' has two scales"),
        ({"a.weight": quantised(ONE), "scaled_fp8": torch.zeros(2).to(FP8)}, r"scaled \('scaled_fp8'\), and holds no"),
        ({"a.qweight": torch.ones(2, dtype=torch.int32)}, "belongs to a quantisation that is not read here"),
    ],
)
def test_other_quantisations_are_named(state: dict[str, Tensor], found: str) -> None:
    with pytest.raises(InputError, match=f"^x: .*{found}"):
        apply_scales(state, "x")


def test_a_scaled_transformer_is_read_as_the_plain_one(tiny: Any, tmp_path: Path) -> None:
    stored: dict[str, Tensor] = {"scaled_fp8": torch.empty(0, dtype=FP8)}
    for name, value in tiny.transformer.items():
        if name.startswith("blocks") and value.ndim == 2:
            scale = value.abs().max() / 448
            stored |= {name: (value / scale).to(FP8), name.replace(".weight", ".scale_weight"): scale}
        else:
            stored[name] = value
    prefixed = {f"model.diffusion_model.{name}": value for name, value in stored.items()}
    save_file(prefixed, tmp_path / "x.safetensors")
    read = read_component(tmp_path / "x.safetensors", "transformer").tensors
    assert read.keys() == tiny.transformer.keys()
    for name, value in tiny.transformer.items():
        torch.testing.assert_close(read[name], value, rtol=0.07, atol=0.001 * value.abs().max().item())
    assert read_checkpoint(tmp_path / "x.safetensors").dtypes == ("float32", "float8_e4m3fn")
