"""Shots longer than any in training: a rolling window that never leaves the positions training has seen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.core.types import FrameLayout
from shotstream.engine.causal_rollout import ShotInputs, ShotRollout
from shotstream.engine.frame_buffer import FrameBuffer
from shotstream.engine.sampler import Sampler
from shotstream.engine.story import Story
from shotstream.model.codec import to_frames
from shotstream.model.config import SamplerConfig
from shotstream.model.kv_cache import KVCache
from shotstream.model.rotary import time_rotation
from shotstream.model.transformer import Transformer
from shotstream.story.layout import shot_layout
from shotstream.weights.build import ModelComponents
from tiny import NETWORK

FEW = Sampler("few_step", (1.0, 0.5))
SIZE = (4, 6)
CHUNKS = 11


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(layers: int) -> Transformer:
    torch.manual_seed(0)
    return Transformer(replace(NETWORK, num_layers=layers)).double().eval()


def inputs(seed: int, chunks: int = CHUNKS) -> ShotInputs:
    layout = shot_layout(1, [0] * 6, PAPER_SHOT, 3 * chunks)
    return ShotInputs.of(random(1, 6, 4, *SIZE, seed=1), random(1, 2, 5, 10, seed=seed), layout)


def noise(chunk: int, step: int) -> Tensor:
    return random(1, 3, 4, *SIZE, seed=100 * chunk + step)


def new_cache(transformer: Transformer) -> KVCache:
    return transformer.new_cache(1, SIZE, 27, 9)


class Remembering(ShotRollout):
    """A shot whose past is given: its clean chunks are committed one after another at a shot's first positions."""

    def after(self, clean: list[Tensor]) -> "Remembering":
        for index, chunk in enumerate(clean):
            self.commit(chunk, 3 * index)
        return self

    def commit(self, clean: Tensor, at: int) -> None:
        self._engine.commit(self._call(self._layout.target[at : at + 3]), clean)

    def denoise(self, chunk: int, at: int = 18) -> Tensor:
        """Chunk `chunk`, at the last positions of a shot unless said otherwise."""
        call = self._call(self._layout.target[at : at + 3])
        return FEW.denoise(lambda x, sigma: self._engine.velocity(call, x, sigma), lambda step: noise(chunk, step))


@torch.inference_mode()
def test_every_chunk_is_made_as_the_last_of_a_shot_of_the_first_and_the_latest_chunks() -> None:
    """With one layer keys depend on nothing but a latent and its position, so that a fresh memory must do the same."""
    transformer = network(1)
    clean = list(ShotRollout(transformer, new_cache(transformer), inputs(2), noise, FEW))
    assert len(clean) == CHUNKS
    for chunk in range(6, CHUNKS):
        past = [clean[0], *clean[chunk - 5 : chunk]]
        fresh = Remembering(transformer, new_cache(transformer), inputs(2), noise, FEW).after(past)
        assert torch.allclose(fresh.denoise(chunk), clean[chunk], atol=1e-5)


@torch.inference_mode()
def test_steering_reads_the_window_again_and_goes_on_rolling() -> None:
    transformer = network(2)
    rollout = ShotRollout(transformer, new_cache(transformer), inputs(2), noise, FEW)
    clean = [next(rollout) for _ in range(9)]
    steered = inputs(5)
    rollout.steer(steered.text[:, 1:])
    cache = new_cache(transformer)
    text = torch.cat([inputs(2).text[:, :1], steered.text[:, 1:]], 1)
    given = ShotInputs.of(steered.context, text, steered.layout)
    fresh = Remembering(transformer, cache, given, noise, FEW).after([clean[0], *clean[3:9]])
    cache.rotate_window(time_rotation(-3, 12, torch.device("cpu")))
    assert torch.allclose(next(rollout), fresh.denoise(9), atol=1e-5)
    assert len(list(rollout)) == 1


@torch.inference_mode()
def test_a_narrow_window_within_the_positions_of_training_is_read_again_where_it_is() -> None:
    """A window of three chunks, the first of them pinned, whose positions go on as they were published."""
    transformer = network(2)
    rollout = ShotRollout(transformer, transformer.new_cache(1, SIZE, 15, 9), inputs(2, 6), noise, FEW)
    clean = [next(rollout) for _ in range(5)]
    rollout.steer(inputs(2).text[:, 1:])
    cache = transformer.new_cache(1, SIZE, 15, 9)
    fresh = Remembering(transformer, cache, inputs(2, 6), noise, FEW)
    for index in (0, 3, 4):
        fresh.commit(clean[index], 3 * index)
    assert torch.allclose(next(rollout), fresh.denoise(5, 15), atol=1e-5)


