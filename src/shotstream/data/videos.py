"""Latents of samples that are videos of several shots."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from shotstream.data.batches import pool_masks
from shotstream.data.samples import VideoSample, as_pixels
from shotstream.model.codec import Codec


@torch.no_grad()
def encode_video(
    sample: VideoSample, codec: Codec, device: torch.device, *, one_stream: bool
) -> tuple[Float[Tensor, "1 f c h w"], Float[Tensor, "1 f h w"] | None]:
    """Encode the shots of a video, and return their latents and how much of each place shows the subject.

    Args:
        sample: the video.
        codec: on the device.
        device: where the latents are made.
        one_stream: whether the codec runs through the whole video; otherwise it begins anew with every shot.
    """
    clips, masks = sample.frames(one_stream=one_stream), sample.subjects(one_stream=one_stream)
    if one_stream:
        clips, masks = [np.concatenate(clips)], None if masks is None else [np.concatenate(masks)]
    latents = torch.cat([codec.encode(as_pixels([clip], device)).float() for clip in clips], 1)
    subjects = None if masks is None else torch.cat([pool_masks(mask[None]) for mask in masks], 1).to(device)
    return latents, subjects
