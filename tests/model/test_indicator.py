"""What tells shots apart: the rotary phase, nothing, or an embedding by shot."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from shotstream.model.attention import block_causal_plan
from shotstream.model.config import EMBEDDED_SHOTS, Indicator
from shotstream.model.transformer import SHOT_EMBEDDING_STD, Transformer
from shotstream.story.layout import frame_layout
from tiny import NETWORK

LATENTS, SIZE = 6, (4, 6)


def network(indicator: Indicator) -> Transformer:
    torch.manual_seed(0)
    return Transformer(replace(NETWORK, indicator=indicator)).double().eval()


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@torch.no_grad()
def run(of: Transformer, *shots: int) -> Tensor:
    """The velocity of two chunks whose latents come from `shots`, in one sequence."""
    layout = frame_layout(range(LATENTS), shots, [0] * LATENTS)
    t = torch.full((1, LATENTS), 0.5, dtype=torch.float64)
    return of(random(1, LATENTS, 4, *SIZE), t, random(1, 1, 5, 10), of.make_positions(layout, SIZE))


def test_only_a_learned_indicator_has_weights() -> None:
    phase, none, learned = (network(name).state_dict() for name in ("phase", "none", "learned"))  # type: ignore[arg-type]
    assert phase.keys() == none.keys() == learned.keys() - {"shot_embedding"}
    assert all(torch.equal(phase[name], learned[name]) for name in phase), "the rest is born the same"
    assert learned["shot_embedding"].shape == (EMBEDDED_SHOTS, NETWORK.dim)
    assert 0 < learned["shot_embedding"].std() < 2 * SHOT_EMBEDDING_STD


def test_nothing_tells_shots_apart_without_an_indicator() -> None:
    none = network("none")
    assert torch.equal(run(none, 0, 0, 0, 1, 1, 1), run(none, 0, 0, 0, 0, 0, 0))
    phase = network("phase")
    assert torch.allclose(run(none, 0, 0, 0, 1, 1, 1), run(phase, 0, 0, 0, 0, 0, 0))
    assert not torch.allclose(run(phase, 0, 0, 0, 1, 1, 1), run(phase, 0, 0, 0, 0, 0, 0))


def test_a_learned_indicator_tells_shots_apart_up_to_its_last() -> None:
    learned, last = network("learned"), EMBEDDED_SHOTS - 1
    outputs = [run(learned, 0, 0, 0, shot, shot, shot) for shot in range(EMBEDDED_SHOTS)]
    for shot, one in enumerate(outputs):
        assert not any(torch.allclose(one, other) for other in outputs[:shot])
    assert torch.equal(run(learned, 0, 0, 0, last + 1, last + 9, last), outputs[last])


def test_a_learned_indicator_is_no_phase() -> None:
    learned, none = network("learned"), network("none")
    with torch.no_grad():
        learned.get_parameter("shot_embedding").zero_()
    assert torch.allclose(run(learned, 0, 0, 0, 3, 3, 3), run(none, 0, 0, 0, 0, 0, 0))


def test_the_embedding_belongs_to_the_latents_own_shot() -> None:
    """Latents that do not see each other are changed by their own shot's embedding alone."""
    learned = network("learned")
    layout = frame_layout(range(LATENTS), [0, 0, 0, 3, 3, 3], [0] * LATENTS)
    arguments = torch.full((1, LATENTS), 0.5, dtype=torch.float64), random(1, 1, 5, 10)
    placement, plan = learned.make_positions(layout, SIZE), block_causal_plan(0, (3, 3))
    with torch.no_grad():
        before = learned(random(1, LATENTS, 4, *SIZE), *arguments, placement, plan=plan)
        learned.get_parameter("shot_embedding")[3].normal_()
        after = learned(random(1, LATENTS, 4, *SIZE), *arguments, placement, plan=plan)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])


@pytest.mark.parametrize("rows", [0, 3])
def test_every_shot_learns_its_own(rows: int) -> None:
    learned = network("learned")
    layout = frame_layout(range(LATENTS), [rows] * LATENTS, [0] * LATENTS)
    t = torch.full((1, LATENTS), 0.5, dtype=torch.float64)
    learned(
        random(1, LATENTS, 4, *SIZE), t, random(1, 1, 5, 10), learned.make_positions(layout, SIZE)
    ).square().mean().backward()
    gradient = learned.get_parameter("shot_embedding").grad
    assert gradient is not None
    assert gradient.abs().sum(1).nonzero().flatten().tolist() == [rows]
