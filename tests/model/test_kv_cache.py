"""The dual cache: staging, committing, evicting, and what it refuses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.model.kv_cache import CacheShape, KVCache, Staged
from shotstream.model.rotary import Rotary

SHAPE = CacheShape(layers=2, batch=1, tokens_per_latent=2, heads=1, head_dim=1)


def new_cache(capacity: int, pinned: int) -> KVCache:
    return KVCache(SHAPE, capacity, pinned, torch.float32, "cpu")


def marks(first: int, count: int) -> Tensor:
    """Keys of latents first .. first + count: every token of a latent holds its number, from 1."""
    numbers = torch.arange(first + 1, first + count + 1, dtype=torch.float32).repeat_interleave(2)
    return numbers.reshape(1, -1, 1, 1)


def write(staged: Staged, first: int, layers: int = SHAPE.layers) -> Tensor:
    """Extends every layer; the keys that the last one sees."""
    for layer in range(layers):
        k = marks(first, staged.latents)
        keys, values = staged.extend(layer, k, -k)
        assert torch.equal(values, -keys)
    return keys


def numbers(keys: Tensor) -> list[int]:
    """The latents that keys belong to, each with both of its tokens."""
    tokens = keys.reshape(-1, SHAPE.tokens_per_latent)
    assert torch.equal(tokens[:, 0], tokens[:, 1])
    return [int(mark) - 1 for mark in tokens[:, 0]]


def remember(cache: KVCache, first: int, count: int) -> list[int]:
    """Commits latents; which ones they saw."""
    staged = cache.stage(count)
    seen = numbers(write(staged, first))
    cache.commit(staged)
    return seen


def test_a_stage_sees_what_is_remembered_and_itself() -> None:
    cache = new_cache(12, 6)
    assert remember(cache, 0, 6) == list(range(6))
    assert remember(cache, 6, 3) == list(range(9))
    assert cache.latents == 9
    for layer in range(SHAPE.layers):
        assert numbers(cache.keys(layer)) == list(range(9))
        assert torch.equal(cache.values(layer), -cache.keys(layer))


def test_what_is_not_committed_is_overwritten() -> None:
    cache = new_cache(12, 6)
    remember(cache, 0, 6)
    write(cache.stage(3), 50)
    assert cache.latents == 6
    assert numbers(cache.keys(0)) == list(range(6))
    assert numbers(write(cache.stage(3), 6)) == list(range(9))


def test_it_shows_and_keeps_frames_as_a_frame_cache_does() -> None:
    cache = new_cache(12, 6)
    remember(cache, 0, 6)
    staged = cache.see(range(6, 9), range(6, 9), None)
    assert numbers(write(staged, 6)) == list(range(9))
    staged.commit()
    assert cache.latents == 9
    with pytest.raises(AssertionError, match="as they were committed"):
        cache.see(range(9, 12), range(9, 12), [(0, None)])
    cache.keep(range(6))
    assert numbers(cache.keys(0)) == list(range(6))


def test_nothing_is_copied_without_gradient() -> None:
    cache = new_cache(12, 6)
    remember(cache, 0, 6)
    keys, values = cache.stage(3).extend(1, marks(6, 3), marks(6, 3))
    assert keys.data_ptr() == cache.keys(1).data_ptr()
    assert values.data_ptr() == cache.values(1).data_ptr()
    assert keys.is_contiguous()


def test_with_gradient_the_memory_is_joined_and_not_written() -> None:
    cache = new_cache(12, 6)
    remember(cache, 0, 6)
    k = marks(6, 3).requires_grad_()
    keys, values = cache.stage(3).extend(0, k, 2 * k)
    assert numbers(keys) == list(range(9))
    (keys.sum() + values.sum()).backward()
    assert torch.equal(k.grad, torch.full_like(k, 3.0))
    assert not write(cache.stage(3), 0).requires_grad
    assert numbers(cache.keys(0)) == list(range(6))


def test_a_forward_run_again_joins_nothing_of_later_ones() -> None:
    cache = new_cache(12, 6)
    remember(cache, 0, 6)
    first, second = marks(6, 3).requires_grad_(), marks(9, 3).requires_grad_()
    staged = cache.stage(3)
    staged.extend(0, first, first)
    with torch.no_grad():
        remember(cache, 6, 3)
    cache.stage(3).extend(0, second, second)
    again = marks(6, 3).requires_grad_()
    keys, _ = staged.extend(0, again, again)
    assert numbers(keys) == list(range(9))
    keys.sum().backward()
    assert torch.equal(again.grad, torch.ones_like(again))
    assert first.grad is None
    assert second.grad is None


def test_a_rolled_window_carries_the_gradient_of_chunks_before_wherever_they_lie() -> None:
    cache = new_cache(6, 0)
    made = [marks(3 * chunk, 3).requires_grad_() for chunk in range(3)]
    for chunk, k in enumerate(made):
        staged = cache.stage(3)
        keys, _ = staged.extend(0, k, k)
        with torch.no_grad():
            write(staged, 3 * chunk)
        cache.commit(staged)
    assert numbers(keys) == [6, 7, 8, 3, 4, 5]
    keys.sum().backward()
    assert made[0].grad is None
    assert torch.equal(made[1].grad, torch.ones_like(made[1]))


def test_a_rolling_window_keeps_context_and_sink_and_lets_the_oldest_go() -> None:
    """The published case: context 6, a window of 9 with a sink of 3, four chunks."""
    cache = new_cache(6 + 9, 6 + 3)
    remember(cache, 0, 6)
    for chunk in range(3):
        assert remember(cache, 6 + 3 * chunk, 3) == list(range(9 + 3 * chunk))
    assert remember(cache, 15, 3) == [*range(9), 15, 16, 17, 12, 13, 14]
    assert remember(cache, 18, 3) == [*range(9), 15, 16, 17, 18, 19, 20]
    assert cache.latents == 15


def test_with_gradient_a_rolled_window_sees_the_same() -> None:
    cache = new_cache(15, 9)
    remember(cache, 0, 6)
    for chunk in range(3):
        remember(cache, 6 + 3 * chunk, 3)
    keys, _ = cache.stage(3).extend(0, marks(15, 3).requires_grad_(), marks(15, 3).requires_grad_())
    assert numbers(keys) == [*range(9), 15, 16, 17, 12, 13, 14]


@given(pinned=st.integers(0, 4), ring=st.integers(1, 4), step=st.integers(1, 3), chunks=st.integers(0, 12))
def test_a_window_remembers_what_is_pinned_and_the_latest(pinned: int, ring: int, step: int, chunks: int) -> None:
    pinned, ring = pinned * step, ring * step
    cache = new_cache(pinned + ring, pinned)
    for chunk in range(chunks):
        remember(cache, chunk * step, step)
    made = list(range(chunks * step))
    kept = made[:pinned] + made[max(pinned, len(made) - ring) :]
    assert sorted(numbers(cache.keys(0))) == kept == cache.kept(len(made))
    assert cache.latents == len(kept)


def test_a_cache_without_a_window_is_full_when_it_is_full() -> None:
    cache = new_cache(9, 6)
    remember(cache, 0, 6)
    with pytest.raises(InputError, match="room for 3 more latents in a row, got 4"):
        cache.stage(4)


def test_a_chunk_that_would_wrap_around_is_refused() -> None:
    cache = new_cache(10, 6)
    remember(cache, 0, 6)
    remember(cache, 6, 3)
    with pytest.raises(InputError, match="room for 1 more latents in a row, got 3; make it larger, or roll the window"):
        cache.stage(3)


@pytest.mark.parametrize(("capacity", "pinned"), [(6, 6), (3, 6), (6, -1)])
def test_a_cache_without_room_beside_the_pinned_is_refused(capacity: int, pinned: int) -> None:
    with pytest.raises(InputError, match=f"its {pinned} pinned latents, got a capacity of {capacity}"):
        new_cache(capacity, pinned)


def test_only_the_latest_stage_can_be_committed() -> None:
    cache = new_cache(12, 6)
    staged = cache.stage(6)
    write(staged, 0)
    cache.commit(staged)
    with pytest.raises(AssertionError, match="latest stage"):
        cache.commit(staged)


def test_reset_forgets_all_or_keeps_the_context() -> None:
    cache = new_cache(12, 6)
    remember(cache, 0, 6)
    remember(cache, 6, 3)
    cache.reset(keep=6)
    assert remember(cache, 20, 3) == [*range(6), 20, 21, 22]
    cache.reset()
    assert cache.latents == 0
    assert cache.keys(0).shape[1] == 0
    assert remember(cache, 30, 3) == [30, 31, 32]


@pytest.mark.parametrize("keep", [4, 7])
def test_reset_keeps_only_what_is_pinned_and_remembered(keep: int) -> None:
    cache = new_cache(12, 6)
    remember(cache, 0, 3)
    with pytest.raises(AssertionError):
        cache.reset(keep)


def test_turning_the_window_leaves_what_is_pinned_and_all_values() -> None:
    cache = KVCache(CacheShape(2, 1, 1, 1, 2), 4, 1, torch.float32, "cpu")
    staged = cache.stage(4)
    for layer in range(2):
        staged.extend(layer, torch.ones(1, 4, 1, 2), torch.ones(1, 4, 1, 2))
    cache.commit(staged)
    quarter = torch.full((1, 1, 1, 1), torch.pi / 2)
    cache.rotate_window(Rotary(quarter.cos(), quarter.sin()))
    for layer in range(2):
        turned = cache.keys(layer)[0, :, 0]
        assert torch.equal(turned[0], torch.tensor([1.0, 1.0]))
        assert torch.allclose(turned[1:], torch.tensor([[-1.0, 1.0]] * 3), atol=1e-6)
        assert torch.equal(cache.values(layer), torch.ones(1, 4, 1, 2))
