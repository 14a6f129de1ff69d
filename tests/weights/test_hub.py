"""Opening models from every layout, writing ours, and every way in which that is refused."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants, errors
from safetensors import safe_open
from safetensors.torch import save_file

from shotstream.core.errors import InputError
from shotstream.model.config import ConvCodecConfig, ModelConfig, SamplerConfig
from shotstream.model.wan_vae import FEW_PIXELS_PER_PASS, PIXELS_PER_PASS
from shotstream.weights import hub as zoo
from shotstream.weights.build import ModelComponents, random_components
from shotstream.weights.directory import WEIGHT_FILES, write_directory
from shotstream.weights.hub import available, open_components
from shotstream.weights.role import SAMPLERS
from shotstream.weights.wan_layouts import SIZE, ReadOptions

Same = Callable[[ModelComponents, ModelComponents], bool]
CAPTION = ["A fox."]


def checkpoint(tiny: Any, path: Path, shift: float = 1.0) -> dict[str, torch.Tensor]:
    """A ShotStream checkpoint whose tensors differ from the base's."""
    state = {name: value + shift for name, value in tiny.transformer.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"generator": {f"model.{name}": value for name, value in state.items()}, "step": 1000}, path)
    return state


def has_transformer(parts: ModelComponents, state: dict[str, torch.Tensor]) -> bool:
    mine = parts.transformer.state_dict()
    return mine.keys() == state.keys() and all(torch.equal(mine[name], state[name]) for name in state)


def refusal(source: Any, match: str, **options: Any) -> None:
    with pytest.raises(InputError, match=match) as error:
        open_components(source, **options)
    assert "\n" not in str(error.value)


def test_the_original_layout_opens(tiny: Any, same: Same, tmp_path: Path) -> None:
    parts = open_components(tiny.write_original(tmp_path / "wan"))
    shape = dataclasses.replace(tiny.parts.config.transformer, modulation="float32")
    expected = dataclasses.replace(
        tiny.parts.config, name="wan", video=SIZE, transformer=shape, sampler=SAMPLERS["base"]
    )
    assert parts.config == expected
    assert same(parts, tiny.parts)
    assert torch.equal(parts.text_encoder.encode(CAPTION), tiny.parts.text_encoder.encode(CAPTION))
    assert not parts.transformer.training


def test_the_diffusers_layout_opens(tiny: Any, same: Same, tmp_path: Path) -> None:
    parts = open_components(tiny.write_diffusers(tmp_path / "wan"))
    assert same(parts, tiny.parts)
    assert parts.config.transformer == dataclasses.replace(
        tiny.parts.config.transformer, text_len=512, modulation="float32"
    )


def test_the_statistics_of_a_vae_are_taken_from_its_config(tiny: Any, tmp_path: Path) -> None:
    directory = tiny.write_diffusers(tmp_path / "wan")
    mean, std = [0.5] * 16, [2] * 16
    (directory / "vae" / "config.json").write_text(json.dumps({"latents_mean": mean, "latents_std": std}))
    codec = open_components(directory).config.wan_vae
    assert codec.latents_mean == tuple(mean)
    assert codec.latents_std == (2.0,) * 16


def test_a_checkpoint_in_the_directory_replaces_the_transformer(tiny: Any, tmp_path: Path) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    state = checkpoint(tiny, directory / "student.pt")
    parts = open_components(directory)
    assert has_transformer(parts, state)
    assert parts.config.sampler == SamplerConfig()


@pytest.mark.parametrize(
    ("file", "base"),
    [
        ("ShotStream.pt", "wan"),
        ("ckpts/student.pt", "wan"),
        ("student.pt", "models/wan"),
        ("ckpts/student.pt", "models/wan"),
    ],
)
@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_a_checkpoint_finds_the_base_near_it(tiny: Any, tmp_path: Path, file: str, base: str, layout: str) -> None:
    getattr(tiny, f"write_{layout}")(tmp_path / base)
    state = checkpoint(tiny, tmp_path / file)
    assert has_transformer(open_components(tmp_path / file), state)


def test_a_checkpoint_beside_the_directory_counts_if_it_says_shotstream(tiny: Any, tmp_path: Path) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    checkpoint(tiny, tmp_path / "other.pt")
    assert has_transformer(open_components(directory), tiny.transformer)
    state = checkpoint(tiny, tmp_path / "shotstream_merged.pt", shift=2.0)
    assert has_transformer(open_components(directory), state)


def test_a_directory_of_nothing_but_a_checkpoint_finds_the_base(tiny: Any, tmp_path: Path) -> None:
    tiny.write_original(tmp_path / "wan")
    state = checkpoint(tiny, tmp_path / "ckpts" / "student.pt")
    assert has_transformer(open_components(tmp_path / "ckpts"), state)


