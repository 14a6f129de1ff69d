"""Steering: another caption between two chunks, as if what is remembered had been made under it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.engine.causal_rollout import ChunkNoise, ShotInputs, ShotRollout
from shotstream.engine.sampler import Sampler
from shotstream.engine.story import Story
from shotstream.engine.text_cache import TextCache
from shotstream.model.config import ModelConfig, SamplerConfig, WanVAEConfig
from shotstream.model.context_injection import carry_context, latents_in_front
from shotstream.model.kv_cache import KVCache
from shotstream.model.transformer import Transformer
from shotstream.story.layout import shot_layout
from shotstream.story.shot_spec import Steer
from shotstream.weights.build import ModelComponents, random_components
from tiny import NETWORK, live_model

FEW = Sampler("few_step", (1.0, 0.5))
GUIDED = Sampler("euler", (1.0, 0.5, 0.0), guidance=2.0)
SIZE = (4, 6)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(**choices: object) -> Transformer:
    torch.manual_seed(0)
    return Transformer(replace(NETWORK, **choices)).double().eval()  # type: ignore[arg-type]


def inputs(caption: Tensor, chunks: int = 5) -> ShotInputs:
    """A shot that remembers two others; the last caption is its own."""
    text = torch.cat([random(1, 2, 5, 10, seed=2), caption], 1)
    layout = shot_layout(2, [0, 0, 0, 1, 1, 1], PAPER_SHOT, 3 * chunks)
    return ShotInputs.of(random(1, 6, 4, *SIZE, seed=1), text, layout, torch.zeros(1, 1, 5, 10, dtype=torch.float64))


def new_cache(transformer: Transformer, sampler: Sampler) -> KVCache:
    front = latents_in_front(transformer.config.injection, 6)
    return transformer.new_cache(sampler.branches, SIZE, front + 21, front + 3)


def noise(chunk: int, step: int) -> Tensor:
    return random(1, 3, 4, *SIZE, seed=100 * chunk + step)


def commit_one_by_one(transformer: Transformer, sampler: Sampler, given: ShotInputs, clean: list[Tensor]) -> KVCache:
    """A memory of chunks that were committed one after another, behind the context, under the shot's caption."""
    cache = new_cache(transformer, sampler)
    rollout = ShotRollout(transformer, cache, given, noise, sampler)
    for index, chunk in enumerate(clean):
        x = carry_context(transformer.config, given.context, chunk)
        x = x.expand(cache.shape.batch, *x.shape[1:])
        layout = given.layout.target[3 * index : 3 * index + 3].expand(cache.shape.batch)
        placement = transformer.make_positions(layout, (x.shape[-2], x.shape[-1]))
        staged = cache.stage(3)
        text = rollout._text.both if sampler.branches == 2 else rollout._text.keys
        transformer(x, torch.zeros(x.shape[:2]), text, placement, staged)
        cache.commit(staged)
    return cache


