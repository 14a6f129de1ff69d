"""What ablations need: seeds that share what they do not train, a model without a memory, and the script's commands."""

import os
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import read_command
from shotstream.api import Model
from shotstream.train.build_stage import build_stage
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import NETWORK
from shotstream.train.presets import Preset, get_preset
from shotstream.train.recipe import Run

SCRIPT = Path(__file__).parents[2] / "recipes" / "storyworld" / "ablations.sh"
Opened = Callable[..., Run]


@pytest.fixture
def opened(copy: Callable[..., Path], lively: Callable[..., Preset]) -> Opened:
    """A copy of the finished run under a name, opened with changes of its preset."""
    return lambda name, *changes, without=(): Run(
        copy(name, *without), lively(*changes), DistributedContext(torch.device("cpu"), lively().distributed)
    )


def test_a_seed_begins_anew_and_elsewhere_in_what_all_share(opened: Opened) -> None:
    one, other, again = opened("one"), opened("other", "seed=1"), opened("again", "seed=1")
    fresh = [build_stage(run, "base").state.trained[NETWORK].network.state_dict() for run in (one, other, again)]
    assert not torch.equal(fresh[0]["patch_embedding.weight"], fresh[1]["patch_embedding.weight"])
    assert all(torch.equal(fresh[1][name], value) for name, value in fresh[2].items())
    assert torch.equal(one.shots(1).read_file(0).target, other.shots(1).read_file(0).target)
    steps = one.preset.shots.steps_per_batch
    assert torch.equal(one.shots(1)(0).target, other.shots(1)(steps).target)
    assert not torch.equal(one.shots(1)(0).target, other.shots(1)(0).target)
    told = [build_stage(run, "init").loss(NETWORK, 0, 0).item() for run in (one, other)]  # of the same weights
    assert told[0] != told[1]


def test_another_seed_tells_other_stories_in_stage_2(opened: Opened) -> None:
    texts = [build_stage(opened(f"seed{seed}", f"seed={seed}"), "stage2").inputs(0, 0).text for seed in (0, 1)]
    assert texts[0].shape != texts[1].shape or not torch.equal(*texts)


def test_a_model_without_memory_is_trained_and_told_without_one(opened: Opened) -> None:
    run = opened("none", "model.context=none", without=("latents", "trajectories"))
    batch = run.shots(1)(0).to(run.distributed.device)
    assert batch.context.shape[1] == 6
    assert not batch.context.any()
    assert not build_stage(run, "stage2").inputs(1, 0).context.any(), "the second shot of a story"
    model, second = Model(run.model("base")), []
    for first in ("wide shot: it walks left.", "close-up: it sleeps."):
        with model.story("A red fox in a forest by day.", seed=3) as story:
            made = [np.concatenate(list(story.shot(text, 1))) for text in (first, "medium shot: it jumps.")]
        second.append(made[1])
    assert np.array_equal(*second), "whatever the first shot was"


