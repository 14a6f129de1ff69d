"""Rolling Forcing: the diagonal of noise levels, the anchor, and equality with a dense mask."""

import pytest
import torch

from policy_engine import Seen, dense_velocity, encode, make_engine, make_shots, make_transformer, trace
from shotstream.engine.policies import POLICIES
from shotstream.engine.sampler import Sampler
from shotstream.model.schedule import clean_from_velocity
from shotstream.story.layout import frame_layout

POLICY = POLICIES["rolling_forcing"]
FIVE = Sampler("few_step", (1.0, 0.9, 0.8, 0.7, 0.5))


def passes(*chunks: int) -> list[tuple[Seen, Seen]]:
    """Every pass: its forward over the window, and its commit."""
    seen = trace(POLICY, *chunks, sampler=FIVE)
    return list(zip(seen[::2], seen[1::2], strict=True))


def at_home(first: int, last: int) -> dict[int, int]:
    return {frame: frame for frame in range(first, last + 1)}


def test_the_window_sees_the_anchor_right_before_the_clean_latents() -> None:
    made = passes(7, 7)
    assert len(made) == 18
    window = [denoise.positions for denoise, _ in made]
    assert window[4] == at_home(0, 14)
    assert window[5] == at_home(0, 17)
    assert window[6] == at_home(0, 20)
    assert window[7] == {0: 3, 1: 4, 2: 5, **at_home(6, 23)}
    assert window[11] == {0: 15, 1: 16, 2: 17, **at_home(18, 35)}
    assert window[17] == {0: 21, 1: 22, 2: 23, **at_home(24, 41)}


def test_the_commit_sees_the_last_21_latents_and_no_anchor() -> None:
    made = passes(7, 7)
    assert [commit.sigma for _, commit in made] == [0] * 18
    assert [commit.frames[0] for _, commit in made[:7]] == [0, 0, 0, 0, 0, 3, 6]
    assert made[6][1].positions == at_home(0, 8)
    assert made[11][1].positions == at_home(3, 23)


def test_chunks_are_one_step_apart() -> None:
    first_levels = [denoise.sigma for denoise, _ in passes(3)]
    assert first_levels == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.5, 0.5, 0.5])


@torch.inference_mode()
def test_a_pass_equals_a_dense_mask() -> None:
    """The last pass: one chunk at the last noise level, the anchor in front of the clean latents under their caption.

    With one layer keys depend on a latent and its caption alone, so that the cache may be made anew.
    """
    transformer, shots = make_transformer(1), make_shots(4, 5)
    video, run = make_engine(POLICY, transformer, shots, FIVE)
    given: list[torch.Tensor] = []
    velocity = run.velocity
    run.velocity = lambda call, x, sigma: given.append(x) or velocity(call, x, sigma)  # type: ignore[method-assign]
    clean = torch.cat(list(POLICY.rollout(video, run)), 1)
    text = encode(POLICY.prompts("A fox.", [shot.text for shot in shots]))[None]
    seen = [0, 1, 2, *range(9, 27)]
    layout = frame_layout([6, 7, 8, *range(9, 27)], [0] * 21, [int(frame >= 12) for frame in seen])
    latents = torch.cat([clean[:, [0, 1, 2, *range(9, 24)]], given[-1]], 1)
    everyone = torch.ones(21, 21, dtype=torch.bool)
    own = dense_velocity(transformer, latents, [0.0] * 18 + [0.5] * 3, layout, text, everyone)[:, -3:]
    assert torch.allclose(clean_from_velocity(given[-1], own, 0.5), clean[:, -3:], atol=1e-5)
