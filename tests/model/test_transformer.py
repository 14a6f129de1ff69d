"""The transformer: parity with the reference, causality, cache against sequence, gradient, batches."""

from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.core.types import FrameLayout
from shotstream.model import attention
from shotstream.model.attention import block_causal_plan, teacher_forcing_plan
from shotstream.model.config import TransformerConfig
from shotstream.model.kv_cache import KVCache
from shotstream.model.transformer import Transformer, timestep_features
from shotstream.story.layout import frame_layout, shot_layout
from tiny import NETWORK

CONTEXT, CHUNK = 6, 3
SIZE = (4, 6)
SHOTS = (0, 0, 0, 1, 1, 1)


@pytest.fixture
def network() -> Transformer:
    """A small network in float64, where a difference is one of logic and not of rounding."""
    torch.manual_seed(0)
    return Transformer(NETWORK).double().eval()


@pytest.fixture
def layout() -> FrameLayout:
    """Context of shots 0 and 1, and two chunks of shot 2."""
    shot = shot_layout(2, SHOTS, PAPER_SHOT, 2 * CHUNK)
    return shot.joined


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def latents(count: int = CONTEXT + 2 * CHUNK, batch: int = 1, seed: int = 1) -> Tensor:
    return random(batch, count, NETWORK.in_dim, *SIZE, seed=seed)


def captions(batch: int = 1) -> Tensor:
    return random(batch, 3, NETWORK.text_len, NETWORK.text_dim, seed=2)


def sigmas(last: float, batch: int = 1) -> Tensor:
    """History at 0, the last chunk at `last`."""
    return torch.tensor([0.0] * (CONTEXT + CHUNK) + [last] * CHUNK, dtype=torch.float64).expand(batch, -1)


def remember(network: Transformer, memory: KVCache, clean: Tensor, layout: FrameLayout) -> None:
    with torch.no_grad():
        staged = memory.stage(clean.shape[1])
        network(clean, torch.zeros(1, clean.shape[1]), captions(), network.make_positions(layout, SIZE), staged)
        memory.commit(staged)


def remembering(network: Transformer, x: Tensor, layout: FrameLayout) -> KVCache:
    """A memory of the context and of the first chunk."""
    memory = network.new_cache(1, SIZE, CONTEXT + 2 * CHUNK, CONTEXT)
    remember(network, memory, x[:, :CONTEXT], layout[:CONTEXT])
    remember(network, memory, x[:, CONTEXT:-CHUNK], layout[CONTEXT : CONTEXT + CHUNK])
    return memory


@torch.no_grad()
def test_later_chunks_never_change_earlier_ones(network: Transformer, layout: FrameLayout) -> None:
    placement, plan = network.make_positions(layout, SIZE), block_causal_plan(CONTEXT, (CHUNK, CHUNK))
    x, changed = latents(), latents()
    changed[:, -CHUNK:] += 1
    one, other = (network(some, sigmas(0.7), captions(), placement, plan=plan) for some in (x, changed))
    assert torch.equal(one[:, :-CHUNK], other[:, :-CHUNK])
    assert not torch.allclose(one[:, -CHUNK:], other[:, -CHUNK:])
    whole = network(changed, sigmas(0.7), captions(), placement)
    assert not torch.allclose(whole[:, :-CHUNK], other[:, :-CHUNK]), "without a plan everyone sees everyone"


@torch.no_grad()
def test_the_context_sees_only_itself_and_chunks_see_it(network: Transformer, layout: FrameLayout) -> None:
    placement, plan = network.make_positions(layout, SIZE), block_causal_plan(CONTEXT, (CHUNK, CHUNK))
    x = latents()
    whole = network(x, sigmas(0.7), captions(), placement, plan=plan)
    context = network(
        x[:, :CONTEXT], sigmas(0)[:, :CONTEXT], captions(), network.make_positions(layout[:CONTEXT], SIZE)
    )
    torch.testing.assert_close(whole[:, :CONTEXT], context)
    x[:, 0] += 1
    assert not torch.allclose(network(x, sigmas(0.7), captions(), placement, plan=plan)[:, -CHUNK:], whole[:, -CHUNK:])


@torch.no_grad()
@pytest.mark.parametrize("sigma", [0.0, 0.7])
def test_the_cache_equals_the_block_causal_sequence(network: Transformer, layout: FrameLayout, sigma: float) -> None:
    x, plan = latents(), block_causal_plan(CONTEXT, (CHUNK, CHUNK))
    whole = network(x, sigmas(sigma), captions(), network.make_positions(layout, SIZE), plan=plan)
    memory = remembering(network, x, layout)
    placement = network.make_positions(layout[-CHUNK:], SIZE)
    cached = network(x[:, -CHUNK:], sigmas(sigma)[:, -CHUNK:], captions(), placement, memory.stage(CHUNK))
    torch.testing.assert_close(cached, whole[:, -CHUNK:])


