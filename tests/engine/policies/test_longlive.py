"""LongLive: what each chunk sees, what a new caption commits again, and equality with a dense mask."""

import torch

from policy_engine import dense_chunk, encode, make_engine, make_shots, make_transformer, trace
from shotstream.engine.policies import POLICIES
from shotstream.story.layout import frame_layout

POLICY = POLICIES["longlive"]


def seen_by(frame: int, calls: list) -> dict[int, int]:
    return next(call.positions for call in calls if call.sigma == 1 and call.frames[0] == frame)


def at_home(*frames: int) -> dict[int, int]:
    return {frame: frame for frame in frames}


def test_a_chunk_sees_the_sink_and_the_last_nine_latents() -> None:
    seen = trace(POLICY, 7)
    assert seen_by(9, seen) == at_home(*range(12))
    assert seen_by(12, seen) == at_home(0, 1, 2, *range(6, 15))
    assert seen_by(15, seen) == at_home(0, 1, 2, *range(9, 18))


def test_a_new_caption_commits_the_last_nine_latents_again_beside_the_sink() -> None:
    seen = trace(POLICY, 5, 2)
    recommit = next(call for call in seen if len(call.frames) > 3)
    assert recommit.sigma == 0
    assert recommit.frames == tuple(range(6, 15))
    assert recommit.positions == at_home(0, 1, 2, *range(6, 15))
    assert seen_by(15, seen) == at_home(0, 1, 2, *range(9, 18))


def test_within_the_first_window_everything_is_committed_again() -> None:
    seen = trace(POLICY, 4, 1)
    recommit = next(call for call in seen if len(call.frames) > 3)
    assert recommit.frames == tuple(range(12))
    assert recommit.positions == at_home(*range(12))


@torch.inference_mode()
def test_chunks_equal_a_dense_mask() -> None:
    """After a cut: the sink under the first caption, the last nine latents under the second, all seeing each other."""
    transformer, shots = make_transformer(), make_shots(5, 2)
    video, run = make_engine(POLICY, transformer, shots)
    clean = torch.cat(list(POLICY.rollout(video, run)), 1)
    text = encode(POLICY.prompts("A fox.", [shot.text for shot in shots]))[None]
    frames = [0, 1, 2, *range(6, 18)]
    layout = frame_layout(frames, [0] * 15, [0] * 3 + [1] * 12)
    mask = torch.zeros(15, 15, dtype=torch.bool)
    mask[:3, :3] = mask[3:12, :12] = True
    mask[12:, torch.tensor([0, 1, 2, *range(6, 15)])] = True
    before = torch.cat([clean[:, :3], clean[:, 6:15]], 1)
    made = dense_chunk(transformer, run, range(15, 18), before, layout, text, mask)
    assert torch.allclose(made, clean[:, 15:18], atol=1e-5)
