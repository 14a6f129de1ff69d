"""The Python interface: seeds and generators, models that are saved, published and opened again."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError

import shotstream
from shotstream.api import Model
from shotstream.core.errors import InputError
from shotstream.runtime.options import RunOptions

HUB_ID = "somebody/tiny"


@pytest.fixture
def model(tiny: Any, tmp_path: Path) -> Model:
    """A tiny model of the published layout, as it is opened from a directory."""
    return shotstream.open(tiny.write_original(tmp_path / "published"), device="cpu", dtype="float32")


class Hub:
    """Stands in for the hub's client: repositories are directories."""

    def __init__(self, root: Path, error: Exception | None = None) -> None:
        self.root, self.error = root, error
        self.private: dict[str, bool] = {}

    def __call__(self, **_: str) -> "Hub":
        return self

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> str:
        assert exist_ok
        if self.error:
            raise self.error
        self.private[repository] = private
        return f"https://hub/{repository}"

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        assert commit_message
        shutil.copytree(folder_path, self.root / repo_id)


def weights_of(model: Model) -> Mapping[str, torch.Tensor]:
    return model.parts.transformer.state_dict()


def test_open_and_from_pretrained_are_one() -> None:
    assert shotstream.open == Model.from_pretrained
    assert set(shotstream.__all__) <= set(dir(shotstream))


def test_a_saved_model_opens_as_the_same(model: Model, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "saved", licence="apache-2.0")
    again = Model.from_pretrained(tmp_path / "saved", device="cpu", dtype="float32")
    assert again.config == model.config
    assert all(torch.equal(value, weights_of(again)[name]) for name, value in weights_of(model).items())


def test_a_dtype_is_stored(model: Model, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "half", dtype="bfloat16")
    states = shotstream.open(tmp_path / "half", device="cpu", dtype="bfloat16")
    assert states.parts.transformer.patch_embedding.weight.dtype == torch.bfloat16
    with pytest.raises(InputError, match="expected a dtype of"):
        model.save_pretrained(tmp_path / "other", dtype="int8")


def test_the_card_says_what_the_model_is(model: Model, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "saved", licence="apache-2.0")
    card = ModelCard.load(tmp_path / "saved" / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "text-to-video"
    assert card.data.library_name == "shotstream"
    parameters = sum(
        one.numel()
        for network in (model.parts.transformer, model.parts.codec, model.parts.text_encoder)
        for one in network.parameters()  # type: ignore[union-attr]
    )
    assert f"| parameters | {parameters:,} |" in card.text
    assert "832x480, 16 frames a second" in card.text
    assert "apache" not in card.text


def test_a_model_with_changed_arithmetic_is_not_saved(model: Model, tmp_path: Path) -> None:
    fewer = Model(model.parts, RunOptions(steps=1))
    with pytest.raises(InputError, match="opened with fp8, fp8_attention, steps, sampler or policy; open it without"):
        fewer.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_a_published_model_opens_by_its_id(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(hub.root / name))
    assert model.push_to_hub(HUB_ID, private=True) == f"https://hub/{HUB_ID}"
    assert hub.private == {HUB_ID: True}
    assert (hub.root / HUB_ID / "README.md").is_file()
    again = Model.from_pretrained(HUB_ID, device="cpu", dtype="float32")
    assert all(torch.equal(value, weights_of(again)[name]) for name, value in weights_of(model).items())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LocalTokenNotFoundError("no token"), "nobody is logged in; run 'hf auth login'"),
        (HFValidationError("bad"), "expected a hub id org/name to upload to, got 'somebody/tiny'"),
        (OSError("403 Forbidden\nmore"), "cannot upload to 'somebody/tiny': 403 Forbidden; check"),
    ],
    ids=["no token", "name", "rights"],
)
def test_a_refused_upload_is_one_line(
    error: Exception, message: str, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub(tmp_path / "hub", error))
    with pytest.raises(InputError, match=message) as refused:
        model.push_to_hub(HUB_ID)
    assert "\n" not in str(refused.value)


def test_a_generator_draws_the_seed(model: Model) -> None:
    def first_frames(**source: Any) -> np.ndarray:
        with model.story("A fox.", size=(48, 32), **source) as story:
            return next(story.shot("It runs.", 1))

    def generator(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    drawn = int(torch.randint(2**31, (), generator=generator(5)))
    assert np.array_equal(first_frames(generator=generator(5)), first_frames(seed=drawn))
    assert np.array_equal(first_frames(), first_frames(seed=0))
    assert not np.array_equal(first_frames(generator=generator(6)), first_frames(generator=generator(5)))
    with pytest.raises(InputError, match="a seed or a generator, got both"):
        model.story("A fox.", seed=1, generator=generator(1))
