"""The work of a shot: the published model's figures, and an independent count of what a real shot computes."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from shotstream.bench.flops import OpCost, OpCounter, ShotCost, select_cost, shot_cost, text_encoder_cost
from shotstream.core.spec import PAPER_SHOT, VideoSize
from shotstream.engine.story import Story
from shotstream.model.config import ModelConfig, SamplerConfig, TinyDecoderConfig, WanVAEConfig
from shotstream.model.wan_vae import WanVAE
from shotstream.model.wan_vae_layers import StreamState
from shotstream.story.captions import compose_caption
from shotstream.train.presets import STORYWORLD, TINY
from shotstream.weights.build import random_components
from shotstream.weights.wan_layouts import WAN_1_3B

TERA = 1e12
H200_FLOPS = 790 * TERA
STEPS = 4
ENLARGED = [(384, 192, 120 * 208, 2), (384, 192, 240 * 416, 4), (192, 96, 480 * 832, 4)]
"""Channels in and out, pixels, and frames a latent, of what the published decoder enlarges before it convolves."""
SAVED = sum(2 * 9 * i * o * pixels * frames for i, o, pixels, frames in ENLARGED) * 5 / 9 / TERA
SAVED_FIRST = sum(2 * 9 * i * o * pixels for i, o, pixels, _ in ENLARGED) * 5 / 9 / TERA
"""A first latent is one frame."""


@pytest.fixture(scope="module")
def wan() -> ShotCost:
    return shot_cost(WAN_1_3B, captions=1)


def tera(work: OpCost) -> float:
    return work.flop / TERA


def test_one_forward_of_the_published_model(wan: ShotCost) -> None:
    linear = [tera(select_cost(chunk, "denoise", kind="linear")) / STEPS for chunk in wan.chunks]
    attention = [tera(select_cost(chunk, "denoise", kind="attention")) / STEPS for chunk in wan.chunks]
    windows = range(9, 28, 3)
    a_latent = (attention[-1] - attention[0]) / (windows[-1] - windows[0])
    assert linear == pytest.approx([11.70] * 7, abs=0.01)
    assert a_latent == pytest.approx(1.346, abs=0.001), "self-attention to one latent"
    assert attention == pytest.approx([0.44 + a_latent * latents for latents in windows], abs=0.01), (
        "0.44 to the caption"
    )
    forwards = [one + other for one, other in zip(linear, attention, strict=True)]
    assert (forwards[0], forwards[-1]) == pytest.approx((24.3, 48.5), abs=0.05)
    assert sum(forwards) / 7 == pytest.approx(36.4, abs=0.05)


def test_what_the_published_model_does_once_a_shot_and_once_a_chunk(wan: ShotCost) -> None:
    assert tera(wan.of("text")) == pytest.approx(4.85, abs=0.01)
    assert tera(wan.of("prefill")) == pytest.approx(40.4, abs=0.4), "with a caption's keys for context and shot each"
    first, *later = (tera(select_cost(chunk, "decode")) for chunk in wan.chunks)
    assert later == pytest.approx([40.65 - 3 * SAVED] * 6, abs=0.01)
    assert first == pytest.approx(4.35 - SAVED_FIRST + 2 * (13.55 - SAVED), abs=0.01)
    commits = [tera(select_cost(chunk, "commit")) for chunk in wan.chunks]
    steps = [tera(select_cost(chunk, "denoise")) / STEPS for chunk in wan.chunks]
    assert commits == pytest.approx([0, *steps[:-1]]), "the last chunk is never committed"


def test_a_tiny_decoder_has_a_24th_of_the_work(wan: ShotCost) -> None:
    tiny = shot_cost(replace(WAN_1_3B, tiny_decoder=TinyDecoderConfig()), captions=1)
    first, *later = (tera(select_cost(chunk, "decode")) for chunk in tiny.chunks)
    assert later == pytest.approx([1.581] * 6, abs=0.001)
    assert tera(wan.of("decode")) / tera(tiny.of("decode")) == pytest.approx(23.9, abs=0.1)
    assert first < later[0], "three of the first four frames are left out before they are grown"
    assert {part: tera(work) for part, work in tiny.parts.items() if part != "decode"} == {
        part: tera(work) for part, work in wan.parts.items() if part != "decode"
    }


def test_the_floor_of_the_published_way(wan: ShotCost) -> None:
    """It runs every convolution in time over zeros for a single frame, enlarges before it convolves, and makes a clean
    pass that nothing reads.
    """
    counter = OpCounter()
    with torch.device("meta"):
        encoder = WanVAE(WanVAEConfig()).encoder
    frame = torch.empty(1, 3, 1, 480, 832, device="meta")
    with torch.inference_mode(), counter, counter("context"):
        encoder(frame, StreamState([None] * 100))
    context = 6 * tera(select_cost(counter.take(), "context"))
    assert context == pytest.approx(16.3, abs=0.2)
    last_clean = tera(select_cost(wan.chunks[-1], "denoise")) / STEPS
    ours = sum(tera(work) for work in wan.parts.values())
    enlarging = SAVED_FIRST + 20 * SAVED
    theirs = ours - tera(wan.of("context")) + context + last_clean + enlarging
    assert PAPER_SHOT.frames_of_chunks(7) * H200_FLOPS / TERA / theirs == pytest.approx(39.7, abs=0.1)
    assert PAPER_SHOT.frames_of_chunks(7) * H200_FLOPS / TERA / (theirs - last_clean) == pytest.approx(41.0, abs=0.1)


def test_memory_is_not_the_limit_of_a_forward(wan: ShotCost) -> None:
    moved = select_cost(wan.chunks[-1], "denoise")
    assert 15e9 < moved.bytes / STEPS < 28e9, "less than an ideally fused forward moves, which norms and caches add to"
    assert moved.flop / moved.bytes > H200_FLOPS / 4.3e12


def small(**changes: object) -> ModelConfig:
    config = TINY.model
    transformer = replace(config.transformer, num_layers=3)
    return replace(config, transformer=transformer, **changes)  # type: ignore[arg-type]


CASES = {
    "guided Euler": small(),
    "Euler, guided in the middle": small(
        sampler=SamplerConfig("euler", num_steps=4, shift=3.0, guidance=2.0, guided=(0.6, 0.95))
    ),
    "few steps": small(sampler=SamplerConfig(steps=(1000.0, 500.0, 250.0))),
    "fewer steps after the first chunk": small(
        sampler=SamplerConfig(steps=(1000.0, 500.0, 250.0), later_chunks_from=250.0)
    ),
    "guided, fewer steps after the first chunk": small(
        sampler=SamplerConfig(
            steps=(1000.0, 700.0, 250.0), shift=3.0, guidance=2.0, guided=(0.8, 1.0), later_chunks_from=700.0
        )
    ),
    "a whole shot at once": small(sampler=SamplerConfig("euler", num_steps=2, order="whole", guidance=2.0)),
    "one caption": small(captions="target"),
    "context in channels": replace(
        small(), transformer=replace(small().transformer, injection="channel"), sampler=SamplerConfig(steps=(1000.0,))
    ),
    "Wan's VAE": replace(
        small(conv_codec=None, wan_vae=WanVAEConfig(dim=4), video=VideoSize(16, 32)),
        transformer=replace(small().transformer, in_dim=16, out_dim=16),
    ),
}
CASES["a tiny decoder"] = replace(CASES["Wan's VAE"], tiny_decoder=TinyDecoderConfig(widths=(8, 6, 4, 4)))


@pytest.mark.parametrize("config", CASES.values(), ids=CASES)
def test_a_real_shot_computes_as_much(config: ModelConfig) -> None:
    parts = random_components(config)
    texts = ["a", "a longer one", "the one that counts"]
    with Story(parts, "G.") as story, sdpa_kernel(SDPBackend.MATH):
        for text in texts[:-1]:
            list(story.shot(text, 1))
        with FlopCounterMode(display=False) as real:
            list(story.shot(texts[-1], 2))
    own = compose_caption("G.", 2, texts[-1])
    tokens = int(parts.text_encoder.tokenize([own])[1].sum())
    captions = 3 if config.captions == "per_shot" else 1
    counted = shot_cost(config, torch.float32, chunks=2, captions=captions, caption_tokens=tokens)
    assert sum(work.flop for work in counted.parts.values()) == real.get_total_flops()


def test_the_first_shot_remembers_nothing() -> None:
    assert "context" not in shot_cost(TINY.model, chunks=1, remembers=False).parts
    assert shot_cost(TINY.model, chunks=1).of("context").flop > 0


def test_bytes_are_operands_and_results() -> None:
    counter = OpCounter()
    x, weight, bias = torch.zeros(5, 3), torch.zeros(7, 3), torch.zeros(7)
    with counter, counter("text"):
        torch.nn.functional.linear(x, weight, bias=bias)
    assert counter.take() == {("text", "linear"): OpCost(2 * 5 * 3 * 7, 4 * (5 * 3 + 7 * 3 + 7 + 5 * 7))}
    assert counter.take() == {}


def test_a_product_that_no_part_claims_is_our_mistake() -> None:
    with OpCounter(), pytest.raises(AssertionError, match="outside of every part"):
        torch.nn.functional.linear(torch.zeros(1, 2), torch.zeros(3, 2))


def test_the_text_of_the_embedded_model_is_read_at_its_length() -> None:
    config = STORYWORLD.model.text_encoder
    short, long = (sum(tera(work) for _, work in text_encoder_cost(config, tokens, 4)) for tokens in (10, 100))
    assert 10 * short < long
