"""LoRA adapters of every published naming: which tensors they change, and how strongly."""

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from shotstream.core.errors import InputError
from shotstream.model.names import transformer_to_diffusers
from shotstream.weights.lora import merge_adapter

RANK = 4
MODULES = {"self_attn.q": (24, 24), "ffn.0": (32, 24)}
State = dict[str, Tensor]


def halves() -> dict[str, tuple[Tensor, Tensor]]:
    """(down, up) of two modules in two blocks."""
    generator = torch.Generator().manual_seed(0)
    return {
        f"blocks.{block}.{module}": (
            torch.randn((RANK, wide), generator=generator),
            torch.randn((high, RANK), generator=generator),
        )
        for block in (0, 1)
        for module, (high, wide) in MODULES.items()
    }


def named(pattern: str, down: str, up: str, rename: Callable[[str], str] = str) -> State:
    """The adapter with names of that pattern, whose halves are called `down` and `up`."""
    return {
        pattern.format(rename(module), half): value
        for module, pair in halves().items()
        for half, value in zip((down, up), pair, strict=True)
    }


def diffusers(module: str) -> str:
    return next(iter(transformer_to_diffusers({module: 0})))


def flat(module: str) -> str:
    return module.replace(".", "_")


PLAIN = named("{}.lora_{}.weight", "A", "B")
LAYOUTS = {
    "plain": PLAIN,
    "peft": named("base_model.model.{}.lora_{}.weight", "A", "B"),
    "peft in a wrapper": named("base_model.model.model.{}.lora_{}.default.weight", "A", "B"),
    "diffusers": named("transformer.{}.lora_{}.weight", "A", "B", diffusers),
    "old diffusers": named("transformer.{}.lora.{}.weight", "down", "up", diffusers),
    "ComfyUI": named("diffusion_model.{}.lora_{}.weight", "down", "up"),
    "ComfyUI, A and B": named("diffusion_model.{}.lora_{}.weight", "A", "B"),
    "CineTrans": named("{}.lora_{}.weight", "down", "up"),
    "kohya": named("lora_unet_{}.lora_{}.weight", "down", "up", flat),
    "kohya, two underscores": named("lora_unet__{}.lora_{}.weight", "down", "up", flat),
    "kohya over diffusers": named("lora_transformer_{}.lora_{}.weight", "down", "up", lambda m: flat(diffusers(m))),
}


def expected(base: State, scale: float) -> State:
    return base | {
        f"{module}.weight": base[f"{module}.weight"] + scale * (up @ down) for module, (down, up) in halves().items()
    }


def save(path: Path, tensors: State, metadata: dict[str, str] | None = None, config: Any = None) -> Path:
    save_file(tensors, path / "adapter_model.safetensors", metadata=metadata)
    if config is not None:
        (path / "adapter_config.json").write_text(json.dumps(config))
    return path


