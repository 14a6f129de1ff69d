"""Split a frame into its subject and its background, with a detector and SAM."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from shotstream.core.video import Frame, Frames
from shotstream.metrics.availability import NotAvailableError
from shotstream.metrics.backbones import IMAGENET, Backbones

ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "teddy bear")
VEHICLES = ("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat")
SUBJECT_CLASSES = frozenset(("person", *ANIMALS, *VEHICLES))
"""Classes of COCO that a story is about; other detections are part of the background."""
MIN_SCORE = 0.5
DETECTORS = ("rt_detr", "rt_detr_v2", "d_fine")
"""Architectures of detectors that take pixels in [0, 1] and score each class by a sigmoid."""
DETECTOR_SIDE = 640
GREY = 128


@dataclass(frozen=True)
class SubjectSplit:
    """One frame's largest subject on grey in a square, None without a subject; and the frame with it greyed out."""

    subject: UInt8[NDArray, "side side 3"] | None
    background: Frame


def shot_frames_to_split(frames: Frames) -> Frames:
    """Return the first, the middle and the last frame of a shot."""
    return frames[[0, len(frames) // 2, len(frames) - 1]]


def split_subject(backbones: Backbones, frame: Frame) -> SubjectSplit:
    """Split a frame by its largest detected subject.

    Raises:
        NotAvailableError: the detector or SAM is not on this machine, or the detector is of another kind.
    """
    box = find_subject(backbones, frame)
    if box is None:
        return SubjectSplit(None, frame)
    mask = segment(backbones, frame, box)
    if not mask.any():
        return SubjectSplit(None, frame)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    region = np.where(mask[..., None], frame, GREY).astype(np.uint8)
    crop = region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return SubjectSplit(to_square(crop), np.where(mask[..., None], GREY, frame).astype(np.uint8))


def to_square(picture: Frame) -> UInt8[NDArray, "side side 3"]:
    """Return the picture padded with grey to a square."""
    height, width = picture.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, 3), GREY, np.uint8)
    square[top : top + height, left : left + width] = picture
    return square


@torch.inference_mode()
def find_subject(backbones: Backbones, frame: Frame) -> Float[NDArray, "4"] | None:
    """Return the box (x0, y0, x1, y1 in pixels) of the largest detected subject; None without one."""
    model = backbones.image_model("detector", "AutoModelForObjectDetection")
    if (kind := model.config.model_type) not in DETECTORS:
        raise NotAvailableError(f"expected a detector of {', '.join(DETECTORS)}, got {kind}; name another --backbone")
    pixels = F.interpolate(_to_tensor(frame), (DETECTOR_SIDE, DETECTOR_SIDE), mode="bilinear", antialias=True)
    out = model(pixel_values=pixels.to(backbones.device))
    scores, labels = out.logits[0].sigmoid().max(-1)
    names = [model.config.id2label[int(label)] for label in labels]
    height, width = frame.shape[:2]
    x, y, w, h = (out.pred_boxes[0].cpu() * torch.tensor([width, height, width, height])).T
    boxes = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1).numpy()
    subjects = [index for index, name in enumerate(names) if name in SUBJECT_CLASSES and scores[index] >= MIN_SCORE]
    return max((boxes[index] for index in subjects), key=_area, default=None)


def _area(box: Float[NDArray, "4"]) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


@torch.inference_mode()
def segment(backbones: Backbones, frame: Frame, box: Float[NDArray, "4"]) -> Bool[NDArray, "h w"]:
    """Return SAM's best mask for a box."""
    model: Any = backbones.image_model("sam", "SamModel")
    side = int(model.config.vision_config.image_size)
    height, width = frame.shape[:2]
    scale = side / max(height, width)
    size = (round(height * scale), round(width * scale))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)
    pixels = (F.interpolate(_to_tensor(frame), size, mode="bilinear", antialias=True) - mean) / std
    pixels = F.pad(pixels, (0, side - size[1], 0, side - size[0]))
    boxes = torch.from_numpy(box * scale).float().view(1, 1, 4)
    out = model(pixel_values=pixels.to(backbones.device), input_boxes=boxes.to(backbones.device))
    best = int(out.iou_scores[0, 0].argmax())
    mask = F.interpolate(out.pred_masks[:, 0, best : best + 1].float().cpu(), (side, side), mode="bilinear")
    mask = F.interpolate(mask[..., : size[0], : size[1]], (height, width), mode="bilinear")
    return (mask[0, 0] > 0).numpy()


def _to_tensor(frame: Frame) -> Float[Tensor, "1 3 h w"]:
    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255
