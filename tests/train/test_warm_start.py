"""A run that begins with another model."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from shotstream.cli import main
from shotstream.core.errors import InputError
from shotstream.model.config import WanVAEConfig
from shotstream.model.transformer import Transformer
from shotstream.train.checkpoint import find_checkpoints
from shotstream.train.distributed import DistributedContext
from shotstream.train.presets import Preset, get_preset
from shotstream.train.recipe import PRETRAINED_STAGES, Run
from shotstream.train.warm_start import check_shape
from shotstream.weights.hub import open_components

Command = Callable[..., list[str]]
GUIDE = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.fixture(scope="module")
def model(finished: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("warm") / "model"
    assert main([*command("export", finished), "-o", str(directory), "--stage", "base"]) == 0
    return directory


def test_the_base_trains_on_from_the_models_weights(
    model: Path, command: Command, lively: Callable[..., Preset], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert main([*command("warm-start", run), "--model", str(model)]) == 0
    opened = Run(run, lively(), DistributedContext(torch.device("cpu"), lively().distributed))
    theirs = opened.weights("base")
    components = open_components(str(model), "cpu", torch.float32)
    assert all(torch.equal(theirs[name], value) for name, value in components.transformer.state_dict().items())
    assert opened.encoder.encode(["a fox"])[0].equal(components.text_encoder.encode(["a fox"])[0])
    assert main(command("base", run)) == 0
    trained = opened.weights("base")
    assert not all(torch.equal(trained[name], theirs[name]) for name in theirs)


def test_what_tells_shots_apart_may_be_another_when_a_base_trains_on(
    model: Path, command: Command, lively: Callable[..., Preset], tmp_path: Path
) -> None:
    def warm_started(run: Path, source: Path, indicator: str) -> tuple[dict[str, torch.Tensor], Path]:
        changes, out = (f"model.transformer.indicator={indicator}",), run / "model"
        assert main([*command("warm-start", run, changes=changes), "--model", str(source)]) == 0
        assert main(command("base", run, changes=changes)) == 0
        assert main([*command("export", run, changes=changes), "-o", str(out), "--stage", "base"]) == 0
        return Run(run, lively(*changes), DistributedContext(torch.device("cpu"), lively().distributed)).weights(
            "base"
        ), out

    learned, exported = warm_started(tmp_path / "learned", model, "learned")
    assert "shot_embedding" in learned
    assert open_components(str(exported), "cpu", torch.float32).config.transformer.indicator == "learned"
    back, _ = warm_started(tmp_path / "back", exported, "none")
    assert learned.keys() - back.keys() == {"shot_embedding"}


def test_a_base_trains_on_with_the_latent_before_and_a_convolution_that_it_lacked(
    model: Path, command: Command, lively: Callable[..., Preset], tmp_path: Path
) -> None:
    changes, run = ("model.transformer.previous=true", "model.transformer.ffn_conv=true"), tmp_path / "run"
    assert main([*command("warm-start", run, changes=changes), "--model", str(model)]) == 0
    opened = Run(run, lively(*changes), DistributedContext(torch.device("cpu"), lively().distributed))
    begun, channels = opened.weights("base"), opened.preset.model.transformer.in_dim
    added = [name for name in begun if ".ffn.conv." in name]
    assert added
    assert not any(begun[name].any() for name in added)
    assert not begun["patch_embedding.weight"][:, channels:].any()
    assert main(command("base", run, changes=changes)) == 0
    trained = opened.weights("base")
    assert all(trained[name].any() for name in added)
    assert trained["patch_embedding.weight"][:, channels:].any()


def test_gates_that_weights_lack_begin_at_zero(lively: Callable[..., Preset], tmp_path: Path) -> None:
    clean = ("model.transformer.previous=true", "model.transformer.prediction=clean")
    gated = lively(*clean, "model.transformer.copy_previous=true")
    weights = Transformer(lively(*clean).model.transformer).state_dict()
    network = Run(tmp_path, gated, DistributedContext(torch.device("cpu"), gated.distributed)).network(weights)
    state = network.state_dict()
    assert not any(state.pop(f"head.copy.{name}").any() for name in ("weight", "bias"))
    assert state.keys() == weights.keys()
    assert torch.equal(state["head.head.weight"], weights["head.head.weight"])


def test_stages_can_be_taken_alone_and_no_stage_twice(
    model: Path, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    wider = ("model.transformer.ffn_dim=64",)
    assert main([*command("warm-start", run, changes=wider), "--model", str(model)]) == 2
    assert "has another transformer; set model.transformer.ffn_dim=48" in capsys.readouterr().err
    assert main([*command("warm-start", run, "codec", "text", changes=wider), "--model", str(model)]) == 0
    assert [stage for stage in PRETRAINED_STAGES if find_checkpoints(run / stage)] == ["codec", "text"]
    shutil.rmtree(run / "text")
    assert main(command("text", run, changes=wider)) == 0
    assert main([*command("warm-start", run, "text"), "--model", str(model)]) == 2
    assert "has a text of its own already" in capsys.readouterr().err
    assert main([*command("warm-start", run, "teacher"), "--model", str(model)]) == 2
    assert "expected stages of codec, text, base" in capsys.readouterr().err


def test_what_was_interrupted_goes_on_and_what_is_done_stays(
    model: Path, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], finished: Path
) -> None:
    run = tmp_path / "run"
    assert main([*command("warm-start", run, "codec"), "--model", str(model)]) == 0
    assert main([*command("warm-start", run), "--model", str(model)]) == 0
    assert [stage for stage in PRETRAINED_STAGES if find_checkpoints(run / stage)] == list(PRETRAINED_STAGES)
    assert main(command("base", run)) == 0
    before = {path: path.read_bytes() for path in run.rglob("*.distcp")}
    assert main([*command("warm-start", run), "--model", str(model)]) == 0
    assert {path: path.read_bytes() for path in run.rglob("*.distcp")} == before
    other = tmp_path / "other"
    assert main([*command("export", finished), "-o", str(other), "--stage", "stage2"]) == 0
    assert main([*command("warm-start", run), "--model", str(other)]) == 2
    assert "base was made with another model; remove it first" in capsys.readouterr().err


def test_the_guide_says_how_the_model_in_the_package_is_trained_on(tmp_path: Path) -> None:
    (line,) = (line for line in GUIDE.read_text().splitlines() if line.startswith("WARM_START=storyworld BASE=1 "))
    changes = [after for word, after in pairwise(line.split()) if word == "--set"]
    preset = get_preset("storyworld-card", changes)
    run = Run(tmp_path, preset, DistributedContext(torch.device("cpu"), preset.distributed))
    components = open_components("storyworld", "cpu", torch.float32)
    for stage in PRETRAINED_STAGES:
        check_shape(run, stage, components, "storyworld")


def test_a_codec_cannot_be_taken_from_a_model_of_wans_vae(lively: Callable[..., Preset], tmp_path: Path) -> None:
    run = Run(tmp_path, lively(), DistributedContext(torch.device("cpu"), lively().distributed))
    shape = replace(run.preset.model, conv_codec=None, wan_vae=WanVAEConfig(dim=4))
    components = replace(open_components("storyworld", "cpu"), config=shape)
    with pytest.raises(InputError, match="wan is of Wan's VAE and has no conv_codec; take other stages than codec"):
        check_shape(run, "codec", components, "wan")
    check_shape(run, "text", components, "wan")
