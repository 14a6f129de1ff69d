"""Weights that are not finite are refused by name: on load, on conversion, in reports."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from shotstream.core.errors import InputError
from shotstream.weights.directory import write_directory
from shotstream.weights.finite import nonfinite_names, value_ranges
from shotstream.weights.hub import open_components
from shotstream.weights.inspect import inspect

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_value_is_found_wherever_it_is(dtype: torch.dtype, value: float) -> None:
    broken = torch.zeros(3, 4, dtype=dtype)
    broken[1, 2] = value
    state = {"a": torch.ones(2, dtype=dtype), "b": broken, "c": torch.ones(2, dtype=torch.int64), "d": torch.empty(0)}
    assert nonfinite_names(value_ranges(state)) == ["b"]


def test_ranges_are_those_of_the_values() -> None:
    state = {"a": torch.tensor([-2.0, 3.0]), "b": torch.tensor(5.0), "m": torch.empty(2, device="meta")}
    assert value_ranges(state) == {"a": (-2.0, 3.0), "b": (5.0, 5.0)}


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("component", ["transformer", "codec", "text_encoder"])
def test_a_model_with_such_weights_does_not_open(tiny: Any, tmp_path: Path, component: str, value: float) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    tensors = dict(getattr(tiny, component))
    name = sorted(tensors)[3]
    tensors[name] = torch.full_like(tensors[name], value)
    if component == "transformer":
        save_file(tensors, directory / "diffusion_pytorch_model.safetensors")
    else:
        files = {"codec": "Wan2.1_VAE.pth", "text_encoder": "models_t5_umt5-xxl-enc-bf16.pth"}
        torch.save(tensors, directory / files[component])
    with pytest.raises(InputError, match=f"expected finite numbers, but 1 of .* hold NaN or infinity .{name}.; ") as e:
        open_components(directory)
    assert component.replace("_", " ") in str(e.value)


def test_a_conversion_out_of_range_is_refused_and_writes_nothing(tiny: Any, tmp_path: Path) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    tensors = tiny.transformer | {"blocks.0.ffn.0.bias": torch.full_like(tiny.transformer["blocks.0.ffn.0.bias"], 1e6)}
    save_file(tensors, directory / "diffusion_pytorch_model.safetensors")
    components = open_components(directory)
    said = r"transformer.: 1 tensors have values beyond the range of float16 .blocks\.0\.ffn\.0\.bias.; use bfloat16"
    with pytest.raises(InputError, match=said):
        write_directory(components, tmp_path / "ours", torch.float16)
    with pytest.raises(InputError, match=said):
        open_components(directory, dtype=torch.float16)
    assert not (tmp_path / "ours").exists()
    write_directory(components, tmp_path / "ours", torch.bfloat16)


def test_a_report_has_the_range_and_the_names(tiny: Any, tmp_path: Path) -> None:
    tensors = tiny.transformer | {"blocks.0.ffn.0.bias": torch.full_like(tiny.transformer["blocks.0.ffn.0.bias"], 7.5)}
    save_file(tensors, tmp_path / "x.safetensors")
    report = inspect(tmp_path / "x.safetensors").files[0]
    assert report.problem == ""
    assert report.span is not None
    assert report.span[1] == 7.5
    assert report.span[0] == min(value.min().item() for value in tensors.values())
    tensors["blocks.0.ffn.0.bias"] = torch.full_like(tensors["blocks.0.ffn.0.bias"], torch.nan)
    save_file(tensors, tmp_path / "x.safetensors")
    report = inspect(tmp_path / "x.safetensors").files[0]
    assert report.problem == "1 tensors hold NaN or infinity (blocks.0.ffn.0.bias)"
    assert report.span is not None
