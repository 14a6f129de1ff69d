"""`shotstream weights inspect` and `convert`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from shotstream import cli
from shotstream.core.errors import InputError
from shotstream.model.transformer import is_modulation
from shotstream.weights.directory import write_directory
from shotstream.weights.hub import open_components
from shotstream.weights.inspect import inspect


def run(*arguments: object) -> int:
    return cli.run_command(["weights", *map(str, arguments)])


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_a_published_directory_is_told(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    directory = getattr(tiny, f"write_{layout}")(tmp_path / "wan")
    assert run("inspect", directory) == 0
    said = capsys.readouterr().out
    for what in ("Wan transformer", "Wan VAE", "UMT5 encoder"):
        assert said.count(what) == 1
    assert said.count("complete") == 3
    assert said.endswith("wan: opens as a model\n")


def test_a_directory_of_ours_is_told(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_directory(tiny.parts, tmp_path / "ours", torch.bfloat16)
    assert run("inspect", tmp_path / "ours") == 0
    said = capsys.readouterr().out
    parameters = sum(value.numel() for value in tiny.transformer.values())
    assert f"{len(tiny.transformer)} tensors, {parameters / 1000:.4g} K parameters, bfloat16, " in said
    assert "codec.safetensors: codec of 'tiny'" in said
    (tmp_path / "ours" / "tokenizer.json").unlink()
    assert run("inspect", tmp_path / "ours") == 1
    assert "expected tokenizer.json or spiece.model, found neither" in capsys.readouterr().out


def test_a_directory_that_would_not_open_is_not_said_to(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_directory(tiny.parts, tmp_path / "ours")
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    config["transformer"]["num_layers"] = 3
    (tmp_path / "ours" / "config.json").write_text(json.dumps(config))
    assert run("inspect", tmp_path / "ours") == 1
    *files, last = capsys.readouterr().out.splitlines()
    assert "missing (blocks.2." in "\n".join(files)
    assert "the tensors do not fit Transformer" in last
    assert "opens as a model" not in last


def test_a_directory_of_the_name_of_a_model_is_judged_itself(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_directory(tiny.parts, tmp_path / "storyworld")
    (tmp_path / "storyworld" / "tokenizer.json").unlink()
    assert run("inspect", "storyworld") == 1


def test_a_checkpoint_is_told_and_what_it_lacks(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "student.pt"
    torch.save({"generator_ema": {f"model.{name}": v for name, v in tiny.transformer.items()}}, path)
    assert run("inspect", path) == 0
    assert "student.pt: Wan transformer (original names)" in capsys.readouterr().out
    broken = dict(tiny.transformer)
    broken.pop("blocks.1.norm3.bias")
    torch.save({"generator": broken}, path)
    assert run("inspect", path) == 1
    assert "1 missing (blocks.1.norm3.bias)" in capsys.readouterr().out


def test_other_files_are_told(tmp_path: Path) -> None:
    save_file({"layer.weight": torch.zeros(2)}, tmp_path / "a.safetensors")
    save_file({"blocks.0.ffn.0.lora_A.weight": torch.zeros(2, 2)}, tmp_path / "b.safetensors")
    save_file({"blocks.0.self_attn.q.weight": torch.zeros(2, 2)}, tmp_path / "c.safetensors")
    unknown, adapter, fragment = inspect(tmp_path).files
    assert (unknown.what, unknown.problem) == ("unknown", "tensors of no known kind (first: layer.weight)")
    assert (adapter.what, adapter.problem) == ("LoRA adapter", "")
    assert "expected a tensor 'patch_embedding.weight'" in fragment.problem
    assert "no VAE" in inspect(tmp_path).problem


def test_what_cannot_be_inspected_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected files of weights"):
        run("inspect", tmp_path)
    with pytest.raises(InputError, match="expected a file, found nothing"):
        run("inspect", tmp_path / "x.pt")
    (tmp_path / "x.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match="corrupt or truncated"):
        run("inspect", tmp_path)


def test_convert_writes_a_directory_of_ours(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    assert run("convert", directory, "-o", tmp_path / "new" / "ours", "--dtype", "bf16") == 0
    assert "-> " in capsys.readouterr().out
    parts = open_components(tmp_path / "new" / "ours")
    assert parts.config.name == "wan"
    expected = {name: value if is_modulation(name) else value.bfloat16() for name, value in tiny.transformer.items()}
    torch.testing.assert_close(dict(parts.transformer.state_dict()), expected, rtol=0, atol=0)


def test_convert_merges_an_adapter(tiny: Any, tmp_path: Path) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    ones = {"blocks.0.ffn.0.lora_A.weight": torch.ones(2, 24), "blocks.0.ffn.0.lora_B.weight": torch.ones(32, 2)}
    save_file(ones, tmp_path / "lora.safetensors")
    run("convert", directory, "-o", tmp_path / "ours", "--lora", tmp_path / "lora.safetensors", "--lora-alpha", 4)
    name = "blocks.0.ffn.0.weight"
    change = load_file(tmp_path / "ours" / "transformer.safetensors")[name] - tiny.transformer[name]
    torch.testing.assert_close(change, torch.full((32, 24), 4.0))


def test_convert_refuses_before_it_reads(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists and is not empty"):
        run("convert", tiny.write_original(tmp_path / "wan"), "-o", tmp_path)
    with pytest.raises(InputError, match="expected --lora with it"):
        run("convert", tmp_path / "wan", "-o", tmp_path / "ours", "--lora-alpha", 2)
    with pytest.raises(InputError, match="unknown model 'wann'"):
        run("convert", "wann", "-o", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "nowhere"),
        ("inspect", "x" * 300),
        ("convert", "no-such-model", "-o", "ours"),
        ("convert", "x" * 300, "-o", "ours"),
        ("convert", "storyworld", "-o", "ours", "--lora", "x" * 300),
        ("convert", "org/model", "-o", "."),
        ("convert", "org/model", "-o", "x" * 300),
    ],
)
def test_the_command_exits_with_2_and_one_line(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["weights", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("shotstream: ")
    assert said.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