@pytest.mark.parametrize("sampler", [FEW, GUIDED], ids=["few_step", "guided"])
@pytest.mark.parametrize("injection", ["frame", "channel"])
@torch.inference_mode()
def test_the_memory_is_what_it_were_had_the_shot_been_made_under_the_new_caption(
    sampler: Sampler, injection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformer, old, new = network(injection=injection), random(1, 1, 5, 10, seed=3), random(1, 1, 5, 10, seed=4)
    cache = new_cache(transformer, sampler)
    rollout = ShotRollout(transformer, cache, inputs(old), noise, sampler)
    clean = [next(rollout) for _ in range(3)]
    front = latents_in_front(injection, 6) * cache.shape.tokens_per_latent  # type: ignore[arg-type]
    before = cache.keys(1).clone()
    forwards: list[int] = []
    forward = transformer.forward
    monkeypatch.setattr(transformer, "forward", lambda x, *rest: forwards.append(x.shape[1]) or forward(x, *rest))
    rollout.steer(new)
    assert forwards == [], "nothing is made until a chunk is asked for"
    following = next(rollout)
    assert forwards == [9] + [3] * (len(forwards) - 1), "one forward reads all chunks again"
    reference = commit_one_by_one(transformer, sampler, inputs(new), clean)
    for layer in range(2):
        assert torch.allclose(cache.keys(layer), reference.keys(layer), atol=1e-12)
        assert torch.allclose(cache.values(layer), reference.values(layer), atol=1e-12)
    assert torch.equal(cache.keys(1)[:, :front], before[:, :front])
    assert not torch.allclose(cache.keys(1)[:, front : before.shape[1]], before[:, front:])
    unsteered = list(ShotRollout(transformer, new_cache(transformer, sampler), inputs(old), noise, sampler))
    assert not torch.allclose(following, unsteered[3])
    assert all(torch.equal(a, b) for a, b in zip(clean, unsteered[:3], strict=True))


@torch.inference_mode()
def test_steering_before_the_first_chunk_is_beginning_so() -> None:
    transformer, old, new = network(), random(1, 1, 5, 10, seed=3), random(1, 1, 5, 10, seed=4)
    rollout = ShotRollout(transformer, new_cache(transformer, FEW), inputs(old, 2), noise, FEW)
    rollout.steer(new)
    begun = ShotRollout(transformer, new_cache(transformer, FEW), inputs(new, 2), noise, FEW)
    assert all(torch.equal(a, b) for a, b in zip(rollout, begun, strict=True))


@torch.inference_mode()
def test_a_chunk_that_failed_can_be_asked_for_again() -> None:
    transformer, old, new = network(), random(1, 1, 5, 10, seed=3), random(1, 1, 5, 10, seed=4)
    fail = True

    def failing(chunk: int, step: int) -> Tensor:
        if fail and chunk == 8:
            raise KeyboardInterrupt
        return noise(chunk, step)

    def steered(draw: ChunkNoise) -> ShotRollout:
        rollout = ShotRollout(transformer, new_cache(transformer, FEW), inputs(old, 10), draw, FEW)
        for _ in range(8):
            next(rollout)
        rollout.steer(new)
        return rollout

    broken, whole = steered(failing), steered(noise)
    with pytest.raises(KeyboardInterrupt):
        next(broken)
    fail = False
    assert all(torch.equal(a, b) for a, b in zip(broken, whole, strict=True))


def make(story: Story, text: str, steers: dict[int, str], chunks: int = 3, **options: object) -> np.ndarray:
    shot = story.shot(text, chunks, **options)  # type: ignore[arg-type]
    made = []
    for chunk in range(chunks):
        if chunk in steers:
            shot.steer(steers[chunk])
        made.append(next(shot))
    shot.cut()
    return np.concatenate(made)


@pytest.mark.parametrize(
    ("made", "dropped", "steered"), [(3, 1, True), (3, 2, False), (2, 2, True), (10, 2, True), (11, 4, True)]
)
def test_a_shot_steered_after_a_drop_is_the_shot_steered_there(
    parts: ModelComponents, made: int, dropped: int, steered: bool
) -> None:
    at, steer = made - dropped, "a bear sleeps" if steered else "a fox walks"
    with Story(parts, "a story.") as story, Story(parts, "a story.") as twin:
        shot = story.shot("a fox walks", 12, extend=True, held=4)
        kept = [next(shot) for _ in range(made)][:at]
        shot.steer("night falls")
        shot.drop(dropped)
        assert (shot.chunks, shot.text) == (at, "a fox walks")
        if steered:
            shot.steer("a bear sleeps")
        frames = np.concatenate([*kept, *shot])
        assert np.array_equal(frames, make(twin, "a fox walks", {at: steer}, 12, extend=True))
        assert np.array_equal(story.history.frames(0), frames)
        (ours,), (theirs,) = story.history.records, twin.history.records
        assert not steered or ours.key_frames_sha256 == theirs.key_frames_sha256


def test_chunks_that_were_dropped_before_a_cut_are_in_no_file(parts: ModelComponents) -> None:
    with Story(parts, "a story.") as story:
        shot = story.shot("a fox walks", 3, held=2)
        first, _, _ = (next(shot) for _ in range(3))
        with pytest.raises(InputError, match="at most 2 chunks, got 3"):
            shot.drop(3)
        shot.drop(2)
        shot.cut()
        assert np.array_equal(story.history.frames(0), first)
        with pytest.raises(InputError, match="at most 0 chunks, got 1"):
            shot.drop(1)


def test_a_decoder_goes_back_with_its_shot() -> None:
    """Wan's decoder overwrites its state in place."""
    parts = random_components(live_model(layers=2, wan_vae=WanVAEConfig(dim=4, num_res_blocks=1)))
    with Story(parts, "a story.") as story, Story(parts, "a story.") as twin:
        shot = story.shot("a fox walks", 3, held=2)
        first, _, _ = (next(shot) for _ in range(3))
        shot.drop(2)
        shot.steer("a bear sleeps")
        frames = np.concatenate([first, *shot])
        assert np.array_equal(frames, make(twin, "a fox walks", {1: "a bear sleeps"}))


SAMPLERS = [SamplerConfig(steps=(1000.0, 500.0)), SamplerConfig("euler", num_steps=2, shift=3.0, guidance=2.0)]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=["few_step", "guided"])
def test_what_was_seen_stays_and_what_comes_follows(parts: ModelComponents, sampler: SamplerConfig) -> None:
    with Story(parts, "a story.", sampler=sampler) as plain, Story(parts, "a story.", sampler=sampler) as steered:
        before, after = make(plain, "a fox walks", {}), make(steered, "a fox walks", {2: "a bear sleeps"})
        assert np.array_equal(before[:21], after[:21])
        assert not np.array_equal(before[21:], after[21:])
        assert not np.array_equal(make(plain, "they dance", {}), make(steered, "they dance", {}))


