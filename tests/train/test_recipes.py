"""What the recipes promise: which commands they give, in which order; they can be stopped and run again."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import read_command
from shotstream.train.checkpoint import find_checkpoints

RECIPES = Path(__file__).parents[2] / "recipes" / "storyworld"
MADE_FIRST, TRAINED = ("codec", "text"), ("base", "teacher", "trajectories", "init", "stage1", "stage2")
STAND_IN = """#!/usr/bin/env bash
echo "$*" >> "$SAID"
case "$1 $2" in
    "train export") mkdir -p "${@: -1}" ;;
    "evaluate compare") echo a table > "${@: -1}" ;;
    "evaluate --model") echo {} > "${@: -1}" ;;
    "train samples") [[ -z ${FAILS:-} ]] || { echo no disk >&2; exit 2; }
        mkdir -p "$RUN/latents/shots"; touch "$RUN/latents/shots/00000.safetensors"; exec sleep 60 ;;
esac
"""
Recipe = Callable[..., tuple[subprocess.CompletedProcess[str], list[str]]]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Run a recipe with a stand-in for `shotstream`; what became of it, and the commands that it gave."""
    stand_in = tmp_path / "bin" / "shotstream"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    path = f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}"
    said = tmp_path / "said"

    def run(name: str, *words: str, **variables: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        (tmp_path / "run").mkdir(exist_ok=True)
        env = os.environ | {"PATH": path, "RUN": "run", "SAID": str(said)} | variables
        command = [str(RECIPES / name), *words]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
        return done, said.read_text().splitlines()

    return run


def test_a_model_is_exported_once_and_scored_as_often_as_asked(recipe: Recipe) -> None:
    recipe("9-export.sh", "model")
    done, said = recipe("9-export.sh", "model")
    score = "evaluate --model model --stories 100 --json model.json --sheet model.png"
    assert done.returncode == 0
    assert said == ["train export --preset storyworld --run run -o model", score, score]


def test_one_card_runs_every_stage_beside_the_making_of_samples(recipe: Recipe) -> None:
    done, said = recipe("card.sh", "--device", "cpu", PRESET="tiny", WORKERS="2")
    assert done.returncode == 0
    given = [read_command(line.split()) for line in said]
    assert [one.names for one in given] == [("train", name) for name in (*MADE_FIRST, "samples", *TRAINED)]
    for one in given:
        assert (one.values["preset"], one.values["directory"], one.values["device"]) == ("tiny", Path("run"), "cpu")


@pytest.mark.slow
def test_one_card_trains_a_tiny_base_beside_the_making_of_its_samples_in_real_processes(
    copy: Callable[..., Path], command: Callable[..., list[str]], tmp_path: Path
) -> None:
    """The stages before and after it are those of a finished run: each goes on from files in other tests."""
    run = copy("run", "latents", "base")
    program = tmp_path / "shotstream"
    real = f'exec {shlex.quote(sys.executable)} -m shotstream "$@"'
    program.write_text(f'#!/bin/sh\ncase "$2" in samples|base) {real} ;; esac\n')
    program.chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PRESET": "tiny", "WORKERS": "1"}
    words = command("base", run)
    script = [str(RECIPES / "card.sh"), "--device", "cpu", *words[words.index("--set") :]]
    done = subprocess.run(script, env=env | {"RUN": "run"}, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert find_checkpoints(run / "base")
    assert (run / "latents" / "shots" / "00000.safetensors").is_file()


def test_one_card_begins_with_another_models_codec_text_and_base(recipe: Recipe) -> None:
    _, said = recipe("card.sh", PRESET="tiny", WARM_START="storyworld", BASE="1")
    first = read_command(said[0].split())
    assert first.names == ("train", "warm-start")
    assert (first.values["stages"], first.values["model"]) == (["codec", "text", "base"], "storyworld")
    assert [line.split()[1] for line in said[1:]] == ["samples", *TRAINED]


def test_one_card_stops_where_no_samples_can_be_made(recipe: Recipe) -> None:
    done, said = recipe("card.sh", FAILS="1")
    assert (done.returncode, done.stderr) == (1, "no disk\n")
    assert said[-1].split()[1] == "samples"


def test_policies_are_scored_with_the_same_weights_and_some_again_when_trained(recipe: Recipe, tmp_path: Path) -> None:
    given = {"POLICIES": "longlive echoshot", "TRAINED": "echoshot", "OUT": "out", "STEPS": "3", "STORIES": "4"}
    done, said = recipe("../policies.sh", **given)
    assert done.returncode == 0
    commands = [read_command(line.split()) for line in said]
    assert [one.names for one in commands] == [
        ("evaluate",), ("evaluate",), ("train", "policy"), ("train", "export"), ("evaluate",), ("evaluate", "compare")
    ]  # fmt: skip
    scored = [(str(one.values["model"]), one.values["policy"]) for one in commands if one.names == ("evaluate",)]
    assert scored == [("storyworld", "longlive"), ("storyworld", "echoshot"), ("out/models/echoshot", "echoshot")]
    assert "policy.policy=echoshot" in commands[2].values["changes"]
    assert "a table" in (tmp_path / "out" / "scores.md").read_text()
    _, again = recipe("../policies.sh", **given)
    assert again[len(said) :] == said[-1:], "only the table is made again"
