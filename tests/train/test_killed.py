"""What a killed run leaves: everything but the step in work."""

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from shotstream.train.checkpoint import CHECKPOINTS

SCRIPT = Path(__file__).parent / "killed.py"
KILLS, STEPS = 20, 1000


def test_kills_lose_nothing_but_the_step_in_work(tmp_path: Path, contents: Callable[[Path], dict[str, Tensor]]) -> None:
    words = [sys.executable, str(SCRIPT), str(tmp_path), str(KILLS)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(kills) == KILLS
    assert all(kill["read"] in (kill["begun"], kill["begun"] + 1) for kill in kills)
    assert all(later["read"] >= sooner["read"] for sooner, later in pairwise(kills))
    assert 0 < kills[-1]["read"] < STEPS, "every kill came while it ran"
    assert sorted(path.name for path in (tmp_path / "killed" / CHECKPOINTS).iterdir())[-1] == f"step-{STEPS:08d}"
    assert len(list((tmp_path / "killed" / CHECKPOINTS).iterdir())) == 2, "the last ones and no partials"
    killed, whole = contents(tmp_path / "killed"), contents(tmp_path / "whole")
    assert killed.keys() == whole.keys()
    assert all(torch.equal(killed[name], value) for name, value in whole.items())
