"""Samples of several shots: their captions, and latents in one stream or shot by shot."""

import numpy as np
import pytest
import torch

from shotstream.core.spec import PAPER_SHOT
from shotstream.data.samples import VideoSample, as_pixels
from shotstream.data.storyworld import StoryWorldShots
from shotstream.data.videos import encode_video
from shotstream.model.config import ConvCodecConfig
from shotstream.model.conv_codec import ConvCodec

LENGTHS = (1, 2)
CPU = torch.device("cpu")


@pytest.fixture
def sample() -> VideoSample:
    return StoryWorldShots().draw_video(np.random.default_rng(3), LENGTHS)


def test_a_video_has_the_shots_that_are_asked_for_and_is_the_same_when_drawn_again(sample: VideoSample) -> None:
    assert [shot.chunks for shot in sample.script.shots] == list(LENGTHS)
    assert StoryWorldShots().draw_video(np.random.default_rng(3), LENGTHS).script == sample.script
    assert [len(frames) for frames in sample.frames(one_stream=True)] == [9, 24]
    assert [len(frames) for frames in sample.frames(one_stream=False)] == [9, 21]


@pytest.mark.parametrize("one_stream", [True, False])
def test_shots_are_encoded_in_one_stream_or_each_by_itself(sample: VideoSample, one_stream: bool) -> None:
    torch.manual_seed(0)
    codec = ConvCodec(ConvCodecConfig("conv", 4, (8, 8), (1, 1), (8, 8), (1, 1)))
    latents, subjects = encode_video(sample, codec, CPU, one_stream=one_stream)
    assert latents.shape[:2] == (1, PAPER_SHOT.latents_of_chunks(sum(LENGTHS)))
    clips = sample.frames(one_stream=one_stream)
    clips = [np.concatenate(clips)] if one_stream else clips
    with torch.no_grad():
        assert torch.equal(latents, torch.cat([codec.encode(as_pixels([clip])) for clip in clips], 1))
    assert subjects is not None
    assert subjects.shape == (1, latents.shape[1], *latents.shape[3:])
    assert 0 < float(subjects.mean()) < 0.6
