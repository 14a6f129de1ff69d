"""Every published checkpoint of the compared systems, on a tiny network in exactly its layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.model.config import SamplerConfig
from shotstream.weights.build import ModelComponents
from shotstream.weights.directory import write_directory
from shotstream.weights.hub import open_components
from shotstream.weights.inspect import inspect_file
from shotstream.weights.role import SAMPLERS
from shotstream.weights.wan_layouts import EXPERT_BOUNDARY, ReadOptions

State = dict[str, Tensor]
Tiny = Any
FSDP = "_fsdp_wrapped_module."
BLOCK_LINEARS = (*(f"{kind}_attn.{name}" for kind in ("self", "cross") for name in "qkvo"), "ffn.0", "ffn.2")


def renamed(state: State, rename: Callable[[str], str]) -> State:
    return {rename(name): value for name, value in state.items()}


def wrapped(name: str) -> str:
    """A name as FSDP saves it, where every block is wrapped too."""
    parts = name.split(".")
    if parts[0] == "blocks":
        parts[1:2] = [parts[1], FSDP.rstrip(".")]
    return "model." + FSDP + ".".join(parts)


def prefixed(name: str) -> str:
    return f"model.{name}"


def trained(tiny: Tiny, shift: float = 1.0) -> State:
    """Weights that differ from those of the base."""
    return {name: value + shift for name, value in tiny.transformer.items()}


def base(tiny: Tiny, directory: Path) -> Path:
    tiny.write_original(directory / "Wan2.1-T2V-1.3B")
    return directory


def has(parts: ModelComponents, state: State, network: str = "transformer") -> bool:
    mine = getattr(parts, network).state_dict()
    return mine.keys() == state.keys() and all(torch.equal(mine[name], state[name]) for name in state)


def self_forcing(state: State) -> Any:
    return {"generator": renamed(state, prefixed), "generator_ema": renamed(trained_ema(state), prefixed)}


def trained_ema(state: State) -> State:
    return {name: value + 0.5 for name, value in state.items()}


STUDENTS: dict[str, tuple[str, Callable[[State], Any]]] = {
    "Self Forcing": ("self_forcing_dmd.pt", lambda state: {"generator_ema": renamed(state, prefixed)}),
    "LongLive": ("longlive_base.pt", lambda state: {"generator": renamed(state, prefixed)}),
    "Rolling Forcing": ("rolling_forcing_dmd.pt", lambda state: {"generator_ema": renamed(state, wrapped)}),
    "Infinite-Forcing": ("ema_model.pt", lambda state: {"generator_ema": renamed(state, wrapped)}),
    "Causal-Forcing": ("causal_forcing.pt", lambda state: {"generator": renamed(state, prefixed)}),
    "ShotStream": ("shotstream_merged.pt", lambda state: {"generator": renamed(state, prefixed), "step": 4000}),
}


@pytest.mark.parametrize("system", STUDENTS)
def test_a_distilled_checkpoint_opens_as_a_student(tiny: Tiny, tmp_path: Path, system: str) -> None:
    name, layout = STUDENTS[system]
    file = base(tiny, tmp_path) / name
    torch.save(layout(trained(tiny)), file)
    parts = open_components(file)
    assert has(parts, trained(tiny))
    assert parts.config.sampler == SamplerConfig()
    assert parts.config.transformer.modulation == "weights"


def test_the_ema_is_taken_where_it_is_asked_for(tiny: Tiny, tmp_path: Path) -> None:
    file = base(tiny, tmp_path) / "model.pt"
    torch.save(self_forcing(trained(tiny)), file)
    assert has(open_components(file), trained(tiny))
    options = ReadOptions(checkpoint_key="generator_ema")
    assert has(open_components(file, options=options), trained_ema(trained(tiny)))


def test_echoshot_is_a_plain_state_dict_of_wan(tiny: Tiny, tmp_path: Path) -> None:
    directory = base(tiny, tmp_path) / "EchoShot"
    directory.mkdir()
    torch.save(trained(tiny), directory / "EchoShot-1.3B-preview.pth")
    for source in (directory, directory / "EchoShot-1.3B-preview.pth"):
        parts = open_components(source)
        assert has(parts, trained(tiny))
        assert parts.config.sampler == SAMPLERS["base"]
        assert parts.config.transformer.modulation == "float32"


def halves(tiny: Tiny, up: str, down: str, rank: int = 4) -> tuple[State, State]:
    """An adapter of every linear layer of all blocks, and the weights that it makes of the base's."""
    torch.manual_seed(0)
    adapter, merged = {}, dict(tiny.transformer)
    for block in range(2):
        for module in (f"blocks.{block}.{name}" for name in BLOCK_LINEARS):
            weight = merged[f"{module}.weight"]
            a, b = torch.randn(rank, weight.shape[1]), torch.randn(weight.shape[0], rank)
            adapter[down.format(module)], adapter[up.format(module)] = a, b
            merged[f"{module}.weight"] = weight + b @ a
    return adapter, merged


def test_longlive_brings_its_adapter_beside_the_base(tiny: Tiny, tmp_path: Path) -> None:
    name = "base_model.model.{}.lora_{}.weight"
    adapter, merged = halves(tiny, name.format("{}", "B"), name.format("{}", "A"))
    directory = base(tiny, tmp_path) / "models"
    directory.mkdir()
    torch.save({"generator": renamed(tiny.transformer, prefixed)}, directory / "longlive_base.pt")
    torch.save({"generator_lora": adapter, "critic_lora": {}}, directory / "lora.pt")
    options = ReadOptions(lora=directory / "lora.pt")
    for parts in (open_components(directory), open_components(directory / "longlive_base.pt", options=options)):
        torch.testing.assert_close(dict(parts.transformer.state_dict()), merged)


