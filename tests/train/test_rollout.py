"""Inputs of a rollout from a batch whose samples have different numbers of captions."""

import torch

from shotstream.core.spec import PAPER_SHOT
from shotstream.data.batches import Batch
from shotstream.data.samples import stack_layouts
from shotstream.story.layout import ShotLayout, shot_layout
from shotstream.train.rollout import shot_inputs


def batch(*layouts: ShotLayout) -> Batch:
    """Shots of one chunk; caption n of every sample is all n."""
    text = torch.arange(4.0)[None, :, None, None].expand(len(layouts), 4, 2, 3)
    latents = torch.zeros(len(layouts), 9, 4, 2, 2)
    return Batch(latents[:, :6], latents[:, 6:], text, stack_layouts([one.joined for one in layouts]))


def test_each_sample_has_its_own_caption_and_those_of_its_context() -> None:
    first, later = shot_layout(0, [], PAPER_SHOT, 3), shot_layout(3, [0, 0, 1, 1, 2, 2], PAPER_SHOT, 3)
    inputs = shot_inputs(batch(first, later))
    assert inputs.own_text[:, 0, 0, 0].tolist() == [0, 3]
    assert inputs.context_text[0, :, 0, 0].tolist() == [0, 1, 2]
    assert inputs.layout.context.captions.tolist() == [[0] * 6, [0, 0, 1, 1, 2, 2]]
    assert inputs.layout.target.captions.tolist() == [[0] * 3] * 2
    of_all = inputs.text[1, inputs.layout.joined.captions[1], 0, 0]
    assert of_all.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3]


def test_a_context_that_attends_to_the_shots_own_caption_brings_no_other() -> None:
    inputs = shot_inputs(batch(shot_layout(0, [], PAPER_SHOT, 3), shot_layout(0, [], PAPER_SHOT, 3)))
    assert inputs.layout.context_captions == ()
    assert inputs.text.shape[1] == inputs.context_text.shape[1] == 1