@torch.no_grad()
def test_teacher_forcing_equals_the_cache(network: Transformer, layout: FrameLayout) -> None:
    clean, noisy = latents(), latents(2 * CHUNK, seed=3)
    remembered = CONTEXT + CHUNK
    sequence = torch.cat([clean[:, :remembered], noisy], 1)
    levels = torch.cat([sigmas(0)[:, :remembered], sigmas(0.7)[:, CONTEXT:]], 1)
    placement = network.make_positions(layout[:remembered] + layout[CONTEXT:], SIZE)
    forced = network(sequence, levels, captions(), placement, plan=teacher_forcing_plan(CONTEXT, 2, CHUNK))
    memory, begin = network.new_cache(1, SIZE, CONTEXT + 2 * CHUNK, CONTEXT), 0
    for chunk, end in enumerate((CONTEXT, CONTEXT + CHUNK)):
        staged = memory.stage(end - begin)
        placement = network.make_positions(layout[begin:end], SIZE)
        network(clean[:, begin:end], sigmas(0)[:, begin:end], captions(), placement, staged)
        memory.commit(staged)
        own, begin = slice(chunk * CHUNK, (chunk + 1) * CHUNK), end
        placement = network.make_positions(layout[CONTEXT:][own], SIZE)
        cached = network(noisy[:, own], sigmas(0.7)[:, CONTEXT:][:, own], captions(), placement, memory.stage(CHUNK))
        torch.testing.assert_close(cached, forced[:, remembered:][:, own])


@torch.no_grad()
def test_denoising_leaves_the_memory_as_it_is(network: Transformer, layout: FrameLayout) -> None:
    x = latents()
    memory = remembering(network, x, layout)
    keys = memory.keys(1).clone()
    placement = network.make_positions(layout[-CHUNK:], SIZE)
    for sigma in (0.9, 0.5):
        network(x[:, -CHUNK:], sigmas(sigma)[:, -CHUNK:], captions(), placement, memory.stage(CHUNK))
    assert memory.latents == CONTEXT + CHUNK
    assert torch.equal(memory.keys(1), keys)


def test_gradient_over_the_cache_equals_that_of_the_sequence(network: Transformer, layout: FrameLayout) -> None:
    """The history does not depend on the last chunk, so the chunk's gradient is the same either way."""
    x, weight = latents(), latents(CHUNK, seed=5)
    memory = remembering(network, x, layout)
    keys = memory.keys(0).clone()
    chunk = x[:, -CHUNK:].clone().requires_grad_()
    placement = network.make_positions(layout[-CHUNK:], SIZE)
    cached = network(chunk, sigmas(0.7)[:, -CHUNK:], captions(), placement, memory.stage(CHUNK))
    (cached * weight).sum().backward()

    plan = block_causal_plan(CONTEXT, (CHUNK, CHUNK))
    sequence = x.clone().requires_grad_()
    whole = network(sequence, sigmas(0.7), captions(), network.make_positions(layout, SIZE), plan=plan)[:, -CHUNK:]
    (whole * weight).sum().backward()
    assert sequence.grad is not None
    assert chunk.grad is not None
    torch.testing.assert_close(cached, whole)
    torch.testing.assert_close(chunk.grad, sequence.grad[:, -CHUNK:])
    assert torch.equal(memory.keys(0), keys)
    assert not memory.keys(0).requires_grad


