"""Encoded training samples of one length: made of pixels and captions, and kept in files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor

from shotstream.core.atomic_files import replacing, writing
from shotstream.core.spec import SPATIAL_STRIDE, TEMPORAL_STRIDE
from shotstream.core.types import FrameLayout
from shotstream.data.samples import ShotSample, as_pixels, stack_layouts
from shotstream.model.codec import Codec
from shotstream.model.device import send
from shotstream.model.text_encoder import TextEncoder, trim_padding

FeatureReader = Callable[[UInt8[np.ndarray, "f h w c"]], Float[Tensor, "t k fh fw"]]
"""Computes feature maps from the 4n + 1 frames of a shot, one for each of its n + 1 latents."""


@dataclass(frozen=True)
class Batch:
    """Encoded samples of one length.

    Attributes:
        context: latents of the context frames; none for pictures.
        target: latents of the shots.
        text: embeddings of each sample's captions, in the order of the layout; zeros where a sample has fewer.
        layout: position, shot and caption of every latent, context first.
        subjects: share of each place of the target's latents that shows what the story is about; None: nobody knows.
        features: feature maps of the target's latents by a frozen network, for alignment; None: there are none.
    """

    context: Float[Tensor, "b f c h w"]
    target: Float[Tensor, "b t c h w"]
    text: Float[Tensor, "b s l e"]
    layout: FrameLayout
    subjects: Float[Tensor, "b t h w"] | None = None
    features: Float[Tensor, "b t k fh fw"] | None = None

    def to(self, device: torch.device) -> "Batch":
        """Copy the tensors to a device in float32, without waiting for it; the layout stays on the CPU."""
        context, target, text = (send(value, device).float() for value in (self.context, self.target, self.text))
        subjects, features = (
            None if value is None else send(value, device).float() for value in (self.subjects, self.features)
        )
        return Batch(context, target, text, self.layout, subjects, features)


def save_batch(path: Path, batch: Batch, **more: Tensor) -> None:
    """Write a batch, whole or not at all; latents and text in bfloat16.

    Raises:
        InputError: it cannot be written.
    """
    values = {name: getattr(batch, name).bfloat16() for name in ("context", "target", "text")}
    known = {"subjects": batch.subjects, "features": batch.features}
    values |= {name: value.bfloat16() for name, value in known.items() if value is not None}
    layout = {name: getattr(batch.layout, name) for name in ("positions", "shots", "captions")}
    tensors = {name: value.cpu().contiguous() for name, value in {**values, **layout, **more}.items()}
    with replacing(path) as partial, writing(path):
        save_file(tensors, partial)


def load_batch(path: Path, rows: slice = slice(None)) -> tuple[Batch, dict[str, Tensor]]:
    """Read samples of a file that `save_batch` wrote, in bfloat16, and the other tensors in it."""
    stored = {name: value[rows] for name, value in load_file(path).items()}
    layout = FrameLayout(*(stored.pop(name) for name in ("positions", "shots", "captions")))
    context, target, text = (stored.pop(name) for name in ("context", "target", "text"))
    return Batch(context, target, text, layout, stored.pop("subjects", None), stored.pop("features", None)), stored


@torch.no_grad()
def encode_samples(
    samples: Sequence[ShotSample],
    codec: Codec,
    encoder: TextEncoder,
    device: torch.device | str = "cpu",
    read_features: FeatureReader | None = None,
) -> Batch:
    """Encode samples of one length to latents and text embeddings; samples without a past get a context of zeros."""
    target = codec.encode(as_pixels([sample.target for sample in samples], device))
    layout = stack_layouts([sample.layout for sample in samples])
    context = target.new_zeros(len(samples), layout.latents - target.shape[1], *target.shape[2:])
    contexts = {row: sample.context for row, sample in enumerate(samples) if sample.context is not None}
    if contexts:
        context[list(contexts)] = codec.encode_frames(as_pixels(list(contexts.values()), device))
    text = encode_captions([sample.captions for sample in samples], encoder)
    known = [sample.subjects for sample in samples if sample.subjects is not None]
    assert len(known) in (0, len(samples)), "a source knows the subjects of all its samples, or of none"
    subjects = pool_masks(np.stack(known)).to(target) if known else None
    features = torch.stack([read_features(sample.target) for sample in samples]) if read_features else None
    return Batch(context, target, text, layout, subjects, features)


def pool_masks(masks: Bool[np.ndarray, "b f h w"]) -> Float[Tensor, "b t lh lw"]:
    """Return the share of true pixels in each place of the latents that clips of 4n + 1 frames are encoded to."""
    shares = F.avg_pool2d(torch.from_numpy(masks).float(), SPATIAL_STRIDE)
    following = shares[:, 1:].unflatten(1, (-1, TEMPORAL_STRIDE)).mean(2)
    return torch.cat([shares[:, :1], following], 1)


@torch.no_grad()
def encode_captions(captions: Sequence[Sequence[str]], encoder: TextEncoder) -> Float[Tensor, "b s l e"]:
    """Encode the captions of several samples; rows that a sample has fewer than others are zeros."""
    shape, device = encoder.config, next(encoder.parameters()).device
    ids, mask = trim_padding(*encoder.tokenize([caption for sample in captions for caption in sample]))
    rows = iter(encoder.encode_ids(ids.to(device), mask.to(device)).float())
    text = torch.zeros(len(captions), max(map(len, captions)), shape.text_len, shape.dim, device=device)
    for sample, described in zip(text, captions, strict=True):
        for place, _ in enumerate(described):
            sample[place, : ids.shape[1]] = next(rows)
    return text