@pytest.mark.parametrize("key", ["ema", "model"])
@pytest.mark.parametrize("whole", [False, True], ids=["adapter alone", "with the weights it changes"])
def test_cinetrans_is_an_adapter_of_wan(tiny: Tiny, tmp_path: Path, key: str, whole: bool) -> None:
    adapter, merged = halves(tiny, "{}.lora_up.weight", "{}.lora_down.weight")
    adapted = {name.rpartition(".lora_")[0] for name in adapter}
    beside = {
        f"{module}.orig.{rest}" if module in adapted else name: value
        for name, value in tiny.transformer.items()
        for module, _, rest in [name.rpartition(".")]
    }
    torch.save({key: {**adapter, **(beside if whole else {})}}, tmp_path / "weights.pt")
    source = base(tiny, tmp_path) / "Wan2.1-T2V-1.3B"
    parts = open_components(source, options=ReadOptions(lora=tmp_path / "weights.pt"))
    torch.testing.assert_close(dict(parts.transformer.state_dict()), merged)
    with pytest.raises(InputError, match=r"weights\.pt: expected a transformer, got LoRA adapter; pass the weights it"):
        open_components(tmp_path / "weights.pt")


@pytest.mark.parametrize("system", ["holocine", "wan2.2"])
def test_two_experts_are_read(tiny: Tiny, tmp_path: Path, system: str) -> None:
    base(tiny, tmp_path)
    high, low = trained(tiny), trained(tiny, 2.0)
    if system == "holocine":
        directory, files = tmp_path / "full", ("full_high_noise.safetensors", "full_low_noise.safetensors")
        directory.mkdir()
    else:
        name = "diffusion_pytorch_model.safetensors"
        directory, files = tmp_path / "Wan2.1-T2V-1.3B", (f"high_noise_model/{name}", f"low_noise_model/{name}")
        (directory / name).unlink()
    for file, state in zip(files, (high, low), strict=True):
        (directory / file).parent.mkdir(exist_ok=True)
        save_file(state, directory / file)
    if system == "wan2.2":
        (directory / "config.json").rename(directory / "high_noise_model" / "config.json")
    parts = open_components(directory)
    assert has(parts, high)
    assert has(parts, low, "low_noise")
    assert parts.second == (parts.low_noise, EXPERT_BOUNDARY)
    write_directory(parts, tmp_path / "ours")
    ours = open_components(tmp_path / "ours")
    assert has(ours, low, "low_noise")
    assert has(ours, high)
    if system == "holocine":
        assert has(open_components(directory / files[0]), high)
        with pytest.raises(InputError, match="expected the file of high_noise, which brings that of low_noise"):
            open_components(directory / files[1])
        (directory / files[1]).unlink()
        with pytest.raises(InputError, match=r"full_low_noise\.safetensors, found none; fetch both"):
            open_components(directory)


def test_mask2dit_is_named_as_another_network(tmp_path: Path) -> None:
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file({"patch_embed.proj.weight": torch.ones(2), "transformer_blocks.0.attn1.to_q.weight": torch.ones(2)}, file)
    report = inspect_file(file)
    assert report.what == "CogVideoX transformer (Mask2DiT's, another network)"
    assert report.problem.startswith("a network that is not read here")


def test_tensors_that_no_network_here_has_are_named(tiny: Tiny, tmp_path: Path) -> None:
    file = base(tiny, tmp_path) / "gan.pt"
    state = {**tiny.transformer, "_cls_pred_branch.0.weight": torch.ones(2), "_register_tokens": torch.ones(2)}
    torch.save({"generator_ema": renamed(state, prefixed)}, file)
    with pytest.raises(InputError, match=r"2 unexpected \(_cls_pred_branch\.0\.weight, _register_tokens\)"):
        open_components(file)


def test_modulation_stays_in_float32_where_wan_has_it(tiny: Tiny, tmp_path: Path) -> None:
    file = base(tiny, tmp_path) / "EchoShot-1.3B-preview.pth"
    torch.save(tiny.transformer, file)
    exact = open_components(file).transformer
    mixed, plain = (
        open_components(file, dtype=torch.bfloat16, options=ReadOptions(role=role)).transformer
        for role in ("base", "student")
    )
    dtypes = {name: value.dtype for name, value in mixed.state_dict().items()}
    kept = {name for name, dtype in dtypes.items() if dtype == torch.float32}
    assert {"blocks.1.modulation", "blocks.0.norm3.bias", "head.head.weight", "time_embedding.0.weight"} <= kept
    assert not kept & {"blocks.0.ffn.0.weight", "patch_embedding.weight", "blocks.0.self_attn.norm_q.weight"}
    assert {value.dtype for value in plain.state_dict().values()} == {torch.bfloat16}
    errors = [(velocity(network) - velocity(exact)).abs().mean() for network in (mixed, plain)]
    assert errors[0] < 0.8 * errors[1]


@torch.inference_mode()
def velocity(network: Any) -> Tensor:
    """Velocity of a fixed shot of two latents."""
    from shotstream.story.layout import frame_layout

    source = torch.Generator().manual_seed(0)
    x, text = torch.randn(1, 2, 16, 8, 12, generator=source), torch.randn(1, 1, 12, 16, generator=source)
    placement = network.make_positions(frame_layout([0, 1], [0, 0], [0, 0]), (8, 12))
    return network(x, torch.full((1, 2), 0.7), text, placement).float()
