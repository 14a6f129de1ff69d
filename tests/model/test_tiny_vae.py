"""The tiny decoder of Wan's latents: parity with the published one, streaming, files, models that decode with it."""

import json
from collections.abc import Callable
from dataclasses import replace
from math import prod, sqrt
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.spec import frames_of_latents
from shotstream.model.config import TinyDecoderConfig, WanVAEConfig
from shotstream.model.tiny_vae import TinyDecoder, TinyWanVAE
from shotstream.model.wan_vae import FEW_PIXELS_PER_PASS, WanVAE
from shotstream.weights.build import ModelComponents, random_components
from shotstream.weights.directory import write_directory
from shotstream.weights.hub import open_components
from shotstream.weights.inspect import inspect_file
from shotstream.weights.tiny_vae import read_tiny_decoder

GOLDEN = Path(__file__).parents[1] / "golden"
NARROW = TinyDecoderConfig(widths=(12, 8, 6, 4))
SPLITS = ([1] * 6, [3, 3], [2, 4], [5, 1], [1, 5])


def shapes_of_the_published_file() -> dict[str, list[int]]:
    shapes: dict[str, list[int]] = json.loads((GOLDEN / "manifest/taew2_1.json").read_text())
    return shapes


def weights(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Random weights with which pictures are neither flat nor clamped everywhere; the golden ones are these."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        spread = 0.1 if len(shape) == 1 else sqrt(2 / prod(shape[1:]))
        quiet = 0.3 if name.endswith("conv.4.weight") else 0.1 if name.startswith("decoder.22") else 1.0
        state[name] = quiet * spread * torch.randn(shape, generator=generator)
    state["decoder.22.bias"] += 0.5
    return state


def narrow_state(config: TinyDecoderConfig = NARROW) -> dict[str, Tensor]:
    """A file's tensors: a decoder of small width, and an encoder that nobody reads."""
    with torch.device("meta"):
        shapes = {name: list(tensor.shape) for name, tensor in TinyDecoder(config).state_dict().items()}
    return {**weights(shapes), "encoder.0.weight": torch.zeros(2, 3, 3, 3)}


@pytest.fixture
def vae() -> TinyWanVAE:
    """A small VAE with a small tiny decoder, in float64, where a difference is one of logic and not of rounding."""
    torch.manual_seed(0)
    made = TinyWanVAE(WanVAEConfig(dim=4), NARROW).requires_grad_(False)
    made.tiny.load_state_dict({name: value for name, value in narrow_state().items() if "encoder" not in name})
    return made.double()


@pytest.fixture
def latents() -> Tensor:
    return torch.randn(2, 6, 16, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 1.5


@pytest.fixture
def published(tiny: Any, tmp_path: Path) -> Path:
    """A published model, in whose directory's parent decoders are put."""
    directory: Path = tiny.write_original(tmp_path / "wan")
    return directory


def stream(vae: TinyWanVAE, latents: Tensor, split: list[int]) -> Tensor:
    state = vae.start_stream()
    return torch.cat([vae.decode_next(part, state) for part in latents.split(split, dim=1)], dim=1)


def test_parameters_are_those_of_the_published_decoder() -> None:
    with torch.device("meta"):
        ours = TinyDecoder(TinyDecoderConfig()).state_dict()
    expected = {name: shape for name, shape in shapes_of_the_published_file().items() if name.startswith("decoder.")}
    assert {name: list(tensor.shape) for name, tensor in ours.items()} == expected


def test_decodes_as_the_published_one(tmp_path: Path) -> None:
    """The golden pixels are what the public implementation makes of the same weights and latents, in float64."""
    save_file(weights(shapes_of_the_published_file()), tmp_path / "taew2_1.safetensors")
    config, state = read_tiny_decoder(tmp_path / "taew2_1.safetensors")
    assert config == TinyDecoderConfig()
    vae = TinyWanVAE(WanVAEConfig(dim=4), config).requires_grad_(False)
    vae.tiny.load_state_dict(state)
    cases = load_file(GOLDEN / "tiny_vae/cases.safetensors")
    pixels = vae.decode(cases["latents"])
    assert pixels.shape == cases["pixels"].shape
    assert (pixels - cases["pixels"]).abs().max() < 1e-5


@pytest.mark.parametrize("split", SPLITS)
def test_streamed_equals_whole(vae: TinyWanVAE, latents: Tensor, split: list[int]) -> None:
    whole = vae.decode(latents)
    assert whole.shape == (2, frames_of_latents(6), 3, 16, 24)
    assert whole.std() > 0.1
    assert torch.allclose(stream(vae, latents, split), whole, rtol=0, atol=1e-12)


def test_each_call_gives_the_frames_of_its_latents(vae: TinyWanVAE, latents: Tensor) -> None:
    state = vae.start_stream()
    assert [vae.decode_next(part, state).shape[1] for part in latents.split([1, 2, 3], dim=1)] == [1, 8, 12]


def test_passes_that_bound_memory_change_nothing(vae: TinyWanVAE, latents: Tensor) -> None:
    expected = vae.decode(latents)
    vae.pixels_per_pass = 2 * 4 * 16 * 24
    assert torch.allclose(vae.decode(latents), expected, rtol=0, atol=1e-12)


def test_frames_depend_on_earlier_latents_and_on_no_later_ones(vae: TinyWanVAE, latents: Tensor) -> None:
    changed = latents.clone()
    changed[:, 3] += 1
    difference = (vae.decode(changed) - vae.decode(latents)).abs().amax(dim=(0, 2, 3, 4))
    before, after = frames_of_latents(3), frames_of_latents(4)
    assert difference[:before].max() <= 1e-12
    assert difference[before:after].min() > 1e-2
    assert difference[after] > 1e-3, "what a memory block saw"


def test_all_but_decoding_is_that_of_the_full_vae(vae: TinyWanVAE, latents: Tensor) -> None:
    full = WanVAE(vae.config).double()
    full.load_state_dict({name: value for name, value in vae.state_dict().items() if not name.startswith("tiny.")})
    pixels = torch.rand(1, 5, 3, 16, 24, dtype=torch.float64) * 2 - 1
    assert torch.equal(vae.encode(pixels), full.encode(pixels))
    assert torch.equal(vae.encode_frames(pixels), full.encode_frames(pixels))
    assert torch.allclose(vae.decode_fully(latents), full.decode(latents), rtol=0, atol=1e-12)
    pairs = zip(vae.encoding_tensors(), full.encoding_tensors(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("name", ["tiny.pth", "tiny.safetensors"])
def test_a_file_is_read_without_its_encoder(tmp_path: Path, name: str) -> None:
    state, path = narrow_state(), tmp_path / name
    (torch.save if name.endswith("pth") else save_file)(state, path)
    config, read = read_tiny_decoder(path)
    assert config == NARROW
    assert read.keys() == state.keys() - {"encoder.0.weight"}
    assert all(torch.equal(read[name], state[name]) for name in read)


def test_a_file_is_told_by_its_names(tmp_path: Path) -> None:
    save_file(narrow_state(), tmp_path / "tiny.safetensors")
    report = inspect_file(tmp_path / "tiny.safetensors")
    assert (report.what, report.problem) == ("tiny VAE for Wan's latents", "")
    save_file(without(narrow_state(), "decoder.9.conv.2.bias"), tmp_path / "tiny.safetensors")
    assert "1 missing (decoder.9.conv.2.bias)" in inspect_file(tmp_path / "tiny.safetensors").problem


def without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {other: value for other, value in state.items() if other != name}


BAD = {
    "a tensor is missing": (lambda s: without(s, "decoder.9.conv.2.bias"), "1 missing .decoder.9.conv.2.bias"),
    "a width is missing": (lambda s: without(s, "decoder.8.weight"), "got a network of another build"),
    "no convolution": (lambda s: {**s, "decoder.8.weight": torch.zeros(8)}, "got a network of another build"),
    "one too many": (lambda s: {**s, "decoder.23.weight": torch.zeros(1)}, "1 unexpected .decoder.23.weight"),
    "another shape": (
        lambda s: {**s, "decoder.13.conv.weight": torch.zeros(8, 8, 1, 1)},
        r"decoder.13.conv.weight: expected \[16, 8, 1, 1\], got \[8, 8, 1, 1\]",
    ),
}


@pytest.mark.parametrize(("spoil", "said"), BAD.values(), ids=BAD)
def test_a_bad_file_is_one_line(
    tmp_path: Path, spoil: Callable[[dict[str, Tensor]], dict[str, Tensor]], said: str
) -> None:
    path = tmp_path / "tiny.safetensors"
    save_file(spoil(narrow_state()), path)
    with pytest.raises(InputError, match=said) as error:
        read_tiny_decoder(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_full_vae_is_no_tiny_one(published: Path) -> None:
    with pytest.raises(InputError, match=r"expected a tiny VAE for Wan2\.1 .*, got Wan VAE \(original names\)"):
        read_tiny_decoder(published / "Wan2.1_VAE.pth")


def test_a_model_opens_with_a_decoder_and_says_that_it_is_lossy(published: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_file(narrow_state(), path)
    plain, parts = open_components(published), open_components(published, decoder=path, dtype=torch.float64)
    assert (plain.lossy, parts.lossy) == ((), ("decoded by a tiny VAE",))
    assert parts.config == replace(plain.config, tiny_decoder=NARROW)
    assert parts.source.endswith(f"wan, decoder {path}")
    assert isinstance(parts.codec, TinyWanVAE)
    latents = torch.zeros(1, 2, 16, 2, 3, dtype=torch.float64)
    assert not torch.allclose(parts.codec.decode(latents), parts.codec.decode_fully(latents), atol=0.1)


def test_a_story_belongs_to_the_decoder_too(published: Path, tmp_path: Path) -> None:
    state = narrow_state()
    save_file(state, tmp_path / "one.safetensors")
    save_file({**state, "decoder.22.bias": state["decoder.22.bias"] + 1}, tmp_path / "two.safetensors")
    decoders = (None, tmp_path / "one.safetensors", tmp_path / "two.safetensors")
    assert len({open_components(published, decoder=decoder).fingerprint for decoder in decoders}) == 3


def test_a_directory_of_ours_keeps_its_decoder_until_it_is_given_another(
    tiny: Any, tmp_path: Path, same: Callable[[ModelComponents, ModelComponents], bool]
) -> None:
    parts = random_components(replace(tiny.parts.config, tiny_decoder=NARROW), seed=1)
    write_directory(parts, tmp_path / "ours")
    assert same(open_components(tmp_path / "ours"), parts)
    assert open_components(tmp_path / "ours").lossy == parts.lossy != ()
    other = replace(NARROW, widths=(4, 4, 4, 4))
    save_file(narrow_state(other), tmp_path / "other.safetensors")
    assert open_components(tmp_path / "ours", decoder=tmp_path / "other.safetensors").config.tiny_decoder == other


def test_a_hub_repository_holds_it(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    (tmp_path / "snapshot").mkdir()
    with pytest.raises(InputError, match=r"'Org/tiny': expected taew2_1\.safetensors or taew2_1\.pth in it"):
        open_components(published, decoder="Org/tiny")
    torch.save(narrow_state(), tmp_path / "snapshot" / "taew2_1.pth")
    assert open_components(published, decoder="Org/tiny").config.tiny_decoder == NARROW
    assert asked == [("Org/tiny", ["taew2_1.safetensors", "taew2_1.pth"])] * 2


@pytest.mark.parametrize("decoder", ["no.pth", "a/b/c", "here/tiny.pth", Path("a/b")])
def test_a_decoder_that_is_not_there_is_one_line(published: Path, decoder: str | Path) -> None:
    with pytest.raises(InputError, match=f"unknown decoder '{decoder}': expected the file of a tiny VAE, or a hub id"):
        open_components(published, decoder=decoder)


def test_a_decoder_of_other_latents_is_refused(published: Path, tmp_path: Path) -> None:
    save_file(narrow_state(replace(NARROW, latent_channels=48)), tmp_path / "taew2_2.safetensors")
    with pytest.raises(InputError, match="equal latent channels of codec and tiny decoder, got 16 and 48"):
        open_components(published, decoder=tmp_path / "taew2_2.safetensors")


def test_a_model_with_a_codec_of_its_own_refuses_it(tmp_path: Path) -> None:
    save_file(narrow_state(), tmp_path / "tiny.safetensors")
    with pytest.raises(InputError, match=r"storyworld: expected a model with Wan's VAE for a tiny decoder") as error:
        open_components("storyworld", decoder=tmp_path / "tiny.safetensors")
    assert "\n" not in str(error.value)


def test_little_memory_spares_passes_here_too(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shotstream.weights.build.has_little_memory", lambda _: True)
    codec = random_components(replace(tiny.parts.config, tiny_decoder=NARROW)).codec
    assert isinstance(codec, TinyWanVAE)
    assert codec.pixels_per_pass == FEW_PIXELS_PER_PASS


def test_four_widths_are_expected() -> None:
    with pytest.raises(InputError, match="expected four widths"):
        TinyDecoderConfig(widths=(4, 4, 4))
