"""The memory of a shot: bytes worked out by hand, and those that a real shot holds."""

from dataclasses import replace

import pytest
import torch

from shotstream.core.spec import CONTEXT_LATENTS, MAX_SHOT_LATENTS, VideoSize
from shotstream.evaluate import memory, work
from shotstream.evaluate.memory import MemoryCounter, MemoryNeeds, memory_needs
from shotstream.model.config import ModelConfig, SamplerConfig, WanVAEConfig
from shotstream.model.parts import random_parts
from shotstream.train.presets import TINY

FEW = SamplerConfig(steps=(1000.0, 500.0))
BLOCKS = replace(TINY.model, sampler=FEW)
WAN = replace(
    BLOCKS,
    block_codec=None,
    wan_vae=WanVAEConfig(dim=8),
    video=VideoSize(32, 48),
    transformer=replace(BLOCKS.transformer, in_dim=16, out_dim=16),
)


def test_tensors_count_while_they_live() -> None:
    counter = MemoryCounter()
    with counter:
        with counter("prefill"):
            first = torch.empty(100, device="meta")
            view = first[10:].view(9, 10)
            torch.empty(50, device="meta")
        assert (counter.held, counter.most) == (400, {"prefill": 600})
        del first
        assert counter.held == 400, "a view keeps what it looks at"
        del view
        with counter("decode"):
            second = torch.empty(10, device="meta")
    assert (counter.held, counter.most["decode"]) == (second.nbytes, 40)


def test_a_text_encoder_elsewhere_does_not_count() -> None:
    needs = MemoryNeeds({"transformer": 5, "codec": 2, "text_encoder": 100}, {"denoise": 20, "decode": 10})
    assert needs.total() == 127
    assert needs.total(text_encoder=False) == 27


def cache_bytes(config: ModelConfig) -> int:
    shape = config.transformer
    tokens = (CONTEXT_LATENTS + MAX_SHOT_LATENTS) * config.video.tokens_per_latent
    return 2 * shape.num_layers * tokens * shape.dim * 4


@pytest.mark.parametrize("config", [BLOCKS, WAN], ids=["our codec", "Wan's VAE"])
def test_a_shot_holds_its_cache_and_no_weights(config: ModelConfig) -> None:
    one, four = (memory_needs(config, torch.float32, chunks=chunks) for chunks in (1, 4))
    assert four.parts.keys() == {"context", "prefill", "denoise", "commit", "decode"}
    assert min(four.parts.values()) > cache_bytes(config)
    assert four.parts["prefill"] == one.parts["prefill"]
    frames = 36 * 3 * config.video.height * config.video.width * 4
    assert four.parts["commit"] > one.parts["denoise"] + frames * 3 // 4, "frames stay until the shot is done"
    heavier = replace(config, text_encoder=replace(config.text_encoder, num_layers=9))
    assert memory_needs(heavier, torch.float32, chunks=1).parts == one.parts


@pytest.mark.parametrize("config", [BLOCKS, WAN], ids=["our codec", "Wan's VAE"])
def test_a_real_shot_holds_about_as_much(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the processor, whose kernels are not quite those that tensors without values have."""
    counted = memory_needs(config, torch.float32, chunks=2).parts
    for module in (memory, work):
        monkeypatch.setattr(module, "no_values", lambda *shape: torch.zeros(1, *shape))
    parts, counter = random_parts(config), MemoryCounter("cpu")
    for network in (parts.transformer, parts.codec):
        counter.leave_out(network)
    with torch.inference_mode(), counter:
        memory.make_shot(config, parts.transformer, parts.codec, counter, chunks=2, captions=2)
    assert {part: size / counted[part] for part, size in counter.most.items()} == dict.fromkeys(
        counted, pytest.approx(1, abs=0.15)
    )


def test_sparing_memory_spares_that_of_decoding() -> None:
    config = replace(WAN, video=VideoSize(480, 832), wan_vae=WanVAEConfig(dim=4))
    plain, spared = (memory_needs(config, chunks=2, spare=spare).parts for spare in (False, True))
    assert spared["decode"] < 0.8 * plain["decode"]
    assert spared["denoise"] == plain["denoise"]