@torch.inference_mode()
def test_no_more_is_dropped_than_can_be_committed_again() -> None:
    transformer = network(1)
    rollout = ShotRollout(transformer, new_cache(transformer), inputs(2, 14), noise, FEW)
    clean = [next(rollout) for _ in range(12)]
    rollout.drop(4)
    with pytest.raises(InputError, match="cannot drop 4 of 8 chunks; the latest 4 can be dropped"):
        rollout.drop(4)
    assert torch.allclose(next(rollout), clean[8], atol=1e-5)
    with pytest.raises(InputError, match="cannot drop 2 of 9 chunks"):
        rollout.drop(2)
    rollout.drop(1)
    assert torch.allclose(next(rollout), clean[8], atol=1e-5)


@torch.inference_mode()
def test_positions_stay_in_training_and_memory_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    transformer, seen = network(1), []
    make = transformer.make_positions

    def watch(layout: FrameLayout, size: tuple[int, int], diagonal: tuple[int, ...]) -> object:
        seen.append((int(layout.positions.min()), int(layout.positions.max())))
        return make(layout, size, diagonal)

    monkeypatch.setattr(transformer, "make_positions", watch)
    cache = new_cache(transformer)
    rollout = ShotRollout(transformer, cache, inputs(2, 30), noise, FEW)
    buffer = cache._buffer.data_ptr()
    assert len(list(rollout)) == 30
    assert seen[:8] == [(0, 5), *((6 + 3 * chunk, 8 + 3 * chunk) for chunk in range(7))]
    assert set(seen[8:]) == {(24, 26)}
    assert (cache.latents, cache._buffer.data_ptr(), len(rollout._chunks)) == (27, buffer, 11)


def tell(parts: ModelComponents, chunks: int, directory: Path | None = None) -> list[np.ndarray]:
    with Story(parts, "a story.", directory=directory) as story:
        return [
            np.concatenate(list(story.shot("a fox walks", chunks, extend=True))),
            np.concatenate(list(story.shot("a bear sleeps", 1))),
        ]


def test_a_long_shot_begins_as_a_plain_one_and_is_remembered(parts: ModelComponents, tmp_path: Path) -> None:
    (plain, _), (long, after) = tell(parts, 7), tell(parts, 12, tmp_path)
    assert long.shape[0] == 12 * 12 - 3
    assert np.array_equal(long[:81], plain)
    with Story(parts, "a story.", directory=tmp_path) as story:
        assert story.history.lengths == [141, 9]
        assert np.array_equal(story.history.frames(0), long)
        story.rewind(1)
        assert np.array_equal(np.concatenate(list(story.shot("a bear sleeps", 1))), after)


def test_the_codec_streams_on_without_a_seam(parts: ModelComponents, monkeypatch: pytest.MonkeyPatch) -> None:
    latents: list[Tensor] = []
    codec = parts.codec
    decode_next = codec.decode_next
    monkeypatch.setattr(codec, "decode_next", lambda some, state: latents.append(some) or decode_next(some, state))
    long = tell(parts, 9)[0]
    with torch.inference_mode():
        whole = to_frames(codec.decode(torch.cat(latents[:9], 1)))
    assert np.abs(whole.astype(int) - long).max() <= 1, "a value between two may be rounded either way"


def test_only_a_shot_that_says_so_is_long(parts: ModelComponents) -> None:
    with Story(parts, "a story.") as story:
        with pytest.raises(InputError, match="expected a shot of 1 to 7 chunks, got 8"):
            story.shot("a fox walks", 8)
        for chunks in (0, True, 2.0):
            with pytest.raises(InputError, match="expected a shot of at least 1 chunk"):
                story.shot("a fox walks", chunks, extend=True)  # type: ignore[arg-type]
    whole = SamplerConfig("euler", num_steps=2, order="whole")
    with (
        Story(parts, "a story.", sampler=whole) as story,
        pytest.raises(InputError, match="policy teacher makes shots of at most 7 chunks"),
    ):
        story.shot("a fox walks", 8, extend=True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_frames_are_kept_as_they_are_in_memory_and_on_disk(dtype: torch.dtype) -> None:
    store = FrameBuffer(in_memory=10)
    frames = (torch.rand(40, 3, 4, generator=torch.Generator().manual_seed(0)) * 200).to(dtype)
    for start, stop in ((0, 4), (4, 9), (9, 20), (20, 21), (21, 40)):
        store.add(frames[start:stop])
    assert len(store) == 40
    for index in (39, 0, 8, 9, 20, 21):
        assert torch.equal(store[index], frames[index])
    assert sum(len(some) for some in store._first) == 9
    store.close()
