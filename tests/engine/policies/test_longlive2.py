"""LongLive 2: the sink of a shot, the jump and the words of a cut, and equality with a dense mask."""

import torch

from policy_engine import dense_chunk, encode, make_engine, make_shots, make_transformer, trace
from shotstream.engine.policies import POLICIES
from shotstream.story.layout import frame_layout

POLICY = POLICIES["longlive2"]


def test_without_a_cut_a_chunk_sees_the_first_and_the_last_three() -> None:
    seen = [call for call in trace(POLICY, 6) if call.sigma == 1]
    assert seen[3].positions == {frame: frame for frame in range(12)}
    assert seen[5].positions == {frame: frame for frame in (0, 1, 2, *range(9, 18))}


def test_the_first_chunk_of_a_shot_stays_in_the_window_until_the_next_cut() -> None:
    """Positions are 8 further on in every later shot."""
    seen = [call for call in trace(POLICY, 3, 4, 3) if call.sigma == 1]
    first = {0: 0, 1: 1, 2: 2}

    def behind(cuts: int, *frames: int) -> dict[int, int]:
        return {frame: frame + 8 * cuts for frame in frames}

    assert seen[3].positions == {**behind(0, *range(9)), **behind(1, 9, 10, 11)}
    assert seen[4].positions == {**first, **behind(0, 6, 7, 8), **behind(1, *range(9, 15))}
    assert seen[6].positions == {**first, **behind(1, 9, 10, 11, *range(15, 21))}
    assert seen[7].positions == {**first, **behind(1, 9, 10, 11, *range(18, 21)), **behind(2, 21, 22, 23)}
    assert seen[8].positions == {**first, **behind(1, *range(18, 21)), **behind(2, *range(21, 27))}
    assert seen[9].positions == {**first, **behind(2, *range(21, 30))}


def test_every_step_and_the_commit_of_a_chunk_see_the_same() -> None:
    seen = trace(POLICY, 2, 4)
    for call in seen:
        assert call.positions == next(other.positions for other in seen if other.frames == call.frames)


@torch.inference_mode()
def test_chunks_equal_a_dense_mask() -> None:
    """With one layer, keys depend on a latent alone, so a window may be made anew; a cut has words of its own."""
    transformer, shots = make_transformer(1), make_shots(3, 4)
    video, run = make_engine(POLICY, transformer, shots)
    clean = torch.cat(list(POLICY.rollout(video, run)), 1)
    text = encode(["A fox. shot number 0", "The scene transitions. A fox. shot number 1", "A fox. shot number 1"])[None]
    for first, held, prompt in (
        (6, range(6), 0),
        (9, range(9), 1),
        (12, (0, 1, 2, *range(6, 12)), 2),
        (18, (0, 1, 2, 9, 10, 11, *range(15, 18)), 2),
    ):
        frames = [*held, *range(first, first + 3)]
        positions = [frame + 8 * (frame >= 9) for frame in frames]
        layout = frame_layout(positions, [0] * len(frames), [prompt] * len(frames))
        everyone = torch.ones(len(frames), len(frames))
        made = dense_chunk(transformer, run, range(first, first + 3), clean[:, list(held)], layout, text, everyone)
        assert torch.allclose(made, clean[:, first : first + 3], atol=1e-5)
