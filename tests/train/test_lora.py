"""Adapters: they begin by changing nothing, only they are trained, and merging them changes nothing."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from shotstream.core.spec import PAPER_SHOT
from shotstream.model.transformer import Transformer
from shotstream.story.layout import shot_layout
from shotstream.train.config import LoraConfig
from shotstream.train.lora import add_adapters, merge_trained_adapters
from shotstream.train.presets import TINY

CONFIG = LoraConfig(rank=3, alpha=6)


def velocity(network: Transformer) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    layout = shot_layout(1, [0] * 6, PAPER_SHOT, 3)
    text = torch.randn(1, 2, 64, 16, generator=draw)
    latents = torch.randn(1, 9, 4, 4, 4, generator=draw)
    placement = network.make_positions(layout.joined, (4, 4))
    return network(latents, torch.full((1, 9), 0.5), text, placement)


@pytest.fixture
def network() -> Transformer:
    torch.manual_seed(0)
    return Transformer(TINY.model.transformer)


def test_new_adapters_change_nothing_and_are_all_that_is_trained(network: Transformer) -> None:
    before = velocity(network).detach()
    add_adapters(network, CONFIG)
    after = velocity(network)
    torch.testing.assert_close(after, before)
    after.square().mean().backward()
    trained = {name for name, one in network.named_parameters() if one.grad is not None}
    assert trained == {name for name, _ in network.named_parameters() if ".lora_" in name}
    maps = {name.split(".lora_")[0] for name in trained}
    assert len(maps) == 10 * len(network.blocks), "q, k, v, o twice and two of the feed-forward"


def test_merged_weights_make_what_the_adapters_make(network: Transformer) -> None:
    plain = velocity(network).detach()
    names = network.state_dict().keys()
    add_adapters(network, CONFIG)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if ".lora_" in name:
                value.normal_(std=0.3)
    adapted = velocity(network).detach()
    assert not torch.allclose(adapted, plain, atol=1e-3)
    merged = merge_trained_adapters(network.state_dict(), CONFIG, Path())
    assert merged.keys() == names
    other = Transformer(TINY.model.transformer)
    other.load_state_dict(merged)
    torch.testing.assert_close(velocity(other).detach(), adapted, rtol=1e-5, atol=1e-5)
