"""Names and shapes of the full-size checkpoints, against the recorded lists of every layout."""

import json
from pathlib import Path

import pytest
import torch

from shotstream.core.errors import InputError
from shotstream.model.config import TextEncoderConfig, TransformerConfig, WanVAEConfig
from shotstream.model.names import identify, text_to_original, text_to_transformers, to_original, unwrap
from shotstream.model.text_encoder import TextEncoder
from shotstream.model.transformer import Transformer
from shotstream.weights import shapes as infer

MANIFESTS = Path(__file__).parent.parent / "golden" / "manifest"
FILES = {"transformer": "wan2.1-t2v-1.3b.json", "codec": "wan2.1-vae.json", "text_encoder": "umt5-xxl-encoder.json"}


def manifest(part: str) -> dict[str, list[int]]:
    return json.loads((MANIFESTS / FILES[part]).read_text())


def diffusers(part: str) -> dict[str, list[int]]:
    return json.loads((MANIFESTS / "diffusers-wan2.1.json").read_text())["vae" if part == "codec" else part]


def on_meta(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def shapes_of(module: torch.nn.Module) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in module.state_dict().items()}


def test_the_full_size_transformer_has_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        network = Transformer(TransformerConfig())
    assert shapes_of(network) == manifest("transformer")


def test_the_full_size_text_encoder_has_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        network = TextEncoder(TextEncoderConfig())
    assert shapes_of(network) == manifest("text_encoder")


@pytest.mark.parametrize("part", ["transformer", "codec"])
def test_the_diffusers_layout_becomes_the_original_one(part: str) -> None:
    assert to_original(part, diffusers(part)) == manifest(part)


@pytest.mark.parametrize("part", list(FILES))
def test_original_names_stay(part: str) -> None:
    assert to_original(part, manifest(part)) == manifest(part)


def test_the_text_encoder_is_renamed_there_and_back() -> None:
    theirs = text_to_transformers(manifest("text_encoder"))
    assert all(name.startswith("encoder.") for name in theirs)
    assert text_to_original(theirs) == manifest("text_encoder")


@pytest.mark.parametrize("part", list(FILES))
def test_a_part_is_recognised_by_its_names(part: str) -> None:
    assert identify(manifest(part))[0] == part
    if part != "text_encoder":
        assert identify(diffusers(part))[0] == part


def test_other_names_are_not_recognised() -> None:
    assert identify(["layer.0.weight", "layer.0.bias"]) is None


def test_the_configuration_is_read_off_the_shapes() -> None:
    transformer, codec, text = (on_meta(manifest(part)) for part in FILES)
    assert infer.transformer_config(transformer, {}, "x") == TransformerConfig()
    assert infer.vae_config(codec, {}, "x") == WanVAEConfig()
    assert infer.text_encoder_config(text, 512, "x") == TextEncoderConfig()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.blocks.0.norm3.weight", "blocks.0.norm3.weight"),
        ("model._fsdp_wrapped_module.blocks.0._fsdp_wrapped_module.norm3.weight", "blocks.0.norm3.weight"),
        ("_fsdp_wrapped_module.model.head.head.bias", "head.head.bias"),
        ("module._orig_mod.blocks.1._checkpoint_wrapped_module.ffn.0.weight", "blocks.1.ffn.0.weight"),
        ("head.modulation", "head.modulation"),
    ],
)
def test_wrappers_leave_names(name: str, expected: str) -> None:
    assert unwrap(name) == expected


@pytest.mark.parametrize("hints", [{"num_heads": "12"}, {"eps": None}, {"text_len": -1}, {"num_attention_heads": True}])
def test_a_config_that_says_nonsense_is_refused(hints: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"x: expected a number for '{next(iter(hints))}' in its config.json"):
        infer.transformer_config(on_meta(manifest("transformer")), hints, "x")


def test_statistics_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="expected a list of numbers for 'latents_std'"):
        infer.vae_config(on_meta(manifest("codec")), {"latents_std": "wide"}, "x")


def test_the_number_of_heads_is_asked_for_where_it_cannot_be_guessed() -> None:
    shapes = manifest("transformer") | {"patch_embedding.weight": [1000, 16, 1, 2, 2]}
    with pytest.raises(InputError, match=r"expected a config\.json with num_heads"):
        infer.transformer_config(on_meta(shapes), {}, "x")
