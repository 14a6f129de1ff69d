"""Changes of a preset from the command line, what a run writes about itself, and bad input as one line."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from shotstream.cli import main
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.train.build_stage import build_stage
from shotstream.train.config import DistributedConfig, LoopConfig, SourceConfig
from shotstream.train.distributed import DistributedContext
from shotstream.train.presets import TINY, get_preset
from shotstream.train.recipe import PRETRAINED_STAGES, RECIPE_FILE, Run

Command = Callable[..., list[str]]
Copy = Callable[..., Path]


def train(run: Path, stage: str, *changes: str, device: str = "cpu") -> int:
    given = [word for change in changes for word in ("--set", change)]
    return main(["train", stage, "--preset", "tiny", "--run", str(run), "--device", device, *given])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("teacher.optimizer.lrr=1", "unknown key 'lrr' (did you mean 'lr'?)"),
        ("optimizer.lrr=1", "unknown key 'lrr' (did you mean 'lr'?)"),
        ("teachr.trained=all", "unknown key 'teachr' (did you mean 'teacher'?)"),
        ("trained=some", "teacher.trained: expected one of attention, all, got 'some'"),
        ("loop.steps=many", "teacher.loop.steps: expected int, got 'many'"),
        ("loop.steps=0", "expected steps of at least 1, got 0"),
        ("loop.micro_batches=0", "expected micro_batches of at least 1, got 0"),
        ("optimizer.lr=-1", "expected lr, the learning rate, of at least 0, got -1.0"),
        ("trajectories.batches=0", "expected trajectories.batches of at least 1, got 0"),
        ("policy.shots=[]", "expected policy.shots as numbers of at least 1, got []"),
        ("policy.chunks=[2, 0]", "expected policy.chunks as numbers of at least 1, got [2, 0]"),
        ("policy.videos=0", "expected policy.videos of at least 1, got 0"),
        ("policy.shift=0", "expected policy.shift above 0, got 0.0"),
        ("policy.no_text_share=2", "expected policy.no_text_share from 0 to 1, got 2.0"),
        ("source.kind=manifest", "expected source.manifest to name a CSV"),
        ("shots.chunk_shares=[0.5, 0.6]", "expected one share for each of the chunks"),
        ("lr", "expected FIELD=VALUE, got 'lr'"),
    ],
)
def test_a_change_that_does_not_fit_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    assert train(tmp_path / "run", "teacher", change) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_group_of_the_preset_comes_before_a_field_of_the_stage(tmp_path: Path) -> None:
    assert train(tmp_path, "stage2", "shots.batches=3", "shots=4") == 2, "there is no teacher yet"
    recipe = json.loads((tmp_path / RECIPE_FILE).read_text())
    assert (recipe["shots"]["batches"], recipe["stage2"]["shots"]) == (3, 4)


def test_the_recipe_beside_a_run_is_the_preset_as_changed(tmp_path: Path) -> None:
    changes = ("optimizer.lr=1e-5", "teacher.loop.micro_batches=2", "model.context=first", "stage2.chunks=[1]")
    assert train(tmp_path, "teacher", *changes) == 2, "there is no base yet"
    expected = get_preset("tiny", (f"teacher.{changes[0]}", *changes[1:]))
    assert expected.teacher.optimizer.lr == 1e-5
    assert expected.base.optimizer == TINY.base.optimizer
    assert json.loads((tmp_path / RECIPE_FILE).read_text()) == json.loads(json.dumps(to_dict(expected)))


def test_the_length_of_a_stage_has_an_option(tmp_path: Path) -> None:
    words = ["train", "stage1", "--preset", "tiny", "--run", str(tmp_path), "--device", "cpu", "--steps", "9"]
    assert main(words) == 2
    assert json.loads((tmp_path / RECIPE_FILE).read_text())["stage1"]["loop"]["steps"] == 9


@pytest.mark.parametrize(
    ("stage", "option"),
    [
        ("all", "--steps"),
        ("trajectories", "--steps"),
        ("trajectories", "--board"),
        ("samples", "--minutes"),
        ("samples", "--board"),
        ("codec", "--workers"),
    ],
)
@pytest.mark.parametrize("value", [[], ["3"]])
def test_an_option_of_other_stages_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str, option: str, value: list[str]
) -> None:
    assert main(["train", stage, "--preset", "tiny", "--run", str(tmp_path / "run"), option, *value]) == 2
    error = capsys.readouterr().err
    assert f"expected {option} with " in error
    assert f" {stage}," not in error.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_the_minutes_of_all_stages_are_one_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left, clock = list[float](), iter(range(0, 6000, 600))

    def stage(_run: Run, _name: str, minutes: float, **_: object) -> bool:
        left.append(minutes)
        return minutes > 0

    monkeypatch.setattr("shotstream.cli.train._run_stage", stage)
    monkeypatch.setattr("shotstream.cli.train.time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert main(["train", "all", "--preset", "tiny", "--run", str(tmp_path), "--device", "cpu", "--minutes", "25"]) == 0
    assert left == [15, 5, -5]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, "teacher", device="cuda") == 2
    error = capsys.readouterr().err
    assert "expected a CUDA device, found none" in error
    assert error.count("\n") == 1


def test_a_source_names_a_manifest_exactly_where_it_is_one() -> None:
    assert SourceConfig("manifest", "videos.csv").manifest == "videos.csv"
    with pytest.raises(InputError, match="exactly where"):
        SourceConfig("storyworld", "videos.csv")


@pytest.mark.parametrize("name", ["steps", "micro_batches", "log_every_steps", "keep_checkpoints"])
def test_a_loop_counts_from_one(name: str) -> None:
    with pytest.raises(InputError, match=f"expected {name} of at least 1, got 0"):
        LoopConfig(**({"steps": 3} | {name: 0}))


DEEPER = "model.transformer.num_layers=2"


@pytest.mark.parametrize(
    ("stage", "change", "message"),
    [
        ("teacher", DEEPER, "goes on with has another shape: expected blocks.1."),
        ("stage2", DEEPER, "goes on with has another shape: expected blocks.1."),
        ("base", "model.conv_codec.latent_channels=8", "the codec of"),
        ("base", "model.text_encoder.dim=32", "the text encoder of"),
        ("teacher", "model.transformer.in_dim=8", "expected patch_embedding.weight of shape [32, 8, 1, 2, 2]"),
    ],
)
def test_another_shape_than_that_of_the_stages_before_is_one_line(
    copy: Copy, capsys: pytest.CaptureFixture[str], stage: str, change: str, message: str
) -> None:
    assert train(copy("run", stage), stage, change) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "give the --preset and the --set that it was made with" in error
    assert error.count("\n") == 1


def test_another_preset_is_one_line(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--run", str(finished), "--device", "cpu", "-o", str(tmp_path / "model")]
    assert main(["train", "export", *words]) == 2
    assert f"the stage2 of {finished} has another shape" in capsys.readouterr().err


def test_some_stages_run_alone(tmp_path: Path) -> None:
    several = DistributedContext(torch.device("cpu"), DistributedConfig())
    several.processes = 2
    for stage in ("codec", "text"):
        with pytest.raises(InputError, match=f"expected one process for {stage}, got 2"):
            build_stage(Run(tmp_path, TINY, several), stage)


def test_a_pretrained_model_stands_in_for_the_first_stages(
    finished: Path, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    assert main([*command("export", finished), "-o", str(model), "--stage", "base"]) == 0
    change = f"pretrained={model}"
    for stage in PRETRAINED_STAGES:
        assert train(tmp_path / "run", stage, change) == 2
        assert f"{stage} comes from {model}; set pretrained= to train it here" in capsys.readouterr().err
    assert train(tmp_path / "run", "teacher", change) == 0
    assert not (tmp_path / "run" / "codec").exists()