def refused(base: State, path: Path, match: str) -> None:
    with pytest.raises(InputError, match=match) as error:
        merge_adapter(base, path)
    assert "\n" not in str(error.value)
    assert "adapter_model.safetensors" in str(error.value) or "adapter_config.json" in str(error.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_naming_changes_the_same_tensors(tiny: Any, tmp_path: Path, layout: str) -> None:
    merged, notes = merge_adapter(tiny.transformer, save(tmp_path, LAYOUTS[layout]))
    torch.testing.assert_close(merged, expected(tiny.transformer, 1.0))
    assert len(notes) == 1
    assert "gives no alpha for 4 modules: assumed alpha = rank (scale 1)" in notes[0]


@pytest.mark.parametrize(
    ("metadata", "config", "scale"),
    [
        ({"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 8, "transformer.r": 4})}, None, 2.0),
        ({"lora_adapter_metadata": json.dumps({"lora_alpha": 8, "r": 4, "use_rslora": True})}, None, 4.0),
        ({"ss_network_alpha": "2.0", "ss_network_dim": "4"}, None, 0.5),
        ({"ss_network_alpha": "2.0", "ss_network_dim": "Dynamic"}, None, 0.5),
        ({"lora_alpha": "8", "rank": "4"}, None, 2.0),
        ({"network_alpha": "8"}, None, 2.0),
        ({"alpha": "8", "r": "4"}, None, 2.0),
        (None, {"r": 4, "lora_alpha": 2}, 0.5),
        (None, {"r": 4, "lora_alpha": 2, "use_rslora": True}, 1.0),
        ({"lora_alpha": "2"}, {"r": 4, "lora_alpha": 2}, 0.5),
    ],
)
def test_the_scale_is_read_wherever_trainers_write_it(
    tiny: Any, tmp_path: Path, metadata: dict[str, str] | None, config: Any, scale: float
) -> None:
    merged, notes = merge_adapter(tiny.transformer, save(tmp_path, PLAIN, metadata, config))
    torch.testing.assert_close(merged, expected(tiny.transformer, scale))
    assert notes == ()


def test_alpha_tensors_scale_their_modules(tiny: Any, tmp_path: Path) -> None:
    kohya = LAYOUTS["kohya"]
    alphas = {f"{name.partition('.')[0]}.alpha": torch.tensor(8.0) for name in kohya}
    merged, notes = merge_adapter(tiny.transformer, save(tmp_path, kohya | alphas, {"ss_network_alpha": "8"}))
    torch.testing.assert_close(merged, expected(tiny.transformer, 2.0))
    assert notes == ()


def test_alpha_tensors_may_differ_between_modules_and_be_left_out(tiny: Any, tmp_path: Path) -> None:
    alphas = {"blocks.0.ffn.0.alpha": torch.tensor(8.0), "blocks.1.ffn.0.alpha": torch.tensor(2.0)}
    merged, notes = merge_adapter(tiny.transformer, save(tmp_path, PLAIN | alphas, {"lora_alpha": "4"}))
    for module, scale in {"blocks.0.ffn.0": 2.0, "blocks.1.ffn.0": 0.5, "blocks.0.self_attn.q": 1.0}.items():
        name = f"{module}.weight"
        torch.testing.assert_close(merged[name], expected(tiny.transformer, scale)[name])
    assert "gives no alpha for 2 modules" in notes[0]


def test_peft_patterns_scale_single_modules(tiny: Any, tmp_path: Path) -> None:
    config = {"r": 8, "lora_alpha": 4, "alpha_pattern": {"ffn.0": 8}, "rank_pattern": {".*": 4}}
    merged, _ = merge_adapter(tiny.transformer, save(tmp_path, LAYOUTS["peft"], config=config))
    for module, scale in {"blocks.0.ffn.0": 2.0, "blocks.0.self_attn.q": 1.0}.items():
        name = f"{module}.weight"
        torch.testing.assert_close(merged[name], expected(tiny.transformer, scale)[name])


def test_the_numbers_beside_a_checkpoint_count_too(tiny: Any, tmp_path: Path) -> None:
    torch.save({"generator_lora": LAYOUTS["peft"], "lora_alpha": 8, "step": 100}, tmp_path / "lora.pt")
    merged, notes = merge_adapter(tiny.transformer, tmp_path / "lora.pt")
    torch.testing.assert_close(merged, expected(tiny.transformer, 2.0))
    assert notes == ()


@pytest.mark.parametrize(
    ("extra", "metadata", "config", "found"),
    [
        ({}, {"lora_alpha": "8"}, {"lora_alpha": 4}, "lora_alpha of .* is 8, but .*adapter_config.json is 4"),
        ({}, {"lora_alpha": "8", "ss_network_alpha": "4"}, None, "ss_network_alpha .* is 4, but .*lora_alpha is 8"),
        ({"blocks.0.ffn.0.alpha": torch.tensor(8.0)}, {"alpha": "4"}, None, "its alpha tensor .* is 8, but .* is 4"),
        ({}, {"lora_alpha": "8", "rank": "16"}, None, "lora_alpha gives rank 16, but .* has rank 4"),
        ({}, None, {"lora_alpha": 8, "r": 16}, "adapter_config.json gives rank 16, but .* has rank 4"),
    ],
)
def test_contradictions_are_refused_unless_the_user_decides(
    tiny: Any, tmp_path: Path, extra: State, metadata: dict[str, str] | None, config: Any, found: str
) -> None:
    save(tmp_path, PLAIN | extra, metadata, config)
    refused(tiny.transformer, tmp_path, f"alpha is not certain: .*{found}; give the right one")
    merged, notes = merge_adapter(tiny.transformer, tmp_path, alpha=12)
    torch.testing.assert_close(merged, expected(tiny.transformer, 3.0))
    assert "took the given alpha 12, although" in notes[0]


@pytest.mark.parametrize(
    ("extra", "metadata", "config", "found"),
    [
        ({}, {"lora_alpha": "much"}, None, "expected a number for 'lora_alpha', got 'much'"),
        ({}, None, {"lora_alpha": [8]}, "expected a number for 'lora_alpha'"),
        ({}, {"lora_alpha": "0"}, None, "is 0, which makes no adapter"),
        ({}, {"lora_alpha": "nan"}, None, "is nan, which makes no adapter"),
        ({}, {"lora_adapter_metadata": "{"}, None, "expected JSON in the header's lora_adapter_metadata"),
        ({}, {"lora_adapter_metadata": "[]"}, None, "expected a mapping in the header"),
        ({"blocks.0.ffn.0.alpha": torch.ones(3)}, None, None, r"expected one number in 'blocks\.0\.ffn\.0\.alpha'"),
        (
            {"blocks.0.fn.0.alpha": torch.tensor(8.0)},
            None,
            None,
            "'blocks.0.fn.0.alpha' belongs to no halves of a LoRA",
        ),
        ({}, None, {"lora_alpha": 8, "alpha_pattern": 3}, "expected a mapping for 'alpha_pattern'"),
        ({}, None, {"use_dora": True}, "expected a plain LoRA, got use_dora"),
        ({}, None, {"bias": "all"}, "expected a plain LoRA, got biases"),
        ({"blocks.0.ffn.0.dora_scale": torch.ones(32)}, None, None, "expected only a plain LoRA's tensors, got .*dora"),
        ({"blocks.0.ffn.0.lokr_w1": torch.ones(2)}, None, None, "expected only a plain LoRA's tensors, got .*lokr"),
        ({"blocks.0.ffn.0.lora_B.bias": torch.ones(32)}, None, None, "expected only a plain LoRA's tensors, got"),
    ],
)
def test_what_cannot_be_merged_rightly_is_refused(
    tiny: Any, tmp_path: Path, extra: State, metadata: dict[str, str] | None, config: Any, found: str
) -> None:
    refused(tiny.transformer, save(tmp_path, PLAIN | extra, metadata, config), found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("blocks.0.ffn.0.lora_A.weight"), "expected both halves .* but 'blocks.0.ffn.0' has one"),
        (lambda a: a.update({f"blocks.9.ffn.0.lora_{h}.weight": torch.zeros(4, 4) for h in "AB"}), "no such tensor"),
        (lambda a: a.update({"blocks.0.ffn.0.lora_A.weight": torch.zeros(4, 9)}), r"one of \[32, 24\]"),
        (lambda a: a.update({"blocks.0.ffn.0.lora_A.weight": torch.zeros(4)}), r"one of \[32, 24\]"),
        (lambda a: a.update({"blocks.0.ffn.0.lora_A.new.weight": torch.zeros(4, 24)}), "holds several adapters"),
        (lambda a: a.update({"lora_te_mlp_fc1.lora_up.weight": torch.zeros(4, 9)}), "adapts the text encoder too"),
        (lambda a: a.update({"ffn.diff": torch.zeros(1)}), "adapts 'ffn', but the transformer has no such tensor"),
        (lambda a: a.update({"blocks.0.ffn.0.diff_b": torch.zeros(1)}), r"changes 'blocks.0.ffn.0.bias' by \[1\]"),
        (lambda a: a.update({"blocks.0.ffn.0.lora_A.weight": torch.full((4, 24), torch.nan)}), "hold NaN or infinity"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(tiny: Any, tmp_path: Path, change: Any, message: str) -> None:
    tensors = dict(PLAIN)
    change(tensors)
    refused(tiny.transformer, save(tmp_path, tensors), message)


def test_an_adapter_that_changes_nothing_says_so(tiny: Any, tmp_path: Path) -> None:
    nothing = {name: value * ("lora_A" in name) for name, value in PLAIN.items()}
    assert "changes nothing" in merge_adapter(tiny.transformer, save(tmp_path, nothing))[1][-1]
    assert not any("changes nothing" in note for note in merge_adapter(tiny.transformer, save(tmp_path, PLAIN))[1])


def test_alphas_alone_are_no_adapter(tiny: Any, tmp_path: Path) -> None:
    refused(
        tiny.transformer, save(tmp_path, {"blocks.0.ffn.0.alpha": torch.tensor(1.0)}), "belongs to no halves of a LoRA"
    )
    whole = {"blocks.0.ffn.0.weight": torch.zeros(32, 24)}
    refused(tiny.transformer, save(tmp_path, whole), "expected the halves of a LoRA, found none")


def test_plain_differences_are_added(tiny: Any, tmp_path: Path) -> None:
    base = tiny.transformer
    tensors = {
        "diffusion_model.blocks.0.norm3.diff": torch.full((24,), 2.0),
        "diffusion_model.blocks.0.ffn.0.diff_b": torch.full((32,), 3.0),
        "diffusion_model.blocks.1.diff_m": torch.full((1, 6, 24), 4.0),
    }
    merged, _ = merge_adapter(base, save(tmp_path, tensors))
    added = {"blocks.0.norm3.weight": 2.0, "blocks.0.ffn.0.bias": 3.0, "blocks.1.modulation": 4.0}
    torch.testing.assert_close(merged, base | {name: base[name] + value for name, value in added.items()})


def test_a_convolution_is_adapted_too(tiny: Any, tmp_path: Path) -> None:
    weight = tiny.transformer["patch_embedding.weight"]
    down, up = torch.randn(2, *weight.shape[1:]), torch.randn(weight.shape[0], 2, 1, 1, 1)
    tensors = {"patch_embedding.lora_down.weight": down, "patch_embedding.lora_up.weight": up}
    merged, _ = merge_adapter(tiny.transformer, save(tmp_path, tensors))
    product = torch.einsum("orabc,ridhw->oidhw", up, down)
    torch.testing.assert_close(merged["patch_embedding.weight"], weight + product)


def test_an_adapter_is_merged_as_peft_does(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = nn.Sequential(OrderedDict(q=nn.Linear(6, 6, bias=False)))
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, lora_alpha=6, target_modules=["q"]))
    nn.init.normal_(wrapped.base_model.model.q.lora_B["default"].weight)
    wrapped.save_pretrained(tmp_path)
    weight = wrapped.base_model.model.q.base_layer.weight.detach().clone()
    expected = wrapped.merge_and_unload().q.weight.detach()
    merged, notes = merge_adapter({"q.weight": weight}, tmp_path)
    torch.testing.assert_close(merged["q.weight"], expected)
    assert not torch.equal(weight, expected)
    assert notes == ()