def say(place: Path) -> Callable[..., list[list[str]]]:
    """Run the script in a directory with a stand-in for `shotstream`; return the words of each command that it gives.

    Other variables of the script can be given.
    """
    said = place / "said"
    stand_in = place / "bin" / "shotstream"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/usr/bin/env bash\n(IFS=$\'\\t\'; echo "$*") >> "{said}"\n')
    stand_in.chmod(0o755)
    where = {"PATH": f"{stand_in.parent}:{os.environ['PATH']}", "RUN": str(place), "OUT": str(place / "out")}
    sizes = {"PRESET": "tiny", "BASE_STEPS": "6", "TEACHER_STEPS": "5", "DISTILL_STEPS": "4", "SEEDS": "0 1"}

    def run(**others: str) -> list[list[str]]:
        subprocess.run([SCRIPT, "shots.latents=27"], env={**os.environ, **where, **sizes, **others}, check=True)
        return [line.split("\t") for line in said.read_text().splitlines()]

    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which the script is run once for all of its groups."""
    return tmp_path_factory.mktemp("ablations")


@pytest.fixture(scope="module")
def commands(place: Path) -> list[list[str]]:
    """The commands of all groups."""
    return say(place)()


def test_the_script_gives_every_model_of_a_group_the_same_steps(commands: list[list[str]]) -> None:
    steps: defaultdict[str, int] = defaultdict(int)
    presets: dict[str, Preset] = {}
    for words in commands:
        asked = read_command(words)
        if asked.names[0] == "train":
            name = asked.values["directory"].name
            presets[name] = get_preset(asked.values["preset"], asked.values["changes"])
            assert presets[name].shots.latents == 27
            assert presets[name].seed == int(name[-1])
            steps[name] += asked.values.get("steps") or 0
    based = {name for name, count in steps.items() if count == 6 * (4 if name[:-2] == "dynamic" else 1)}
    others = {"no-context", "first", "first_last", "target-caption", "channel", "no-indicator", "learned"}
    assert {name[:-2] for name in based} == {"dynamic", *others}
    assert {name[:-2] for name, count in steps.items() if count == 5} == {"attention-layers", "all-layers"}
    assert {name[:-2] for name, count in steps.items() if count == 4} == {"both", "stage-1", "stage-2"}
    assert set(steps.values()) == {4, 5, 6, 24}
    trained = [presets[f"{name}-layers-0"].teacher.trained for name in ("attention", "all")]
    assert trained == ["attention", "all"]
    random_index = {name: (one.model.context, one.model.transformer.indicator) for name, one in presets.items()}
    assert random_index["no-context-1"] == ("none", "phase")
    assert random_index["learned-0"] == ("dynamic", "learned")
    assert presets["target-caption-0"].model.captions == "target"
    assert presets["channel-1"].model.transformer.injection == "channel"
    assert (presets["both-0"].stage2.start, presets["stage-2-0"].stage2.start) == ("stage1", "init")


def test_the_script_compares_every_seed_of_every_model(commands: list[list[str]]) -> None:
    compared = [words for words in commands if words[:2] == ["evaluate", "compare"]]
    scored = {words[words.index("--json") + 1] for words in commands if words[:2] == ["evaluate", "--model"]}
    files = [column.split("=")[1].split(",") for words in compared for column in read_command(words).values["scores"]]
    assert {len(seeds) for seeds in files} == {2}
    assert {file for seeds in files for file in seeds} == scored


def test_the_script_compares_predictions_of_one_seed(commands: list[list[str]]) -> None:
    asked = [read_command(words).values for words in commands if words[:2] == ["evaluate", "errors"]]
    assert {(args["json_file"].name, args["models"][0].partition("=")[0]) for args in asked} == {
        (f"{group}-errors-{seed}.json", first)
        for group, first in [
            *((group, "dynamic") for group in ("context", "captions", "injection", "indicator")),
            ("layers", "attention-layers"),
        ]
        for seed in (0, 1)
    }
    assert all(f"-{args['json_file'].stem[-1]}/model" in model for args in asked for model in args["models"])


def test_the_script_begins_with_a_run_that_has_no_samples_yet(commands: list[list[str]], place: Path) -> None:
    assert commands
    models = [path for path in (place / "out").iterdir() if path.name.endswith(("-0", "-1"))]
    assert len(models) == 26
    assert all((model / "latents").is_dir() for model in models)


def test_the_script_trains_a_models_bases_on_and_leaves_the_judge_out(tmp_path: Path) -> None:
    said = say(tmp_path)(WHAT="indicator", WARM_START="storyworld", STORIES="0")
    given = [read_command(words) for words in said if words[0] == "train"]
    order = [words[1] for words in said if words[0] == "train" and any("learned-0" in word for word in words)]
    assert order == ["warm-start", "base", "export"]
    assert {one.values["model"] for one in given if one.names[1] == "warm-start"} == {"storyworld"}
    trained = {
        get_preset(one.values["preset"], one.values["changes"]).base.picture_steps
        for one in given
        if one.names[1] == "base"
    }
    assert trained == {0}
    assert not [words for words in said if words[0] == "evaluate" and words[1] != "errors"]
