"""Policies against what their published repositories compute on the same small weights (`record_published`)."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from record_published import HEIGHT, OUT, WIDTH, embed, noise, renoise
from shotstream.core.spec import PAPER_SHOT
from shotstream.engine.engine import Engine
from shotstream.engine.policies import POLICIES
from shotstream.engine.policy import Policy
from shotstream.engine.sampler import Sampler
from shotstream.engine.video_plan import Video, plan_shots
from shotstream.model.transformer import Transformer
from shotstream.parity.case import Golden
from shotstream.story.shot_spec import ShotSpec, Steer

GOLDEN = Path(__file__).parents[2] / "golden"
SIZE = (HEIGHT, WIDTH)
TOLERANCE = 1e-4
GLOBAL, PIECES = "g", "abcdefghijkl"


@pytest.fixture(scope="module")
def network() -> Transformer:
    return Golden(GOLDEN, torch.device("cpu"), torch.float32).transformer("causal").eval()


def shot(*captions: tuple[int, str], chunks: int) -> ShotSpec:
    """A shot whose caption changes at chunks."""
    (_, text), *later = captions
    return ShotSpec(text, chunks, extend=True, steers=tuple(Steer(at, steered) for at, steered in later))


def engine(policy: Policy, network: Transformer, latents: int, sampler: Sampler) -> Engine:
    """Over the noise and the text that the repositories were given; HoloCine's pieces have four tokens each."""
    first, spec = noise(latents), policy.spec

    def of_step(frames: range, step: int) -> Tensor:
        return first[:, frames.start : frames.stop] if step == 0 else renoise().expand(1, len(frames), -1, -1, -1)

    def encode(prompts: Sequence[str]) -> Tensor:
        plain = [prompt.removeprefix(f"{GLOBAL} ") for prompt in prompts]
        return embed([PIECES if prompt.startswith("[global caption]") else prompt for prompt in plain])

    def token_spans(pieces: Sequence[str]) -> list[slice]:
        return [slice(4 * piece, 4 * piece + 4) for piece in range(len(pieces))]

    cache = None
    if spec.keys == "frame":
        cache = network.new_frame_cache(1, SIZE, spec.capacity)
    elif spec.keys:
        cache = network.new_cache(1, SIZE, spec.capacity, spec.sink)
    return Engine(network, encode, sampler, of_step, SIZE, cache, token_spans=token_spans)


def video(*shots: ShotSpec, global_caption: str = GLOBAL) -> Video:
    return Video(global_caption, plan_shots(shots, lambda *_: torch.zeros(1), PAPER_SHOT))


@pytest.mark.parametrize(
    ("name", "shots"),
    [
        ("self_forcing", [shot((0, "a fox"), chunks=8)]),
        ("longlive", [shot((0, "a fox"), chunks=5), shot((0, "a bear"), chunks=3)]),
        ("rolling_forcing", [shot((0, "a fox"), chunks=12)]),
        ("infinity_rope", [shot((0, "a fox"), (4, "a bear"), chunks=7), shot((0, "a crow"), chunks=3)]),
    ],
)
@torch.inference_mode()
def test_a_causal_policy_makes_the_latents_of_its_repository(
    network: Transformer, name: str, shots: list[ShotSpec]
) -> None:
    policy, expected = POLICIES[name], load_file(OUT / f"{name}.safetensors")["latents"]
    assert policy.spec.sampler is not None
    run = engine(policy, network, expected.shape[1], Sampler.from_config(policy.spec.sampler))
    made = torch.cat(list(policy.rollout(video(*shots), run)), 1)
    torch.testing.assert_close(made, expected, rtol=0, atol=TOLERANCE)


@torch.inference_mode()
def test_a_recording_is_not_what_another_policy_makes(network: Transformer) -> None:
    expected = load_file(OUT / "longlive.safetensors")["latents"]
    policy, story = POLICIES["self_forcing"], video(shot((0, "a fox"), chunks=5), shot((0, "a bear"), chunks=3))
    assert policy.spec.sampler is not None
    run = engine(policy, network, 24, Sampler.from_config(policy.spec.sampler))
    made = torch.cat(list(policy.rollout(story, run)), 1)
    torch.testing.assert_close(made[:, :12], expected[:, :12], rtol=0, atol=TOLERANCE)
    assert (made[:, 15:] - expected[:, 15:]).abs().max() > 100 * TOLERANCE


def velocity(network: Transformer, name: str, story: Video, x: Tensor, t: float, guidance: float) -> Tensor:
    """What a policy's call makes of noisy latents."""
    policy, asked = POLICIES[name], []
    run = engine(policy, network, x.shape[1], Sampler("euler", (1.0, 0.0), guidance=guidance))
    run.denoise = lambda call: asked.append(call) or x  # type: ignore[method-assign,func-returns-value]
    list(policy.rollout(story, run))
    return run.velocity(asked[0], x, t / 1000)


@pytest.fixture
def short_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative prompt of the recordings."""
    monkeypatch.setattr("shotstream.engine.policies.echoshot.NEGATIVE", "dim")
    monkeypatch.setattr("shotstream.engine.policies.cinetrans.WAN_NEGATIVE", "dim")
    monkeypatch.setattr("shotstream.engine.policies.holocine.WAN_NEGATIVE", "dim")


@pytest.mark.usefixtures("short_negative")
@pytest.mark.parametrize("t", ["900", "300"])
@torch.inference_mode()
def test_echoshot_predicts_the_velocity_of_its_repository(network: Transformer, t: str) -> None:
    recorded = load_file(OUT / "echoshot.safetensors")
    story = video(ShotSpec("a fox", 2), ShotSpec("a bear", 1), ShotSpec("a crow", 1))
    made = velocity(network, "echoshot", story, noise(12), float(t), 5.0)
    guided, unguided = recorded[f"guided.{t}"], recorded[f"unguided.{t}"]
    torch.testing.assert_close(made, unguided + 5 * (guided - unguided), rtol=0, atol=TOLERANCE)


@pytest.mark.usefixtures("short_negative")
@pytest.mark.parametrize("step", [0, 2])
@torch.inference_mode()
def test_cinetrans_predicts_the_velocity_of_its_repository(network: Transformer, step: int) -> None:
    recorded = load_file(OUT / "cinetrans.safetensors")
    x, t = recorded[f"{step}.x"], float(recorded[f"{step}.t"])
    story = video(ShotSpec("a fox", 2), ShotSpec("a bear", 1), global_caption="all")
    made = velocity(network, "cinetrans", story, x, t, 6.0)
    guided, unguided = recorded[f"{step}.guided"], recorded[f"{step}.unguided"]
    torch.testing.assert_close(made, unguided + 6 * (guided - unguided), rtol=0, atol=TOLERANCE)


@pytest.mark.usefixtures("short_negative")
@pytest.mark.parametrize("name", ["holocine", "holocine_full"])
@torch.inference_mode()
def test_holocine_predicts_the_velocity_of_its_repository(network: Transformer, name: str) -> None:
    recorded = load_file(OUT / "holocine.safetensors")
    made = velocity(network, name, video(ShotSpec("one", 2), ShotSpec("two", 1)), noise(9), 700.0, 5.0)
    attention = "sparse" if name == "holocine" else "full"
    guided, unguided = recorded[f"{attention}.guided"], recorded[f"{attention}.unguided"]
    torch.testing.assert_close(made, unguided + 5 * (guided - unguided), rtol=0, atol=TOLERANCE)