def test_the_base_transformer_may_be_named_itself(tiny: Any, tmp_path: Path) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    checkpoint(tiny, directory / "student.pt")
    assert has_transformer(open_components(directory / "diffusion_pytorch_model.safetensors"), tiny.transformer)


def test_an_adapter_is_merged_where_it_lies_or_is_named(tiny: Any, tmp_path: Path) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    name = "blocks.0.ffn.0"
    (tmp_path / "lora").mkdir()
    ones = {f"{name}.lora_A.weight": torch.ones(2, 24), f"{name}.lora_B.weight": torch.ones(32, 2)}
    save_file(ones, tmp_path / "lora" / "adapter_model.safetensors")
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps({"lora_alpha": 2}))
    plain = open_components(directory)
    named = open_components(directory, options=ReadOptions(tmp_path / "lora"))
    for file in (tmp_path / "lora").iterdir():
        shutil.copy(file, directory)
    lying = open_components(directory)
    for parts in (named, lying):
        change = parts.transformer.blocks[0].ffn[0].weight - plain.transformer.blocks[0].ffn[0].weight
        torch.testing.assert_close(change, torch.full((32, 24), 2.0))
        assert parts.fingerprint != plain.fingerprint


@pytest.mark.parametrize("source", ["original", "diffusers"])
def test_conversion_goes_round(tiny: Any, same: Same, tmp_path: Path, source: str) -> None:
    parts = open_components(getattr(tiny, f"write_{source}")(tmp_path / "wan"))
    write_directory(parts, tmp_path / "ours")
    opened = open_components(tmp_path / "ours")
    assert opened.config == parts.config
    assert same(opened, parts)
    assert torch.equal(opened.text_encoder.encode(CAPTION), parts.text_encoder.encode(CAPTION))
    names = {*WEIGHT_FILES.values(), "config.json", "tokenizer.json", "README.md"}
    assert {path.name for path in (tmp_path / "ours").iterdir()} == names
    assert {path.name for path in tmp_path.iterdir()} == {"wan", "ours"}


def test_the_embedded_codec_goes_round_too(tmp_path: Path, tiny: Any, same: Same) -> None:
    config = dataclasses.replace(
        tiny.parts.config, wan_vae=None, conv_codec=ConvCodecConfig("conv", 16, (8, 8), (1, 1), (8, 8), (1, 1))
    )
    parts = random_components(config)
    write_directory(parts, tmp_path / "ours")
    opened = open_components(tmp_path / "ours", dtype=torch.bfloat16)
    assert opened.transformer.patch_embedding.weight.dtype == torch.bfloat16
    assert same(open_components(tmp_path / "ours"), parts)


def test_weights_are_written_in_the_dtype_asked_for(tiny: Any, tmp_path: Path) -> None:
    write_directory(tiny.parts, tmp_path / "ours", torch.bfloat16)
    for name in WEIGHT_FILES.values():
        with safe_open(tmp_path / "ours" / name, "pt") as file:
            assert {file.get_slice(key).get_dtype() for key in file.keys()} == {"BF16"}  # noqa: SIM118


