"""Infinity-RoPE: positions inside the window, the jump at a cut, and equality with a dense mask."""

import torch

from policy_engine import dense_chunk, encode, make_engine, make_shots, make_transformer, trace
from shotstream.engine.policies import POLICIES
from shotstream.story.layout import frame_layout

POLICY = POLICIES["infinity_rope"]


def test_a_chunk_sees_the_first_latent_and_the_last_two_inside_the_window() -> None:
    seen = [call for call in trace(POLICY, 6, 2) if call.sigma == 1]
    assert seen[0].positions == {0: 0, 1: 1, 2: 2}
    assert seen[1].positions == {frame: frame for frame in range(6)}
    assert seen[3].positions == {0: 0, 7: 1, 8: 2, 9: 3, 10: 4, 11: 5}
    assert seen[4].positions == {0: 0, 10: 1, 11: 2, 12: 3, 13: 4, 14: 5}


def test_the_first_chunk_of_a_shot_jumps_and_the_next_one_is_back() -> None:
    seen = [call for call in trace(POLICY, 6, 2) if call.sigma == 1]
    assert seen[6].positions == {0: 0, 16: 1, 17: 2, 18: 45, 19: 46, 20: 47}
    assert seen[7].positions == {0: 0, 19: 1, 20: 2, 21: 3, 22: 4, 23: 5}


@torch.inference_mode()
def test_chunks_equal_a_dense_mask() -> None:
    """With one layer keys depend on a latent and its caption alone, so the window may be made anew at its place."""
    transformer, shots = make_transformer(1), make_shots(3, 2)
    video, run = make_engine(POLICY, transformer, shots)
    clean = torch.cat(list(POLICY.rollout(video, run)), 1)
    text = encode(POLICY.prompts("A fox.", [shot.text for shot in shots]))[None]
    for first, positions in ((3, range(6)), (6, range(6)), (9, (0, 1, 2, 45, 46, 47)), (12, range(6))):
        held = [0, first - 2, first - 1]
        layout = frame_layout(positions, [0] * 6, [int(frame >= 9) for frame in (*held, *range(first, first + 3))])
        everyone = torch.ones(6, 6, dtype=torch.bool)
        made = dense_chunk(transformer, run, range(first, first + 3), clean[:, held], layout, text, everyone)
        assert torch.allclose(made, clean[:, first : first + 3], atol=1e-5)
