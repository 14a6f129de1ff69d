"""How several processes are started: torchrun and our command line read the same words, each its own."""

import os
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from command_line import Asked, read_command

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes" / "wan-1.3b").glob("[0-9]-*.sh"))


def read(words: list[str]) -> tuple[Namespace, Asked]:
    """What torchrun understands of its words, and what the command that it starts understands of the others."""
    launcher = get_args_parser().parse_args(words)
    assert launcher.no_python
    assert launcher.training_script == "shotstream"
    return launcher, read_command(launcher.training_script_args)


def words_for_torchrun(script: Path, place: Path, *arguments: str, **variables: str) -> list[str]:
    """What a recipe gives torchrun."""
    stand_in = place / "torchrun"
    stand_in.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    env = os.environ | {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}", "VIDEOS": "videos.csv"} | variables
    done = subprocess.run([script, *arguments], env=env, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("script", RECIPES, ids=lambda script: script.stem)
def test_a_recipe_for_many_cards_is_understood(script: Path, tmp_path: Path) -> None:
    launcher, args = read(
        words_for_torchrun(script, tmp_path, "--set", "loop.micro_batches=8", RUN="somewhere", GPUS="2")
    )
    assert (launcher.standalone, launcher.nproc_per_node) == (True, "2")
    _, stage = args.names
    assert script.stem == f"{script.stem[0]}-{stage}"
    given = args.values
    assert (given["preset"], given["directory"], given["device"]) == ("wan-1.3b", Path("somewhere"), "cuda")
    assert given.get("board", False) == (stage != "trajectories")
    assert given["changes"] == ["source.manifest=videos.csv", "loop.micro_batches=8"]


def test_several_machines_meet_where_they_are_told(tmp_path: Path) -> None:
    words = words_for_torchrun(RECIPES[0], tmp_path, NODES="4", RENDEZVOUS="host:29500")
    launcher, args = read(words)
    assert (launcher.nnodes, launcher.rdzv_endpoint, args.names) == ("4", "host:29500", ("train", "teacher"))


def test_the_guides_own_line_is_understood() -> None:
    lines = (ROOT / "docs" / "training.md").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("torchrun "))
    _, args = read([*line.split()[1:], "--run", "somewhere"])
    assert args.values["directory"] == Path("somewhere")
