"""The cost of a step of each stage, from random weights and random samples."""

import json

import pytest

from shotstream.cli import main
from shotstream.train.step_cost import MEASURED

LONG_TEXT = ("model.transformer.text_len=160", "model.text_encoder.text_len=160")


def test_a_step_of_each_stage_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    changes = [word for change in (*LONG_TEXT, "policy.policy=longlive") for word in ("--set", change)]
    assert main(["train", "step-cost", "--preset", "tiny", "--device", "cpu", *changes]) == 0
    costs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert tuple(cost["stage"] for cost in costs) == (*MEASURED, "policy")
    assert all(cost["seconds"] > 0 and cost["peak_gib"] == 0 for cost in costs)
