"""MemFlow: the memory, what it answers to, the recommit, and equality with a dense mask."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from policy_engine import dense_chunk, encode, make_engine, make_shots, make_transformer, trace
from shotstream.engine.call import Key, Text
from shotstream.engine.engine import Engine
from shotstream.engine.policies import POLICIES
from shotstream.story.layout import frame_layout

POLICY = POLICIES["memflow"]


def at_home(*frames: int) -> dict[int, int]:
    return {frame: frame for frame in frames}


def test_a_chunk_sees_the_sink_the_memory_and_the_last_nine_latents() -> None:
    """What is in the memory and elsewhere counts twice."""
    seen = [call for call in trace(POLICY, 8) if call.sigma == 1]
    assert (seen[0].positions, seen[0].twice) == (at_home(0, 1, 2), ())
    assert (seen[1].positions, seen[1].twice) == (at_home(*range(6)), (0,))
    assert (seen[3].positions, seen[3].twice) == (at_home(*range(12)), (0,)), "chunk 3 is remembered after it is made"
    assert (seen[4].positions, seen[4].twice) == (at_home(0, 1, 2, *range(6, 15)), (0, 9))
    assert (seen[6].positions, seen[6].twice) == (at_home(0, 1, 2, 9, *range(12, 21)), (0,))
    assert (seen[7].positions, seen[7].twice) == (at_home(0, 1, 2, 9, *range(15, 24)), (0, 18))


def test_the_two_that_answer_the_prompt_best_stay_beside_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    def relevance(run: Engine, frames: Sequence[int], text: Text) -> Tensor:  # noqa: ARG001
        asked.append(tuple(frames))
        return torch.tensor([1.0, 3.0, 2.0])

    monkeypatch.setattr(Engine, "relevance", relevance)
    seen = [call for call in trace(POLICY, 15) if call.sigma == 1]
    assert asked == [(0, 9, 18), (9, 18, 27)]
    assert seen[9].positions == at_home(0, 1, 2, 9, 18, *range(21, 30))
    assert seen[12].positions == at_home(0, 1, 2, 9, 18, 27, *range(30, 39))
    assert seen[14].positions == at_home(0, 1, 2, 18, 27, *range(36, 45))
    assert seen[14].twice == (36,)


def test_a_new_caption_commits_the_last_nine_latents_again_beside_sink_and_memory() -> None:
    seen = trace(POLICY, 8, 1)
    recommit = next(call for call in seen if len(call.frames) > 3)
    assert recommit.sigma == 0
    assert recommit.frames == tuple(range(15, 24))
    assert recommit.positions == at_home(0, 1, 2, 9, *range(15, 24))
    first = next(call for call in trace(POLICY, 4, 1) if len(call.frames) > 3)
    assert first.frames == tuple(range(12)), "within the first window, everything"


@torch.inference_mode()
def test_relevance_is_the_mean_product_of_the_keys_of_text_and_latent() -> None:
    transformer = make_transformer()
    video, run = make_engine(POLICY, transformer, make_shots(2))
    list(POLICY.rollout(video, run))
    text = run.text(["It runs away quickly."])
    nothing = torch.zeros(1, 0, 2, 12, dtype=torch.float64)
    expected = []
    for frame in (0, 4):
        scores = []
        for layer, (keys, _) in enumerate(text.keys):
            held, _ = run.kv_cache.see(range(0), [], [Key(frame)]).extend(layer, nothing, nothing)
            scores.append(torch.einsum("bthd,bnhd->htn", keys[0], held).mean())
        expected.append(torch.stack(scores).mean())
    assert torch.allclose(run.relevance((0, 4), text), torch.stack(expected).float(), rtol=1e-4)


@torch.inference_mode()
def test_chunks_equal_a_dense_mask() -> None:
    """After a cut: the sink under the first caption; the last nine latents under the second beside sink and memory."""
    transformer, shots = make_transformer(), make_shots(5, 1)
    video, run = make_engine(POLICY, transformer, shots)
    clean = torch.cat(list(POLICY.rollout(video, run)), 1)
    text = encode(POLICY.prompts("A fox.", [shot.text for shot in shots]))[None]
    frames = [0, 1, 2, *range(6, 18)]
    layout = frame_layout(frames, [0] * 15, [0] * 3 + [1] * 12)
    times = torch.zeros(15, 15)
    times[:3, :3] = times[3:12, :12] = 1
    times[12:, [*range(3), *range(6, 15)]] = 1
    times[3:, [frames.index(0), frames.index(9)]] += 1
    before = torch.cat([clean[:, :3], clean[:, 6:15]], 1)
    made = dense_chunk(transformer, run, range(15, 18), before, layout, text, times)
    assert torch.allclose(made, clean[:, 15:18], atol=1e-5)