def test_the_last_of_several_captions_at_a_chunk_counts(parts: ModelComponents) -> None:
    with Story(parts, "a story.") as one, Story(parts, "a story.") as two:
        shot = one.shot("a fox walks", 3)
        next(shot)
        for text in ("night falls", "a bear sleeps"):
            shot.steer(text)
        assert shot.text == "a bear sleeps"
        rest = np.concatenate(list(shot))
        assert np.array_equal(rest, make(two, "a fox walks", {1: "a bear sleeps"})[9:])
        assert one.history.records[0].spec.steers == (Steer(1, "a bear sleeps"),)


def test_a_steered_story_is_resumed_and_replayed_to_the_same_frames(parts: ModelComponents, tmp_path: Path) -> None:
    script = [("a fox walks", {1: "a bear sleeps", 2: "a bear wakes"}), ("they dance", {0: "they sit"}), ("night", {})]
    with Story(parts, "a story.") as story:
        whole = [make(story, *shot) for shot in script]
    for shot in range(3):
        with Story(parts, "a story.", directory=tmp_path) as story:
            assert np.array_equal(make(story, *script[shot]), whole[shot])
    with Story(parts, "a story.", directory=tmp_path) as made, Story(parts, "a story.") as again:
        for take in made.history.records:
            steers = {steer.at: steer.text for steer in take.spec.steers}
            assert np.array_equal(make(again, take.spec.text, steers, take.spec.chunks), whole[take.shot])


def test_a_remembered_frame_has_the_caption_it_was_made_under(
    parts: ModelComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[str]] = []
    real = TextCache.read
    with Story(parts, "a story.") as story:
        make(story, "a fox walks", {1: "a bear sleeps"})
        monkeypatch.setattr(TextCache, "read", lambda self, texts: read.append(list(texts)) or real(self, texts))
        next(story.shot("they dance", 1))
    assert read == [["a story.shot0:a fox walks", "a story.shot0:a bear sleeps", "a story.shot1:they dance"]]


def test_a_steering_that_no_chunk_followed_is_not_written_down(parts: ModelComponents) -> None:
    with Story(parts, "a story.") as story:
        shot = story.shot("a fox walks", 3)
        next(shot)
        shot.steer("a bear sleeps")
        shot.cut()
        assert story.history.records[0].spec.steers == ()
        assert story.history.records[0].spec.chunks == 1


def test_what_cannot_be_steered_is_refused(parts: ModelComponents) -> None:
    with Story(parts, "a story.") as story:
        shot = story.shot("a fox walks", 1)
        with pytest.raises(InputError, match="expected the caption to steer to, got an empty one"):
            shot.steer(" ")
        next(shot)
        with pytest.raises(InputError, match="got one at its end"):
            shot.steer("a bear sleeps")
        shot.cut()
        with pytest.raises(InputError, match="got one that has ended"):
            shot.steer("a bear sleeps")
    whole = replace(SAMPLERS[1], order="whole")
    with Story(parts, "a story.", sampler=whole) as story, pytest.raises(InputError, match="makes it whole"):
        story.shot("a fox walks", 2).steer("a bear sleeps")


def test_steering_a_model_whose_context_reads_the_new_caption_leaves_the_context(parts: ModelComponents) -> None:
    config: ModelConfig = replace(parts.config, captions="target")
    with Story(replace(parts, config=config), "a story.") as story:
        make(story, "a fox walks", {})
        assert len(make(story, "they dance", {1: "they sit"})) == 33
