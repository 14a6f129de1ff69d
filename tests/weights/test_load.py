"""Reading files of weights, strictly, and loading them all or nothing."""

import json
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.weights.load import load_into, read_component
from shotstream.weights.tensors import files_of, read_json, read_tensors

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, 2.0])}


class Bomb:
    """Unpickled by a careless reader, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def one_line(path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as error:
        read_tensors(path)
    assert "\n" not in str(error.value)
    assert str(path.name) in str(error.value)


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "x.safetensors")
    assert equal(read_tensors(tmp_path / "x.safetensors"), STATE)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_torch_files_are_read(tmp_path: Path, zipped: bool) -> None:
    torch.save(OrderedDict(STATE), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    assert equal(read_tensors(tmp_path / "x.pth"), STATE)


@pytest.mark.parametrize(
    "content",
    [
        {"generator": STATE, "critic": {"x": torch.zeros(1)}, "step": 3},
        {"generator_ema": STATE},
        {"generator": STATE, "generator_ema": {"weight": torch.zeros(1)}},
        {"generator": {f"model.{name}": value for name, value in STATE.items()}},
        {"generator_ema": {f"model._fsdp_wrapped_module.{name}": value for name, value in STATE.items()}},
        {"state_dict": STATE, "epoch": 1},
    ],
)
def test_containers_are_opened_and_wrappers_taken_off(tmp_path: Path, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / "x.pt")
    assert equal(read_tensors(tmp_path / "x.pt"), STATE)


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    for name, value in STATE.items():
        save_file({name: value}, tmp_path / f"{name}.safetensors")
    index = tmp_path / "x.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: f"{name}.safetensors" for name in STATE}}))
    assert equal(read_tensors(index), STATE)
    assert files_of(index) == (index, tmp_path / "bias.safetensors", tmp_path / "weight.safetensors")
    (tmp_path / "bias.safetensors").unlink()
    with pytest.raises(InputError, match=r"bias\.safetensors: expected a file, found nothing"):
        read_tensors(index)


def test_an_index_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    index = tmp_path / "x.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys([*STATE, "gone"], "a.safetensors")}))
    one_line(index, "lists 1 tensors that no shard holds .first: gone")
    index.write_text("{}")
    one_line(index, "expected a 'weight_map'")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "ran"
    torch.save({"generator": Bomb(marker)}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    one_line(tmp_path / "x.pt", "refused, because it holds code")
    (tmp_path / "y.pt").write_bytes(pickle.dumps(Bomb(marker)))
    one_line(tmp_path / "y.pt", "refused|corrupt")
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda _: b""])
def test_a_damaged_file_is_one_line(tmp_path: Path, suffix: str, damage: Any) -> None:
    path = tmp_path / f"x{suffix}"
    save_file(STATE, path) if suffix == ".safetensors" else torch.save(STATE, path)
    path.write_bytes(damage(path.read_bytes()))
    one_line(path, "corrupt or truncated")


@pytest.mark.parametrize("checksums", [True, False])
def test_a_flipped_bit_in_a_torch_file_is_found_by_its_checksum(tmp_path: Path, checksums: bool) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(checksums)
    torch.save({"weight": torch.full((1000,), 3.0)}, tmp_path / "x.pt")
    torch.serialization.set_crc32_options(before)
    data = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(data.replace(b"\0\0@@" * 9, b"\0\0@A" + b"\0\0@@" * 8, 1))
    if checksums:
        one_line(tmp_path / "x.pt", "Bad CRC-32 for file 'x/data/0'")
    else:
        assert read_tensors(tmp_path / "x.pt")["weight"].max() > 3


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".safetensors.index.json"])
def test_a_git_lfs_pointer_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    one_line(path, "Git LFS pointer")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    one_line(tmp_path / "x.safetensors", "expected a file, found nothing")
    for multi_disk in (b"PK\5\6" + b"\xff" * 18, b"PK\6\7" + b"\xff" * 16 + b"PK\5\6" + bytes(18)):
        (tmp_path / "x.pt").write_bytes(multi_disk)
        one_line(tmp_path / "x.pt", "corrupt or truncated")
    (tmp_path / "d.pt").mkdir()
    one_line(tmp_path / "d.pt", "expected a file, found a directory")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "got HDF5; convert it"),
        (b"\x1f\x8b\x08" + bytes(99), "got a gzip of something; unpack it"),
        (b'{"error": "not found"}', "got JSON, as of a failed download"),
        (b"<!DOCTYPE html>", "got a web page; download the file itself"),
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_of_another_kind_is_named(tmp_path: Path, suffix: str, data: bytes, message: str) -> None:
    (tmp_path / f"x{suffix}").write_bytes(data)
    one_line(tmp_path / f"x{suffix}", message)


def test_tensors_without_values_one_by_one_are_refused(tmp_path: Path) -> None:
    for tensor, kind in (
        (torch.eye(3).to_sparse(), "a sparse tensor"),
        (torch.eye(3, device="meta"), "without values"),
    ):
        torch.save({"weight": tensor}, tmp_path / "x.pt")
        one_line(tmp_path / "x.pt", f"'weight' is .*{kind}; save the network's tensors alone")
    save_file({}, tmp_path / "x.safetensors")
    one_line(tmp_path / "x.safetensors", "expected the tensors of a network, got a file without any")


@pytest.mark.parametrize("content", [[1, 2], {}, {"weight": torch.zeros(1), "note": "hello"}, {"generator": {}}])
def test_what_holds_no_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "x.pt")
    one_line(tmp_path / "x.pt", "expected (named )?tensors")


def test_names_that_collide_without_wrappers_are_refused(tmp_path: Path) -> None:
    save_file({"model.a": torch.zeros(1), "a": torch.ones(1)}, tmp_path / "x.safetensors")
    one_line(tmp_path / "x.safetensors", "'a' is in it several times, under different prefixes")


@pytest.mark.parametrize("text", ["{", "[1]", "\xff"])
def test_bad_json_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"expected (a )?JSON"):
        read_json(tmp_path / "config.json")


def linear(device: str = "cpu") -> nn.Linear:
    return nn.Linear(3, 2, device=device)


def test_a_module_takes_the_tensors() -> None:
    module = linear()
    weight = module.weight
    load_into(module, STATE, "x")
    assert equal(module.state_dict(), STATE)
    assert module.weight is weight, "an optimiser that holds it still holds it"


def test_a_module_on_meta_takes_them_without_a_copy_or_in_another_dtype() -> None:
    module = linear("meta")
    load_into(module, STATE, "x")
    assert module.weight.data_ptr() == STATE["weight"].data_ptr()
    module = linear("meta")
    load_into(module, STATE, "x", device="cpu", dtype=torch.bfloat16)
    assert module.weight.dtype == torch.bfloat16
    assert torch.equal(module.weight.float(), STATE["weight"])


def test_buffers_that_are_no_weights_survive() -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.empty(2))
            self.register_buffer("table", torch.tensor([7], device="cpu"), persistent=False)

    with torch.device("meta"):
        module = Holder()
    load_into(module, {"weight": torch.ones(2)}, "x", device="cpu")
    assert module.table.item() == 7


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_does_not_fit_is_reported_whole_and_nothing_is_loaded(device: str) -> None:
    module = linear(device)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = {"weight": torch.zeros(2, 4), "extra": torch.zeros(1), "more": torch.zeros(1)}
    with pytest.raises(InputError) as error:
        load_into(module, state, "x.pt")
    text = str(error.value)
    assert text.startswith("x.pt: the tensors do not fit Linear: ")
    assert "1 missing (bias)" in text
    assert "2 unexpected (extra, more)" in text
    assert "1 misshapen (weight: expected [2, 3], got [2, 4])" in text
    assert "\n" not in text
    assert all(device == "meta" or torch.equal(before[name], module.state_dict()[name]) for name in before)
    assert module.weight.is_meta == (device == "meta")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.pop("bias"), "incomplete"),
        (lambda state: state.update(img_emb=torch.zeros(1)), "image-to-video"),
        (lambda state: state.update({"weight.lora_A.w": torch.zeros(1)}), "merge it first"),
        (lambda state: state.update(extra=torch.zeros(1)), "larger model"),
        (lambda state: state.update(weight=torch.zeros(4, 6)), "another width"),
        (lambda state: state.update({"decoder.upsamples.0.x": state.pop("bias")}), "another network .Wan VAE"),
    ],
)
def test_the_likely_reason_is_given(change: Any, reason: str) -> None:
    state = dict(STATE)
    change(state)
    with pytest.raises(InputError, match=reason):
        load_into(linear(), state, "x")


def test_a_part_is_checked_before_it_is_loaded(tiny: Any, tmp_path: Path) -> None:
    save_file(tiny.codec, tmp_path / "x.safetensors")
    assert equal(read_component(tmp_path / "x.safetensors", "codec").tensors, tiny.codec)
    with pytest.raises(InputError, match=r"expected a transformer, got Wan VAE \(original names\)"):
        read_component(tmp_path / "x.safetensors", "transformer")
    save_file(STATE, tmp_path / "y.safetensors")
    with pytest.raises(InputError, match="expected a text encoder, got tensors of no known kind"):
        read_component(tmp_path / "y.safetensors", "text_encoder")
