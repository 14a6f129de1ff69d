"""`shotstream policies`, and what `--policy` refuses before anything is written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shotstream.cli import main
from shotstream.cli.options import ModelOptions
from shotstream.core.errors import InputError
from shotstream.engine.policies import SYSTEMS
from shotstream.weights.build import random_components
from shotstream.weights.directory import write_directory
from tiny import live_model

STEERED = """
global: A fox.
shots:
  - text: It waits.
    chunks: 2
    steer:
      - {at: 1, text: It runs.}
"""


def test_the_list_names_every_policy_and_what_it_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policies", "--json", "-"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["policies"]}
    assert listed.keys() == SYSTEMS.keys()
    assert listed["longlive"]["live"]
    assert not listed["echoshot"]["live"]
    assert all(entry["weights"] and entry["licence"] for entry in listed.values())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--policy", "longlife"], "unknown policy 'longlife' (did you mean 'longlive'?)"),
        (["--sampler", "dpm"], "unknown sampler 'dpm' (did you mean 'dpm++'?)"),
        (
            ["--policy", "rolling_forcing", "--sampler", "euler"],
            "policy rolling_forcing needs the sampler few_step, got euler; use few_step",
        ),
        (["--policy", "echoshot"], "policy echoshot cannot steer a shot while it is made; remove the steers"),
    ],
)
def test_what_a_policy_cannot_do_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    story = tmp_path / "fox.yaml"
    story.write_text(STEERED)
    assert main(["generate", str(story), "-o", str(tmp_path / "fox.mp4"), *words]) == 2
    assert capsys.readouterr().err == f"shotstream: {message}\n"
    assert list(tmp_path.iterdir()) == [story]


@pytest.mark.parametrize("command", ["serve", "studio"])
def test_a_server_refuses_a_policy_that_needs_the_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, "--policy", "cinetrans", "--data", str(tmp_path), "--port", "0"]) == 2
    assert "policy cinetrans needs the whole script before the first frame" in capsys.readouterr().err


def test_a_server_refuses_a_model_that_was_trained_for_a_policy_that_needs_the_script(tmp_path: Path) -> None:
    write_directory(random_components(replace(live_model(), policy="echoshot")), tmp_path / "model", torch.bfloat16)
    options = ModelOptions(str(tmp_path / "model"), "cpu")
    assert options.open().policy.name == "echoshot"
    with pytest.raises(InputError, match="policy echoshot needs the whole script before the first frame"):
        options.open_live()