def test_nothing_is_left_of_a_conversion_that_fails(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shotstream.weights.directory.save_file", full)
    with pytest.raises(InputError, match=r"cannot write .*ours: the disk is full"):
        write_directory(tiny.parts, tmp_path / "ours")
    assert list(tmp_path.iterdir()) == []


def test_a_conversion_overwrites_nothing(tiny: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not empty"):
        write_directory(tiny.parts, tmp_path)
    with pytest.raises(InputError, match="exists and is not empty"):
        write_directory(tiny.parts, tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("diffusion_pytorch_model.safetensors", "no transformer"),
        ("Wan2.1_VAE.pth", "no VAE"),
        ("models_t5_umt5-xxl-enc-bf16.pth", "no text encoder"),
        ("google/umt5-xxl/tokenizer.json", "no tokenizer"),
    ],
)
def test_a_missing_part_is_named(tiny: Any, tmp_path: Path, lost: str, said: str) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    (directory / lost).unlink()
    refusal(directory, f"{said} .*fetch Wan-AI/Wan2.1-T2V-1.3B into it")


def test_an_empty_directory_lists_all_that_is_missing(tmp_path: Path) -> None:
    refusal(tmp_path, "no transformer.*no VAE.*no text encoder.*no tokenizer")


@pytest.mark.parametrize("name", [*WEIGHT_FILES.values(), "tokenizer.json"])
def test_a_file_missing_in_ours_is_named(tiny: Any, tmp_path: Path, name: str) -> None:
    write_directory(tiny.parts, tmp_path / "ours")
    (tmp_path / "ours" / name).unlink()
    refusal(tmp_path / "ours", name)


def test_an_unknown_key_in_our_config_names_the_nearest(tiny: Any, tmp_path: Path) -> None:
    write_directory(tiny.parts, tmp_path / "ours")
    path = tmp_path / "ours" / "config.json"
    path.write_text(path.read_text().replace('"num_layers"', '"num_layer"', 1))
    refusal(tmp_path / "ours", "did you mean 'num_layers'")


def test_parts_of_different_models_are_refused(tiny: Any) -> None:
    narrow = dataclasses.replace(tiny.parts.config.text_encoder, dim=8, attention_dim=8)
    with pytest.raises(InputError, match=r"expected equal widths .* got 16 and 8"):
        random_components(dataclasses.replace(tiny.parts.config, text_encoder=narrow))


def test_several_checkpoints_are_not_guessed_between(tiny: Any, tmp_path: Path) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    for name in ("a.pt", "b.pt"):
        checkpoint(tiny, directory / name)
    refusal(directory, r"found 2 \(a\.pt, b\.pt\); pass the path of the one to use")


def test_a_checkpoint_alone_says_what_to_fetch(tiny: Any, tmp_path: Path) -> None:
    checkpoint(tiny, tmp_path / "a" / "b" / "student.pt")
    refusal(tmp_path / "a" / "b" / "student.pt", "expected Wan2.1's VAE and text encoder near this checkpoint")
    (tmp_path / "config.json").write_text("{}")
    refusal(tmp_path / "config.json", f"expected a file of weights, or a model's directory; pass {tmp_path}")


def test_an_adapter_in_place_of_a_checkpoint_is_recognised(tiny: Any, tmp_path: Path) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    torch.save({"generator_lora": {"blocks.0.ffn.0.lora_A.weight": torch.ones(2, 24)}}, directory / "adapter.pt")
    refusal(directory, "expected a transformer, got LoRA adapter")


def test_a_checkpoint_of_another_shape_is_refused(tiny: Any, tmp_path: Path) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    state = {name: value for name, value in tiny.transformer.items() if name != "blocks.1.norm3.bias"}
    torch.save({"generator": state}, directory / "student.pt")
    refusal(directory, r"do not fit Transformer: 1 missing \(blocks\.1\.norm3\.bias\)")


def test_an_adapter_over_our_directory_is_refused(tiny: Any, tmp_path: Path) -> None:
    write_directory(tiny.parts, tmp_path / "ours")
    refusal(tmp_path / "ours", "expected published files for a LoRA", options=ReadOptions(tmp_path))


def test_fingerprints_tell_models_apart_and_stay(tiny: Any, tmp_path: Path) -> None:
    write_directory(tiny.parts, tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    first = open_components(tmp_path / "one").fingerprint
    assert open_components(tmp_path / "copy", dtype=torch.bfloat16).fingerprint == first
    write_directory(random_components(tiny.parts.config, seed=2), tmp_path / "other")
    assert open_components(tmp_path / "other").fingerprint != first
    config = tmp_path / "copy" / "config.json"
    config.write_text(config.read_text().replace('"num_steps": 50', '"num_steps": 40'))
    assert open_components(tmp_path / "copy").fingerprint != first


def test_random_models_follow_their_seed_and_leave_the_global_one(tiny: Any, same: Same) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = random_components(tiny.parts.config, seed=1)
    assert torch.equal(torch.rand(3), expected)
    other = random_components(tiny.parts.config, seed=2)
    assert same(again, tiny.parts)
    assert again.fingerprint == tiny.parts.fingerprint
    assert not same(other, again)
    assert other.fingerprint != again.fingerprint


@pytest.fixture
def embedded(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "embedded"
    write_directory(tiny.parts, directory / "storyworld")
    (directory / "unfinished").mkdir()
    monkeypatch.setattr(zoo, "EMBEDDED", directory)
    return directory


def test_an_embedded_model_opens_by_name(embedded: Path, tiny: Any, same: Same) -> None:
    assert available() == ("storyworld",)
    assert same(open_components("storyworld"), tiny.parts)
    assert embedded.is_dir()


@pytest.mark.usefixtures("embedded")
def test_an_unknown_name_gets_the_nearest_known() -> None:
    refusal("storywrold", "unknown model 'storywrold' .did you mean 'storyworld'")
    refusal("x", "known names: storyworld; expected such a name, a directory, or a hub id")
    refusal("./no/such/directory", "unknown model")
    refusal(Path("no/directory"), "unknown model")


def serve(monkeypatch: pytest.MonkeyPatch, repositories: dict[str, Path]) -> list[str]:
    """A hub with these repositories; returns the list of what is asked for."""
    asked: list[str] = []

    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        asked.append(name)
        held = [str(p.relative_to(repositories[name])) for p in repositories[name].rglob("*") if p.is_file()]
        fetched = set(huggingface_hub.utils.filter_repo_objects(held, allow_patterns=allow_patterns))
        for path in set(held) - fetched:
            (repositories[name] / path).unlink()
        return str(repositories[name])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_a_hub_id_is_downloaded_and_only_what_is_needed(
    tiny: Any, same: Same, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    directory = getattr(tiny, f"write_{layout}")(tmp_path / "snapshot")
    (directory / "assets").mkdir()
    (directory / "assets" / "film.mp4").write_bytes(b"x")
    asked = serve(monkeypatch, {"Org/Wan": directory})
    assert same(open_components("Org/Wan"), tiny.parts)
    assert asked == ["Org/Wan"]
    assert not (directory / "assets" / "film.mp4").exists()


def test_a_hub_model_of_ours_opens(tiny: Any, same: Same, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_directory(tiny.parts, tmp_path / "snapshot")
    serve(monkeypatch, {"org/ours": tmp_path / "snapshot"})
    assert same(open_components("org/ours"), tiny.parts)


def test_a_hub_checkpoint_brings_its_base(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny.write_original(tmp_path / "x" / "wan")
    state = checkpoint(tiny, tmp_path / "y" / "z" / "shotstream.pt")
    asked = serve(monkeypatch, {"Org/ShotStream": tmp_path / "y" / "z", zoo.WAN_BASE: base})
    assert has_transformer(open_components("Org/ShotStream"), state)
    assert asked == ["Org/ShotStream", zoo.WAN_BASE]
    assert not (base / "diffusion_pytorch_model.safetensors").exists(), "the base's transformer is not fetched"


def hub_error(name: str) -> Exception:
    kind = getattr(errors, name)
    return kind.__new__(kind)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (hub_error("LocalEntryNotFoundError"), "no network, and 'org/model' is not in .*HF_HOME"),
        (
            hub_error("RepositoryNotFoundError"),
            "unknown model 'org/model': no such directory here, and none on the hub",
        ),
        (hub_error("GatedRepoError"), "asks for consent"),
        (ConnectionResetError("reset by peer"), r"broke off \(reset by peer\); run it again"),
    ],
)
def test_a_hub_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    def snapshot_download(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    refusal("org/model", said)


def test_without_a_network_the_real_hub_client_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    refusal("org/model", f"no network, and 'org/model' is not in {tmp_path}")


def test_a_config_needs_one_codec(tiny: Any) -> None:
    with pytest.raises(InputError, match="exactly one codec"):
        ModelConfig(name="x", video=tiny.parts.config.video)


@pytest.mark.parametrize("text_device", [None, "cpu"])
def test_the_text_encoder_is_loaded_where_it_stays(
    text_device: str | None, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the model is on the meta device, from which nothing could be fetched back."""
    loaded: dict[str, torch.device | str] = {}
    monkeypatch.setattr(
        "shotstream.weights.build.load_into", lambda _, __, part, device, *___: loaded.update({part: device})
    )
    write_directory(tiny.parts, tmp_path / "ours")
    open_components(tmp_path / "ours", "meta", text_device=text_device)
    assert list(loaded.values()) == ["meta", "meta", text_device or "meta"]


def test_random_weights_are_the_same_wherever_the_text_encoder_is(tiny: Any) -> None:
    apart = random_components(tiny.parts.config, seed=1, device="meta", text_device="cpu")
    assert apart.transformer.patch_embedding.weight.is_meta
    mine, whole = apart.text_encoder.state_dict(), tiny.parts.text_encoder.state_dict()
    assert all(torch.equal(mine[name], whole[name]) for name in whole)


def test_where_memory_is_little_fewer_latents_are_decoded_at_once(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_directory(tiny.parts, tmp_path / "ours")

    def pixels_per_pass() -> list[int]:
        return [
            made.codec.pixels_per_pass
            for made in (open_components(tmp_path / "ours"), random_components(tiny.parts.config))
        ]

    assert pixels_per_pass() == [PIXELS_PER_PASS] * 2
    monkeypatch.setattr("shotstream.weights.build.has_little_memory", lambda _: True)
    assert pixels_per_pass() == [FEW_PIXELS_PER_PASS] * 2
    assert FEW_PIXELS_PER_PASS // (4 * SIZE.height * SIZE.width) == 1
