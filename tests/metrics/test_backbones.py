"""Networks loaded from files as the hub has them give what their own classes give."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPModel, CLIPVisionModelWithProjection, Dinov2Model, ViTModel, XCLIPModel

from metrics.tiny_backbones import write_backbones
from shotstream.metrics.availability import NotAvailableError
from shotstream.metrics.backbones import BACKBONES, Backbones, prepare

FRAMES = np.random.default_rng(1).integers(0, 255, (5, 40, 64, 3), np.uint8)
SIDE = 32


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_backbones(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def backbones(ids: dict[str, str]) -> Backbones:
    return Backbones(torch.device("cpu"), ids)


def pixels_for(name: str) -> torch.Tensor:
    return prepare(FRAMES, SIDE, BACKBONES[name].colours)


@torch.inference_mode()
def test_frames_have_the_class_token_of_dino_and_dinov2(backbones: Backbones, ids: dict[str, str]) -> None:
    for name, kind in (("dino", ViTModel), ("dinov2", Dinov2Model)):
        expected = kind.from_pretrained(ids[name]).eval()(pixel_values=pixels_for(name)).last_hidden_state[:, 0]
        assert backbones.class_tokens(name, FRAMES) == pytest.approx(expected.numpy(), abs=1e-5)


@torch.inference_mode()
def test_clip_s_image_side_is_taken_out_of_the_whole_model(backbones: Backbones, ids: dict[str, str]) -> None:
    model = CLIPModel.from_pretrained(ids["clip"]).eval()
    expected = model.visual_projection(model.vision_model(pixel_values=pixels_for("clip")).pooler_output)
    assert backbones.clip_embeddings(FRAMES) == pytest.approx(expected.numpy(), abs=1e-5)


@torch.inference_mode()
def test_the_aesthetic_head_is_linear_in_the_normalised_embedding(backbones: Backbones, ids: dict[str, str]) -> None:
    model = CLIPVisionModelWithProjection.from_pretrained(ids["aesthetic"]).eval()
    unit = torch.nn.functional.normalize(model(pixel_values=pixels_for("aesthetic")).image_embeds, dim=-1)
    expected = unit.sum(1) + 5  # the head's weights are ones and its bias is 5
    assert backbones.aesthetic_ratings(FRAMES) == pytest.approx(expected.numpy(), abs=1e-5)


@torch.inference_mode()
def test_a_shot_and_its_caption_have_x_clip_s_embeddings(backbones: Backbones, ids: dict[str, str]) -> None:
    model = XCLIPModel.from_pretrained(ids["video"]).eval()
    tokens = AutoTokenizer.from_pretrained(ids["video"])(["A shot of the rabbit"], return_tensors="pt")
    evenly = pixels_for("video")[[0, 1, 3, 4]]
    out = model(pixel_values=evenly[None], input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    video, text = backbones.video_and_text(FRAMES, "A shot of the rabbit")
    assert video == pytest.approx(out.video_embeds[0].numpy(), abs=1e-5)
    assert text == pytest.approx(out.text_embeds.flatten().numpy(), abs=1e-5)


def test_files_that_lack_weights_are_refused_and_nothing_is_drawn_at_random(
    ids: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "dino"
    broken.mkdir()
    for path in Path(ids["dino"]).iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    weights = load_file(broken / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("layernorm.")}
    save_file(kept, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NotAvailableError, match=r"dino cannot be loaded: its files lack 2 weights .* layernorm.bias"):
        Backbones(torch.device("cpu"), {"dino": str(broken)}).class_tokens("dino", FRAMES)
    other = weights | {"layernorm.bias": torch.zeros(3)}
    save_file(other, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NotAvailableError, match="dino cannot be loaded: "):
        Backbones(torch.device("cpu"), {"dino": str(broken)}).class_tokens("dino", FRAMES)
    Backbones(torch.device("cpu"), ids).clip_embeddings(FRAMES)
    assert capfd.readouterr().err == "", "no list of the text weights that are not used"


def test_preparing_crops_the_middle_and_normalises_colours() -> None:
    frames = np.zeros((1, 20, 60, 3), np.uint8)
    frames[:, :, 20:40] = 255
    prepared = prepare(frames, 20, ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))
    assert prepared.shape == (1, 3, 20, 20)
    assert prepared[..., 2:-2].min() == 2
