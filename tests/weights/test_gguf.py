"""GGUF files, as llama.cpp and ComfyUI's nodes write them: dequantised, or named with what to do."""

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.model.config import TextEncoderConfig
from shotstream.model.names import _LLAMA_CPP_NAMES, TEXT_NAMES, to_original
from shotstream.model.text_encoder import TextEncoder
from shotstream.weights.inspect import inspect
from shotstream.weights.load import read_component
from shotstream.weights.tensors import read_checkpoint, read_tensors

gguf = pytest.importorskip("gguf")


def write(path: Path, tensors: dict[str, Tensor], kind: str = "F32", *, reshape: bool = False) -> Path:
    """Write a GGUF file; tensors whose rows fit the blocks of `kind` are quantised to it, if need be reshaped."""
    writer = gguf.GGUFWriter(path, "wan")
    quant = gguf.GGMLQuantizationType[kind]
    block = gguf.GGML_QUANT_SIZES[quant][0]
    for name, value in tensors.items():
        data = value.float().numpy()
        if reshape and value.numel() % block == 0 and value.ndim > 1:
            writer.add_array(f"comfy.gguf.orig_shape.{name}", [int(size) for size in data.shape])
            data = data.reshape(-1, block)
        if data.ndim < 2 or data.shape[-1] % block:
            writer.add_tensor(name, data)
        else:
            writer.add_tensor(name, gguf.quantize(data, quant), raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("F32", 0), ("F16", 1e-3), ("BF16", 4e-3), ("Q8_0", 0.01), ("Q5_0", 0.1)]
)
def test_tensors_come_back_up_to_their_quantisation(tmp_path: Path, kind: str, tolerance: float) -> None:
    tensors = {"a.weight": torch.randn(6, 64), "a.bias": torch.randn(5)}
    checkpoint = read_checkpoint(write(tmp_path / "x.gguf", tensors, kind))
    for name, value in tensors.items():
        assert (checkpoint.tensors[name].float() - value).abs().max() <= tolerance * value.abs().max()
    assert kind in checkpoint.dtypes


def test_k_quants_are_dequantised_as_the_package_does(tmp_path: Path) -> None:
    """The package writes no Q4_K, so a block of it is put together from its definition."""
    kind, generator = gguf.GGMLQuantizationType.Q4_K, np.random.default_rng(0)
    blocks = generator.integers(0, 256, (2, gguf.GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
    blocks[:, :4] = np.frombuffer(np.array([0.01, 0.02], np.float16).tobytes(), np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "wan")
    writer.add_tensor("a.weight", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    value = read_tensors(tmp_path / "x.gguf")["a.weight"]
    assert value.shape == (2, 256)
    np.testing.assert_array_equal(value.numpy(), gguf.dequantize(blocks, kind).astype(np.float16))


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_transformer_is_read_with_its_true_shapes(tiny: Any, tmp_path: Path, prefix: str) -> None:
    prefixed = {f"{prefix}{name}": value for name, value in tiny.transformer.items()}
    path = write(tmp_path / "wan-Q8_0.gguf", prefixed, "Q8_0", reshape=True)
    read = read_component(path, "transformer").tensors
    assert {name: value.shape for name, value in read.items()} == {n: v.shape for n, v in tiny.transformer.items()}
    for name, value in tiny.transformer.items():
        assert (read[name].float() - value).abs().max() <= 0.01 * value.abs().max()
    report = inspect(path).files[0]
    assert (report.what, report.problem) == ("Wan transformer (original names)", "")


def test_a_text_encoder_of_llama_cpp_gets_the_original_names(tmp_path: Path) -> None:
    with torch.device("meta"):
        names = TextEncoder(TextEncoderConfig(num_layers=1)).state_dict()
    ours = {name: torch.tensor([float(index)]) for index, name in enumerate(names)}
    back = dict(_LLAMA_CPP_NAMES)
    assert {ours for ours, _ in TEXT_NAMES} == back.keys()
    theirs = {}
    for name, value in ours.items():
        module = name.removesuffix(".weight").replace("blocks.0", "blocks.#")
        theirs[f"{back[module].replace('#', '0')}.weight"] = value
    assert to_original("text_encoder", theirs) == ours
    path = write(tmp_path / "umt5.gguf", theirs)
    assert read_component(path, "text_encoder").tensors.keys() == ours.keys()


def refused(path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


def test_without_the_package_the_file_is_named_for_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.gguf", {"a": torch.ones(1)})
    monkeypatch.setitem(sys.modules, "gguf", None)
    refused(path, r"a GGUF file needs the package 'gguf'; run pip install 'shotstream\[gguf\]'")


def test_a_file_of_no_tensors_or_a_damaged_one_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(64))
    refused(path, "this GGUF file holds no tensors")
    for counts in ((3, 2**50, 0), (3, 0, 2**50), (99, 1, 0)):
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", *counts) + bytes(64))
        refused(path, "corrupt or truncated")
    data = write(path, {"a": torch.ones(100)}).read_bytes()
    kind = data.index(b"a" + struct.pack("<IQI", 1, 100, 0)) + 13
    path.write_bytes(data[:kind] + struct.pack("<I", 77) + data[kind + 4 :])
    refused(path, "of a kind that this gguf does not know .*77.*; update gguf, or take a Q8_0")
    path.write_bytes(data[:-200])
    refused(path, "the file ends too early")
