"""Policies that make all shots at once: what each latent sees, where it sits and what it reads; and dense masks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from policy_engine import SIZE, encode, make_engine, make_shots, make_transformer, seeded_noise
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.engine.call import Call, Text
from shotstream.engine.engine import Engine
from shotstream.engine.policies import POLICIES
from shotstream.engine.policies.cinetrans import masked_layers
from shotstream.engine.policies.echoshot import NEGATIVE
from shotstream.engine.policies.whole_video import WAN_NEGATIVE
from shotstream.engine.sampler import Sampler
from shotstream.engine.video_plan import Video, plan_shots
from shotstream.model.attention import Group
from shotstream.model.rotary import rotate
from shotstream.model.transformer import Transformer, timestep_features

LAYERS = 30
ONE_STEP = Sampler("euler", (1.0, 0.0), guidance=3.0)


@dataclass
class FakeEngine:
    """Notes the calls and the text of a policy; every latent comes out as zero."""

    layers: int = LAYERS
    text_length: int = 512
    prompts: list[str] = field(default_factory=list)
    negative: str = ""
    options: dict[str, object] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    noise_levels: list[Tensor] = field(default_factory=list)
    sampler: Sampler = ONE_STEP

    def text(self, prompts: Sequence[str], negative: str = "") -> Text:
        self.prompts, self.negative = list(prompts), negative
        return Text([])

    def joined_text(self, prompts: Sequence[str], negative: str = "", **options: object) -> Text:
        self.options = options
        slots = tuple(slice(512 * prompt, 512 * prompt + 512) for prompt in range(len(prompts)))
        return Text(self.text(prompts, negative).keys, spans=slots)

    def pieced_text(self, pieces: Sequence[str], negative: str = "") -> Text:
        """Ten tokens a piece, an end token, and padding."""
        spans = tuple(slice(10 * piece, 10 * piece + 10) for piece in range(len(pieces)))
        return Text(self.text(pieces, negative).keys, spans=spans, padding=slice(spans[-1].stop, 512))

    def noise(self, frames: range, step: int) -> Tensor:  # noqa: ARG002
        return torch.zeros(1, len(frames), 4, *SIZE)

    def velocity(self, call: Call, x: Tensor, sigma: Tensor) -> Tensor:
        self.calls.append(call)
        self.noise_levels.append(sigma)
        return torch.zeros_like(x)

    def denoise(self, call: Call) -> Tensor:
        self.calls.append(call)
        return self.noise(call.frames, 0)


def run(name: str, *chunks: int) -> tuple[FakeEngine, list[int]]:
    """The calls of a policy over shots of these lengths, and how many latents it yields at a time."""
    fake, video = FakeEngine(), Video("A fox.", plan_shots(make_shots(*chunks), seeded_noise, PAPER_SHOT))
    yielded = [latents.shape[1] for latents in POLICIES[name].rollout(video, fake)]  # type: ignore[arg-type]
    return fake, yielded


def only(fake: FakeEngine) -> Call:
    (call,) = fake.calls
    return call


def groups(plan: Sequence[Group]) -> list[tuple[tuple[int, int], list[tuple[int, int]]]]:
    return [
        ((group.queries.start, group.queries.stop), [(key.start, key.stop) for key in group.keys]) for group in plan
    ]


@pytest.mark.parametrize("name", ["full", "echoshot", "cinetrans", "holocine", "holocine_full", "mask2dit"])
def test_all_latents_are_denoised_in_one_call_and_handed_out_shot_by_shot(name: str) -> None:
    fake, yielded = run(name, 2, 1, 3)
    assert yielded == [6, 3, 9]
    assert only(fake).frames == range(18)
    assert only(fake).layout.shots.tolist() == [[0] * 18], "no rotary phase"
    assert only(fake).keys is None


@pytest.mark.parametrize("name", ["full", "cinetrans", "holocine", "holocine_full", "mask2dit"])
def test_positions_are_contiguous_but_for_echoshot(name: str) -> None:
    assert only(run(name, 2, 1)[0]).layout.positions.tolist() == [list(range(9))]


def test_full_has_one_prompt_and_no_mask() -> None:
    fake, _ = run("full", 2, 1)
    assert fake.prompts == ["A fox. shot number 0 shot number 1"]
    assert fake.negative == WAN_NEGATIVE
    assert (only(fake).sees, only(fake).reads, only(fake).text_positions) == (None, None, None)


def test_echoshot_jumps_by_four_at_each_shot_in_time_and_in_text() -> None:
    fake, _ = run("echoshot", 2, 1, 1)
    call = only(fake)
    assert call.layout.positions.tolist() == [[0, 1, 2, 3, 4, 5, 10, 11, 12, 17, 18, 19]]
    assert call.text_positions == (0,) * 6 + (4,) * 3 + (8,) * 3
    assert fake.options == {"trim": True, "total": 2048, "positions": [0, 4, 8], "padding_position": 12}
    assert fake.prompts == [f"A fox. shot number {shot}" for shot in range(3)]
    assert fake.negative == NEGATIVE
    assert NEGATIVE.endswith("，水印，文字")
    assert (call.sees, call.reads) == (None, None)


def test_cinetrans_masks_layers_6_to_27_alone() -> None:
    fake, _ = run("cinetrans", 2, 1, 1)
    call = only(fake)
    assert call.sees is not None
    assert call.reads is not None
    assert [layer for layer in range(LAYERS) if call.sees(layer)] == list(range(6, 28))
    assert [layer for layer in range(LAYERS) if call.reads(layer)] == list(range(6, 28))
    assert groups(call.sees(6)) == [((0, 6), [(0, 6)]), ((6, 9), [(0, 1), (6, 9)]), ((9, 12), [(0, 1), (9, 12)])]
    everyones = (1536, 2048)
    assert groups(call.reads(27)) == [
        ((0, 6), [(0, 512), everyones]),
        ((6, 9), [(512, 1024), everyones]),
        ((9, 12), [(1024, 1536), everyones]),
    ]
    assert fake.prompts == ["shot number 0", "shot number 1", "shot number 2", "A fox."]
    assert not call.guided_reads_only
    assert masked_layers(6) == range(1, 5)


def test_sparse_holocine_sees_its_shot_and_the_first_latent_of_each() -> None:
    call = only(run("holocine", 2, 1, 1)[0])
    firsts = [(0, 1), (6, 7), (9, 10)]
    assert call.sees is not None
    assert groups(call.sees(0)) == groups(call.sees(29))
    assert groups(call.sees(0)) == [((a, b), [(a, b), *firsts]) for a, b in ((0, 6), (6, 9), (9, 12))]


@pytest.mark.parametrize("name", ["holocine", "holocine_full"])
def test_holocine_reads_the_global_part_its_own_and_the_padding(name: str) -> None:
    fake, _ = run(name, 2, 1)
    call = only(fake)
    assert fake.prompts == [
        "[global caption] A fox. This scene contains 2 shots. ",
        "[per shot caption] shot number 0 [shot cut]",
        " shot number 1",
    ]
    assert call.reads is not None
    padding = (31, 512)
    assert groups(call.reads(12)) == [((0, 6), [(0, 11), (11, 21), padding]), ((6, 9), [(0, 11), (20, 31), padding])]
    assert call.guided_reads_only
    assert name == "holocine" or call.sees is None or not call.sees(0)


def test_mask2dit_reads_the_caption_of_its_shot() -> None:
    fake, _ = run("mask2dit", 2, 1)
    assert only(fake).layout.captions.tolist() == [[0] * 6 + [1] * 3]
    assert fake.prompts == ["A fox. shot number 0", "A fox. shot number 1"]
    assert only(fake).sees is None


def test_lct_makes_a_shot_after_the_other_on_the_diagonal() -> None:
    fake, yielded = run("lct", 2, 1, 1)
    assert yielded == [6, 3, 3]
    first, second, third = fake.calls
    assert [call.frames for call in fake.calls] == [range(6), range(9), range(12)]
    assert third.layout.positions.tolist() == [list(range(12))]
    assert third.diagonal == (0,) * 6 + (6,) * 3 + (9,) * 3
    assert third.sees is not None
    assert groups(third.sees(0)) == [((0, 6), [(0, 6)]), ((6, 9), [(0, 9)]), ((9, 12), [(0, 12)])]
    assert third.layout.captions.tolist() == [[0] * 6 + [1] * 3 + [2] * 3]
    levels = [[round(float(level), 3) for level in sigmas] for sigmas in fake.noise_levels]
    assert levels == [[1.0] * 6, [0.1] * 6 + [1.0] * 3, [0.1] * 9 + [1.0] * 3]
    assert first.diagonal == (0,) * 6
    assert second.frames.stop == 9


def test_a_policy_says_what_it_can_and_refuses_the_rest() -> None:
    assert POLICIES["echoshot"].spec.decode == POLICIES["mask2dit"].spec.decode == "shot"
    assert POLICIES["cinetrans"].spec.decode == POLICIES["holocine"].spec.decode == "video"
    assert not any(POLICIES[name].spec.live for name in ("full", "echoshot", "cinetrans", "holocine", "mask2dit"))


def matrix(plan: Sequence[Group], queries: int, keys: int) -> Tensor:
    """How often each query counts each key; an empty plan: once."""
    counts = torch.zeros(queries, keys, dtype=torch.float64)
    for group in plan:
        for key in group.keys:
            counts[group.queries, key] += 1
    return counts if plan else counts + 1


def masked(q: Tensor, k: Tensor, v: Tensor, counts: Tensor) -> Tensor:
    scores = torch.einsum("bnhd,bmhd->bhnm", q, k) * q.shape[-1] ** -0.5 + counts.log()
    return torch.einsum("bhnm,bmhd->bnhd", scores.softmax(-1), v).flatten(2)


def dense(network: Transformer, run: Engine, call: Call, x: Tensor, sigmas: Tensor, *, guided: bool) -> Tensor:
    """Velocity of latents, where all that is seen and read is weighed by dense matrices."""
    reads = call.reads if guided or not call.guided_reads_only else None
    place = run._place(call, 1, reads is not None)
    tokens = network._patchify(x)
    each = tokens.shape[1] // x.shape[1]
    time = network.time_embedding(timestep_features(sigmas[None], 16).double())
    modulation = network.time_projection(time).unflatten(-1, (6, -1))
    text = call.text.keys if guided else call.text.negative
    assert text is not None
    for layer, block in enumerate(network.blocks):
        parts = (block.modulation + modulation).unbind(2)
        q, k, v = block.enter(tokens, parts[0], parts[1], place.rotary)
        own = matrix(call.sees(layer) if call.sees else (), x.shape[1], x.shape[1])
        seen = masked(q, k, v, own.repeat_interleave(each, 0).repeat_interleave(each, 1))
        tokens, q = block.turn(tokens, seen, parts[2])
        k, v = (tensor.flatten(1, 2) for tensor in text[layer])
        if place.text_rotary is not None:
            q = rotate(q, place.text_rotary)
        if reads is None and text[layer][0].shape[1] > 1:  # prompts apart: each latent its own
            length = text[layer][0].shape[2]
            plan: Sequence[Group] = [
                Group(slice(at, at + 1), (slice(prompt * length, prompt * length + length),))
                for at, prompt in enumerate(call.layout.captions[0].tolist())
            ]
        else:
            plan = reads(layer) if reads else ()
        read = masked(q, k, v, matrix(plan, x.shape[1], k.shape[1]).repeat_interleave(each, 0))
        tokens = block.leave(tokens, read, *parts[3:], place.size)
    return network._unpatchify(network.head(tokens, time), x.shape)


@pytest.mark.parametrize("name", ["full", "echoshot", "cinetrans", "holocine", "holocine_full", "mask2dit", "lct"])
@torch.inference_mode()
def test_what_is_made_equals_a_dense_mask(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One guided step from noise; the layers of the tiny network are those that CineTrans masks, and others."""
    network, calls = make_transformer(layers=6), []
    video, engine = make_engine(POLICIES[name], network, make_shots(2, 1, 1), ONE_STEP)
    engine._token_spans = lambda pieces: [slice(piece, piece + 1) for piece in range(len(pieces))]
    velocity = engine.velocity

    def noted(call: Call, x: Tensor, sigma: float) -> Tensor:
        made = velocity(call, x, sigma)
        calls.append((call, x, torch.as_tensor(sigma).expand(x.shape[1]), made))
        return made

    monkeypatch.setattr(engine, "velocity", noted)
    clean = torch.cat(list(POLICIES[name].rollout(video, engine)), 1)
    assert clean.shape == (1, 12, 4, *SIZE)
    for call, x, sigmas, made in calls:
        guided, unguided = (dense(network, engine, call, x, sigmas, guided=which) for which in (True, False))
        scale = torch.tensor([ONE_STEP.guidance_at(sigma) or 1.0 for sigma in sigmas.tolist()])[:, None, None, None]
        torch.testing.assert_close(made, unguided + scale * (guided - unguided), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_second_transformer_predicts_below_its_noise_level() -> None:
    high, low = make_transformer(), make_transformer()
    for parameter in low.parameters():
        parameter.mul_(0.5)
    made = {}
    for boundary in (0.0, 0.9, 2.0, None):
        network = low if boundary is None else high
        video, engine = make_engine(POLICIES["full"], network, make_shots(1), Sampler("euler", (1.0, 0.5, 0.0), 3.0))
        if boundary is not None:
            engine._low_noise = low, boundary
        made[boundary] = next(POLICIES["full"].rollout(video, engine))
    assert torch.equal(made[2.0], made[None])
    assert not torch.allclose(made[0.0], made[0.9])
    assert not torch.allclose(made[0.9], made[2.0])


def test_two_transformers_and_a_cache_are_refused() -> None:
    network = make_transformer()
    cache = network.new_cache(1, SIZE, 6, 0)
    with pytest.raises(InputError, match="expected a policy that makes all shots at once for a model of two"):
        Engine(network, encode, ONE_STEP, lambda *_: torch.zeros(1), SIZE, cache, low_noise=(network, 0.5))


@torch.inference_mode()
def test_the_policies_differ() -> None:
    made = {}
    for name in ("full", "echoshot", "cinetrans", "holocine", "holocine_full", "mask2dit", "lct"):
        video, engine = make_engine(POLICIES[name], make_transformer(layers=6), make_shots(1, 1), ONE_STEP)
        engine._token_spans = lambda pieces: [slice(piece, piece + 1) for piece in range(len(pieces))]
        made[name] = torch.cat(list(POLICIES[name].rollout(video, engine)), 1)
    for one, other in pairwise(made.values()):
        assert (one - other).abs().max() > 1e-3


def test_echoshot_refuses_more_text_than_it_reads() -> None:
    video, engine = make_engine(POLICIES["echoshot"], make_transformer(), make_shots(1, 1, 1, 1, 1))
    with pytest.raises(InputError, match="expected prompts of 20 tokens in all, got 25; shorten them"):
        next(POLICIES["echoshot"].rollout(video, engine))
