"""The design choices in a directory of weights: written, read, refused where the tensors belong to others."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shotstream.core.config import from_dict, to_dict
from shotstream.core.errors import InputError
from shotstream.model.config import OMIT_DEFAULT, ModelConfig
from shotstream.weights.build import ModelComponents, random_components
from shotstream.weights.directory import WEIGHT_FILES, write_directory
from shotstream.weights.hub import open_components
from shotstream.weights.inspect import inspect

Same = Callable[[ModelComponents, ModelComponents], bool]
TRANSFORMER = WEIGHT_FILES["transformer"]
GATED: dict[str, object] = {"copy_previous": True, "previous": True, "prediction": "clean"}


def chosen(config: ModelConfig, **choice: object) -> ModelConfig:
    """A configuration with another design choice, of the model or of its transformer."""
    where = config if hasattr(config, next(iter(choice), "name")) else config.transformer
    changed = dataclasses.replace(where, **choice)  # type: ignore[arg-type]
    return changed if isinstance(changed, ModelConfig) else dataclasses.replace(config, transformer=changed)


@pytest.mark.parametrize(
    "choice",
    [{"context": "first_last"}, {"captions": "target"}, {"indicator": "none"}, {"indicator": "learned"},
     {"injection": "channel"}, {"previous": True}, {"ffn_conv": True}, GATED],
)  # fmt: skip
def test_a_design_choice_goes_round(tiny: Any, same: Same, tmp_path: Path, choice: dict[str, object]) -> None:
    parts = random_components(chosen(tiny.parts.config, **choice))
    write_directory(parts, tmp_path / "ours")
    opened = open_components(tmp_path / "ours")
    assert opened.config == parts.config != tiny.parts.config
    assert same(opened, parts)
    assert not any(file.problem for file in inspect(tmp_path / "ours").files)
    assert parts.fingerprint != random_components(tiny.parts.config).fingerprint


@pytest.mark.parametrize(
    ("written", "claimed", "said"),
    [
        ({}, {"injection": "channel"}, r"another injection \('frame'"),
        ({"injection": "channel"}, {}, r"another injection \('channel'"),
        ({}, {"indicator": "learned"}, r"another indicator \(no embedding by shot"),
        ({"indicator": "learned"}, {}, r"another indicator \('learned'"),
        ({}, {"previous": True}, "without 'previous'"),
        ({"previous": True}, {}, "with 'previous'"),
        ({}, {"ffn_conv": True}, "without 'ffn_conv'"),
        ({"ffn_conv": True}, {}, "with 'ffn_conv'"),
        (GATED | {"copy_previous": False}, GATED, "without 'copy_previous'"),
        (GATED, GATED | {"copy_previous": False}, "with 'copy_previous'"),
    ],
)
def test_weights_of_another_choice_are_refused_by_its_name(
    tiny: Any, tmp_path: Path, written: dict[str, object], claimed: dict[str, object], said: str
) -> None:
    write_directory(random_components(chosen(tiny.parts.config, **written)), tmp_path / "ours")
    config = tmp_path / "ours" / "config.json"
    config.write_text(json.dumps(to_dict(chosen(tiny.parts.config, **claimed))))
    with pytest.raises(InputError, match=said) as error:
        open_components(tmp_path / "ours")
    assert "\n" not in str(error.value)
    (problem,) = (file.problem for file in inspect(tmp_path / "ours").files if file.path.name == TRANSFORMER)
    assert problem in str(error.value)


def test_a_config_that_says_nothing_of_the_choices_means_the_papers(tiny: Any) -> None:
    plain = to_dict(tiny.parts.config)
    for part in (plain, plain["transformer"], plain["sampler"]):
        for name in part.keys() & set(OMIT_DEFAULT):
            del part[name]
    assert from_dict(ModelConfig, plain, "config.json") == tiny.parts.config
    unsaid = hashlib.blake2b(f"{json.dumps(plain, sort_keys=True)}/1".encode(), digest_size=16).hexdigest()
    assert tiny.parts.fingerprint == unsaid, "stories of a model must go on when there is one more choice"