def test_weights_get_the_same_gradient_over_an_empty_cache(network: Transformer, layout: FrameLayout) -> None:
    x, placement = latents(CONTEXT), network.make_positions(layout[:CONTEXT], SIZE)
    gradients = []
    for staged in (None, network.new_cache(1, SIZE, CONTEXT + CHUNK, CONTEXT).stage(CONTEXT)):
        network.zero_grad()
        network(x, sigmas(0)[:, :CONTEXT], captions(), placement, staged).square().mean().backward()
        gradients.append({name: weight.grad.clone() for name, weight in network.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)
        assert gradient.any(), name


@torch.no_grad()
def test_captions_read_once_are_the_captions(network: Transformer, layout: FrameLayout) -> None:
    placement = network.make_positions(layout, SIZE)
    read = network.project_text(captions())
    torch.testing.assert_close(
        network(latents(), sigmas(0.7), read, placement), network(latents(), sigmas(0.7), captions(), placement)
    )


@torch.no_grad()
def test_each_latent_attends_to_its_own_caption(network: Transformer, layout: FrameLayout) -> None:
    """In groups that do not see each other, the caption of one shot is nothing to the other."""
    plan = (*block_causal_plan(CONTEXT, ()), attention.Group(slice(CONTEXT, 12), (slice(CONTEXT, 12),)))
    placement = network.make_positions(layout, SIZE)
    text = captions()
    one = network(latents(), sigmas(0.7), text, placement, plan=plan)
    text[:, 2] += 1
    other = network(latents(), sigmas(0.7), text, placement, plan=plan)
    assert torch.equal(one[:, :CONTEXT], other[:, :CONTEXT])
    assert not torch.allclose(one[:, CONTEXT:], other[:, CONTEXT:])


@torch.no_grad()
def test_one_caption_for_all_is_a_shortcut_and_no_more(network: Transformer) -> None:
    placement = network.make_positions(frame_layout(range(4), [0] * 4, [2] * 4), SIZE)
    assert placement.caption == 2
    x, t = latents(4), torch.full((1, 4), 0.3, dtype=torch.float64)
    routed = network(x, t, captions(), replace(placement, caption=None))
    torch.testing.assert_close(network(x, t, captions(), placement), routed)


@torch.no_grad()
def test_latents_that_share_the_last_caption_read_it_together_and_as_they_would_alone(network: Transformer) -> None:
    layouts = [frame_layout(range(6), [0] * 6, row) for row in ([0, 1, 2, 2, 2, 2], [2, 2, 0, 1, 1, 1])]
    both = FrameLayout(*(torch.cat(rows) for rows in zip(*(vars(one).values() for one in layouts), strict=True)))
    placement = network.make_positions(both, SIZE)
    assert (placement.caption, placement.alone) == (None, 3)
    x, t = latents(6, batch=2), torch.full((2, 6), 0.3, dtype=torch.float64)
    together, alone = (network(x, t, captions(2), replace(placement, alone=count)) for count in (3, 5))
    torch.testing.assert_close(together, alone)


@torch.no_grad()
def test_a_batch_of_stories_is_each_story_alone(network: Transformer, layout: FrameLayout) -> None:
    other = shot_layout(3, (0, 1, 1, 2, 2, 2), PAPER_SHOT, 2 * CHUNK)
    layouts = [layout, replace(other.joined, captions=layout.captions.flip(1))]
    both = FrameLayout(*(torch.cat(rows) for rows in zip(*(vars(one).values() for one in layouts), strict=True)))
    x, text, t = latents(batch=2), captions(2), sigmas(0.7, 2).clone()
    t[1] += 0.05
    batched = network(x, t, text, network.make_positions(both, SIZE))
    for index, one in enumerate(layouts):
        row = slice(index, index + 1)
        alone = network(x[row], t[row], text[row], network.make_positions(one, SIZE))
        torch.testing.assert_close(batched[row], alone)


@torch.no_grad()
def test_shots_are_told_apart_by_phase_alone(network: Transformer, layout: FrameLayout) -> None:
    moved = replace(layout, shots=layout.shots + (layout.shots == 2) * 4)
    run = [network(latents(), sigmas(0.7), captions(), network.make_positions(some, SIZE)) for some in (layout, moved)]
    assert not torch.allclose(run[0], run[1])
    network.shot_phase = 0.0
    run = [network(latents(), sigmas(0.7), captions(), network.make_positions(some, SIZE)) for some in (layout, moved)]
    assert torch.equal(run[0], run[1])


def test_timestep_features_are_cosines_then_sines() -> None:
    features = timestep_features(torch.tensor([[0.0, 0.002]]), 4)
    assert features.dtype == torch.float32
    expected = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [2.0, 0.02, 2.0, 0.02]]])
    expected[0, 1, :2], expected[0, 1, 2:] = expected[0, 1, :2].cos(), expected[0, 1, 2:].sin()
    torch.testing.assert_close(features, expected)


def test_shapes_are_checked_while_these_tests_run(network: Transformer, layout: FrameLayout) -> None:
    with pytest.raises(TypeCheckError):
        network(latents()[0], sigmas(0.7), captions(), network.make_positions(layout, SIZE))


def test_a_width_that_heads_do_not_share_is_refused() -> None:
    with pytest.raises(InputError, match="even multiple of num_heads"):
        TransformerConfig(dim=30, num_heads=4)
