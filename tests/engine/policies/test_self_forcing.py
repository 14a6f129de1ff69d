"""Self Forcing: which latents each chunk sees, and equality with a dense mask."""

import pytest
import torch

from policy_engine import FEW, SIZE, dense_chunk, encode, make_engine, make_shots, make_transformer, trace
from shotstream.core.errors import InputError
from shotstream.engine.policies import POLICIES, find_system
from shotstream.story.layout import frame_layout

POLICY = POLICIES["self_forcing"]


def test_a_chunk_sees_the_last_21_latents_at_their_positions_in_the_video() -> None:
    seen = trace(POLICY, 8, 2)
    first_steps = [call for call in seen if call.sigma == 1]
    assert [call.frames[0] for call in first_steps] == list(range(0, 30, 3))
    for chunk, call in enumerate(first_steps):
        begin = max(0, 3 * chunk + 3 - 21)
        assert call.positions == {frame: frame for frame in range(begin, 3 * chunk + 3)}
    assert min(first_steps[7].positions) == 3
    assert max(first_steps[7].positions) == 23


def test_every_step_and_the_commit_of_a_chunk_see_the_same() -> None:
    seen = trace(POLICY, 9)
    for chunk in range(8):
        of_chunk = [call for call in seen if call.frames[0] == 3 * chunk]
        assert [call.sigma for call in of_chunk] == pytest.approx([*FEW.sigmas, 0.0])
        assert all(call.positions == of_chunk[0].positions for call in of_chunk)


@torch.inference_mode()
def test_chunks_equal_a_dense_mask() -> None:
    """Clean latents see the window up to their chunk, the noisy chunk sees the window and itself."""
    transformer, shots = make_transformer(), make_shots(8, 2)
    video, run = make_engine(POLICY, transformer, shots)
    clean = torch.cat(list(POLICY.rollout(video, run)), 1)
    text = encode(POLICY.prompts("A fox.", [shot.text for shot in shots]))[None]
    owner = [0] * 24 + [1] * 6
    for chunk in (0, 3, 7, 8, 9):
        frames = range(3 * chunk + 3)
        chunks = torch.tensor(frames) // 3
        mask = (chunks[None] <= chunks[:, None]) & (chunks[None] > chunks[:, None] - 7)
        layout = frame_layout(frames, [0] * len(frames), owner[: len(frames)])
        own = range(3 * chunk, 3 * chunk + 3)
        made = dense_chunk(transformer, run, own, clean[:, : 3 * chunk], layout, text, mask)
        assert torch.allclose(made, clean[:, own.start : own.stop], atol=1e-5)
    assert clean.shape[-2:] == SIZE


def test_an_unknown_policy_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown policy 'self_force' \(did you mean 'self_forcing'\?\)"):
        find_system("self_force")
