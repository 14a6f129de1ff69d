"""How a transformer is sampled: as the user says, or as the checkpoint's form suggests, never by its file name."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from shotstream.core.errors import InputError
from shotstream.model.config import SamplerConfig
from shotstream.weights.hub import open_components, read_states
from shotstream.weights.role import ROLES, SAMPLERS, assume_role, check_role
from shotstream.weights.wan_layouts import ReadOptions


@pytest.mark.parametrize("name", ["diffusion_pytorch_model", "wan2.1_t2v_1.3B_bf16", "shotstream_distilled_4_steps"])
def test_the_name_of_a_file_changes_nothing(tiny: Any, tmp_path: Path, name: str) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    path = directory / f"{name}.safetensors"
    (directory / "diffusion_pytorch_model.safetensors").rename(path)
    states = read_states(path)
    assert states.config.sampler == SAMPLERS["base"]
    assert "assumed role base (50 steps a chunk, guidance 6), because nothing in it says" in states.notes[0]


@pytest.mark.parametrize("key", ["generator", "generator_ema"])
def test_a_generator_is_assumed_to_be_a_student(tiny: Any, tmp_path: Path, key: str) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    torch.save({key: tiny.transformer}, directory / "model.pt")
    states = read_states(directory)
    assert states.config.sampler == SamplerConfig()
    assert "took the transformer from" in states.notes[0]
    said = f"assumed role student (4 steps a chunk, no guidance), because its tensors lie under '{key}'"
    assert said in states.notes[1]
    assert states.notes[1].endswith("--role takes teacher or base")


@pytest.mark.parametrize("role", ROLES)
def test_a_given_role_is_taken_without_a_word(tiny: Any, tmp_path: Path, role: Any) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    states = read_states(directory, ReadOptions(role=role))
    assert states.config.sampler == SAMPLERS[role]
    assert states.notes == ()


def test_roles_differ_in_what_they_mean() -> None:
    assert SAMPLERS["teacher"].order == "whole"
    assert [SAMPLERS[role].guidance for role in ROLES] == [1.0, 6.0, 6.0]
    assert assume_role(Path("x"), "model")[0] == "base"
    with pytest.raises(InputError, match="expected a role of student, teacher, base, got 'pupil'"):
        check_role("pupil")


def test_what_was_assumed_is_logged(tiny: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    with caplog.at_level(logging.WARNING, "shotstream"):
        open_components(directory)
    assert "assumed role base" in caplog.text


def test_of_two_containers_one_is_taken_and_the_other_can_be(tiny: Any, tmp_path: Path) -> None:
    directory = tiny.write_original(tmp_path / "wan")
    average = {name: value + 1 for name, value in tiny.transformer.items()}
    torch.save({"generator": tiny.transformer, "generator_ema": average, "critic": {}}, tmp_path / "model.pt")
    first = read_states(tmp_path / "model.pt", ReadOptions(role="student"))
    assert torch.equal(first.transformer["head.head.bias"], tiny.transformer["head.head.bias"])
    assert first.notes == (f"{tmp_path / 'model.pt'}: took 'generator'; --checkpoint-key takes 'generator_ema'",)
    other = read_states(tmp_path / "model.pt", ReadOptions(role="student", checkpoint_key="generator_ema"))
    assert torch.equal(other.transformer["head.head.bias"], average["head.head.bias"])
    assert other.notes == ()
    with pytest.raises(InputError, match="has no container 'ema': it has generator, generator_ema; name another"):
        read_states(tmp_path / "model.pt", ReadOptions(checkpoint_key="ema"))
    with pytest.raises(InputError, match="has no container 'ema': its tensors lie at the top"):
        read_states(directory, ReadOptions(checkpoint_key="ema"))
