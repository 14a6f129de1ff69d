"""A frame split into subject and background: where boxes and masks land, and which detections count."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metrics.tiny_backbones import write_backbones
from shotstream.core.errors import InputError
from shotstream.metrics.availability import NotAvailableError
from shotstream.metrics.backbones import Backbones
from shotstream.metrics.subjects import GREY, find_subject, segment, split_subject

CPU = torch.device("cpu")
HEIGHT, WIDTH = 60, 100
FRAME = np.random.default_rng(0).integers(0, 120, (HEIGHT, WIDTH, 3), np.uint8)


class FakeDetector:
    """Detections with a label, a score and a box (centre x, y, width, height in shares of the frame)."""

    def __init__(self, *found: tuple[int, float, tuple[float, ...]], kind: str = "rt_detr") -> None:
        self.config = SimpleNamespace(model_type=kind, id2label={0: "chair", 1: "person", 2: "dog"})
        self.found = found

    def __call__(self, pixel_values: Tensor) -> Any:
        assert pixel_values.shape == (1, 3, 640, 640)
        assert 0 <= pixel_values.min() <= pixel_values.max() <= 1
        logits = torch.full((1, len(self.found), 3), -9.0)
        for place, (label, score, _) in enumerate(self.found):
            logits[0, place, label] = torch.logit(torch.tensor(score))
        return SimpleNamespace(logits=logits, pred_boxes=torch.tensor([[box for *_, box in self.found]]))


class FakeSam:
    """Masks at a quarter of its side: the box itself as the one with the best score, everything, nothing."""

    config = SimpleNamespace(vision_config=SimpleNamespace(image_size=256))

    def __call__(self, pixel_values: Tensor, input_boxes: Tensor) -> Any:
        assert pixel_values.shape == (1, 3, 256, 256)
        x0, y0, x1, y1 = (input_boxes.flatten() / 4).round().int().tolist()
        masks = torch.full((1, 1, 3, 64, 64), -1.0)
        masks[0, 0, 1, y0:y1, x0:x1] = 1
        masks[0, 0, 0] = 1
        return SimpleNamespace(pred_masks=masks, iou_scores=torch.tensor([[[0.2, 0.9, 0.1]]]))


def with_networks(**networks: Any) -> Backbones:
    backbones = Backbones(CPU)
    backbones._loaded |= networks
    return backbones


PERSON = (1, 0.9, (0.3, 0.5, 0.2, 0.4))


@pytest.mark.parametrize(
    ("found", "box"),
    [
        ([PERSON], (20, 18, 40, 42)),
        ([PERSON, (2, 0.6, (0.5, 0.5, 0.4, 0.5))], (30, 15, 70, 45)),
        ([PERSON, (0, 0.9, (0.5, 0.5, 1.0, 1.0))], (20, 18, 40, 42)),
        ([PERSON, (2, 0.4, (0.5, 0.5, 1.0, 1.0))], (20, 18, 40, 42)),
        ([(0, 0.9, (0.5, 0.5, 1.0, 1.0))], None),
    ],
)
def test_the_largest_sure_detection_of_a_subject_s_class_is_the_subject(
    found: list[Any], box: tuple[float, ...] | None
) -> None:
    got = find_subject(with_networks(detector=FakeDetector(*found)), FRAME)
    assert got is None if box is None else got == pytest.approx(box, abs=1e-3)


def test_a_mask_lands_where_the_box_is() -> None:
    mask = segment(with_networks(sam=FakeSam()), FRAME, np.array([20.0, 18, 40, 42]))
    wanted = np.zeros((HEIGHT, WIDTH), bool)
    wanted[18:42, 20:40] = True
    assert (mask != wanted).sum() <= 2 * (20 + 24), "one pixel along the edge, because masks are coarse"
    assert mask[22:38, 24:36].all()


def test_subject_and_background_are_cut_along_the_mask() -> None:
    split = split_subject(with_networks(detector=FakeDetector(PERSON), sam=FakeSam()), FRAME)
    assert split.subject is not None
    side, other, _ = split.subject.shape
    assert side == other
    assert abs(side - 24) <= 2
    assert (split.background[22:38, 24:36] == GREY).all()
    assert (split.background[:, 50:] == FRAME[:, 50:]).all()
    assert split_subject(with_networks(detector=FakeDetector((0, 0.9, PERSON[2]))), FRAME).subject is None


def test_a_detector_of_another_kind_is_named() -> None:
    with pytest.raises(NotAvailableError, match=r"expected a detector of rt_detr, .* got detr"):
        find_subject(with_networks(detector=FakeDetector(PERSON, kind="detr")), FRAME)


def test_tiny_networks_of_the_real_architectures_split_a_frame(tmp_path: Path) -> None:
    backbones = Backbones(CPU, write_backbones(tmp_path))
    box = find_subject(backbones, FRAME)
    assert box is not None
    mask = segment(backbones, FRAME, box)
    assert (mask.shape, mask.dtype) == ((HEIGHT, WIDTH), bool)
    assert split_subject(backbones, FRAME).background.shape == FRAME.shape
    assert set(backbones.describe()) == {"detector", "sam", "transformers"}


def test_an_id_that_is_neither_a_directory_nor_of_the_hub_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected --backbone dino=ID with a directory or a hub id, got './none'"):
        Backbones(CPU, {"dino": "./none"})
