"""A tiny model with random weights, and the same model written in every published layout."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from shotstream.model.names import text_to_transformers, to_original
from shotstream.weights.build import ModelComponents, random_components
from tiny import WAN

MANIFESTS = Path(__file__).parent / "golden" / "manifest"


@dataclass(frozen=True)
class TinyModel:
    """The model, its tensors under original names, and writers of published layouts."""

    parts: ModelComponents
    transformer: dict[str, Tensor]
    codec: dict[str, Tensor]
    text_encoder: dict[str, Tensor]

    def write_original(self, directory: Path) -> Path:
        """Wan2.1-T2V-1.3B as it was published."""
        (directory / "google" / "umt5-xxl").mkdir(parents=True)
        save_file(self.transformer, directory / "diffusion_pytorch_model.safetensors")
        torch.save(self.codec, directory / "Wan2.1_VAE.pth")
        torch.save(self.text_encoder, directory / "models_t5_umt5-xxl-enc-bf16.pth")
        (directory / "config.json").write_text(json.dumps({"_class_name": "WanModel", "num_heads": 2, "text_len": 12}))
        self.parts.text_encoder.tokenizer.save(str(directory / "google" / "umt5-xxl" / "tokenizer.json"))
        return directory

    def write_diffusers(self, directory: Path) -> Path:
        """Wan2.1-T2V-1.3B-Diffusers, the transformer in two shards."""
        for name in ("transformer", "vae", "text_encoder", "tokenizer"):
            (directory / name).mkdir(parents=True)
        transformer = to_diffusers("transformer", self.transformer)
        name = "diffusion_pytorch_model-{:05}-of-00002.safetensors"
        shards = {name.format(i + 1): sorted(transformer)[i::2] for i in (0, 1)}
        for shard, names in shards.items():
            save_file({name: transformer[name] for name in names}, directory / "transformer" / shard)
        index = {"weight_map": {name: shard for shard, names in shards.items() for name in names}}
        name = "diffusion_pytorch_model.safetensors.index.json"
        (directory / "transformer" / name).write_text(json.dumps(index))
        (directory / "transformer" / "config.json").write_text(json.dumps({"num_attention_heads": 2}))
        save_file(to_diffusers("codec", self.codec), directory / "vae" / "diffusion_pytorch_model.safetensors")
        text = text_to_transformers(self.text_encoder)
        text["shared.weight"] = text.pop("encoder.embed_tokens.weight")
        save_file(text, directory / "text_encoder" / "model.safetensors")
        self.parts.text_encoder.tokenizer.save(str(directory / "tokenizer" / "tokenizer.json"))
        return directory


def to_diffusers(part: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Original names to those that diffusers really has, by its recorded list of names."""
    recorded = json.loads((MANIFESTS / "diffusers-wan2.1.json").read_text())["vae" if part == "codec" else part]
    theirs = dict(zip(to_original(part, recorded), recorded, strict=True))
    return {theirs[name]: value for name, value in state.items()}


@pytest.fixture(scope="session")
def tiny() -> TinyModel:
    parts = random_components(WAN, seed=1)
    states = [
        {k: v.clone() for k, v in p.state_dict().items()} for p in (parts.transformer, parts.codec, parts.text_encoder)
    ]
    return TinyModel(parts, *states)


@pytest.fixture
def same() -> Callable[[ModelComponents, ModelComponents], bool]:
    """Whether two models have the same tensors."""

    def compare(one: ModelComponents, other: ModelComponents) -> bool:
        return all(
            a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
            for a, b in (
                (getattr(one, part).state_dict(), getattr(other, part).state_dict())
                for part in ("transformer", "codec", "text_encoder")
            )
        )

    return compare
