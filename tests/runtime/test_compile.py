"""Compiled blocks: the same latents, few graphs, kept on disk; refusals where there is nothing to compile with."""

import functools
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from shotstream.api import Model
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.engine.causal_rollout import ShotInputs, ShotRollout
from shotstream.engine.sampler import Sampler
from shotstream.model.config import ModelConfig, SamplerConfig
from shotstream.runtime import compile as compiled
from shotstream.runtime.compile import COMPILERS, cache_directory, compile_blocks
from shotstream.runtime.options import RunOptions
from shotstream.story.layout import shot_layout
from shotstream.train.presets import TINY
from shotstream.weights.build import ModelComponents, random_components

pytestmark = pytest.mark.usefixtures("unchecked_shapes")

SAMPLER = SamplerConfig(steps=(1000.0, 500.0))
FRAME = replace(TINY.model, sampler=SAMPLER)
CHANNEL = replace(FRAME, transformer=replace(FRAME.transformer, injection="channel"))
PIECES_OF_TWO_LENGTHS = 6
"""Three pieces, for the context and for a chunk."""


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(compiled.CACHE_VARIABLE, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    torch._dynamo.reset()
    counters.clear()
    yield
    torch.compiler.set_stance("default")
    torch._dynamo.reset()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be compiled is traced, and run as it is."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))


@torch.inference_mode()
def make_shot(parts: ModelComponents, config: ModelConfig, chunks: int) -> Tensor:
    source = torch.Generator().manual_seed(0)
    size, text = (4, 6), config.text_encoder
    context = torch.randn(1, PAPER_SHOT.context_latents, config.transformer.in_dim, *size, generator=source)
    captions = torch.randn(1, 2, text.text_len, text.dim, generator=source)
    front = PAPER_SHOT.context_latents if config.transformer.injection == "frame" else 0
    cache = parts.transformer.new_cache(1, size, front + PAPER_SHOT.max_latents, front + PAPER_SHOT.chunk_latents)
    latents = PAPER_SHOT.latents_of_chunks(chunks)
    inputs = ShotInputs.of(context, captions, shot_layout(1, [0] * PAPER_SHOT.context_latents, PAPER_SHOT, latents))
    noise = torch.randn(chunks, 2, PAPER_SHOT.chunk_latents, *context.shape[2:], generator=source)
    sampler = Sampler.from_config(config.sampler)
    rollout = ShotRollout(parts.transformer, cache, inputs, lambda chunk, step: noise[chunk, step, None], sampler)
    return torch.cat(list(rollout), 1)


@pytest.mark.usefixtures("traced")
def test_all_windows_layers_and_captions_share_what_is_compiled() -> None:
    parts = random_components(FRAME)
    expected = make_shot(parts, FRAME, 7)
    compile_blocks(parts.transformer)
    assert torch.equal(make_shot(parts, FRAME, 7), expected)
    assert counters["stats"]["unique_graphs"] == PIECES_OF_TWO_LENGTHS
    assert not counters["graph_break"]


@pytest.mark.usefixtures("traced")
def test_after_the_warm_up_nothing_waits_for_a_compiler() -> None:
    model = Model(random_components(FRAME), RunOptions(compiled=True))
    model.warm_up()
    assert counters["stats"]["unique_graphs"] == PIECES_OF_TWO_LENGTHS
    thread = threading.Thread(target=make_shot, args=(model.parts, FRAME, 1))
    thread.start()
    thread.join()
    assert counters["stats"]["unique_graphs"] == PIECES_OF_TWO_LENGTHS, "another size of video runs as it is"


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C++ compiler to compile with")
def test_compiled_latents_are_the_same_and_the_code_stays_on_disk(tmp_path: Path) -> None:
    parts = random_components(CHANNEL)
    expected = make_shot(parts, CHANNEL, 2)
    compile_blocks(parts.transformer)
    got = make_shot(parts, CHANNEL, 2)
    assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert not torch.equal(got, torch.zeros_like(got))
    assert counters["inductor"]["fxgraph_cache_miss"] == PIECES_OF_TWO_LENGTHS // 2
    assert cache_directory() == tmp_path / "shotstream" / "compiled"
    assert any(cache_directory().rglob("*.so"))
    assert not (tmp_path / "elsewhere").exists()
    torch._dynamo.reset()
    make_shot(parts, CHANNEL, 1)
    assert counters["inductor"]["fxgraph_cache_miss"] == PIECES_OF_TWO_LENGTHS // 2


def test_without_a_compiler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    parts = random_components(FRAME)
    with pytest.raises(InputError, match=r"expected a C\+\+ compiler .* none of no-such-compiler; install"):
        Model(parts, RunOptions(compiled=True))
