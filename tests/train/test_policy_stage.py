"""Fine-tuning for any policy: training sees what generation sees, by commands, resumed, and what is refused."""

from collections.abc import Callable
from itertools import repeat
from pathlib import Path

import pytest
import torch
from torch import Tensor

import shotstream
from policy_engine import FEW, SIZE, TracingTransformer, encode, make_shots, make_transformer, seeded_noise, trace
from shotstream.cli import main
from shotstream.core.spec import PAPER_SHOT
from shotstream.engine.policies import POLICIES
from shotstream.engine.policy import Policy
from shotstream.engine.video_plan import Video, VideoNoise, plan_shots
from shotstream.model.transformer import Transformer
from shotstream.train.presets import TINY
from shotstream.train.true_video_engine import TrueVideoEngine
from shotstream.world.dataset import write_dataset
from shotstream.world.stories import sample_story

Contents = Callable[[Path], dict[str, Tensor]]
Command = Callable[..., list[str]]
Copy = Callable[..., Path]
LENGTHS = (1, 3, 2)
"""Chunks of the shots of a video."""
FEW_STEP = ("model.sampler.kind=few_step", "model.sampler.guidance=1.0")


def teach(
    policy: Policy, network: Transformer, video: Tensor, noise: Callable[[range, int], Tensor]
) -> TrueVideoEngine:
    """Roll a policy out over a true video, and return the engine with what was predicted."""
    cache = policy.spec.new_cache(network, 1, SIZE, straight_through=False)
    dtype = network.patch_embedding.weight.dtype

    def spans(pieces: list[str]) -> list[slice]:
        return [slice(place, place + 1) for place, _ in enumerate(pieces)]

    run = TrueVideoEngine(network, lambda prompts: encode(prompts).to(dtype), repeat(FEW), noise, video, cache, spans)
    shots = plan_shots(make_shots(*LENGTHS), seeded_noise, PAPER_SHOT)
    if isinstance(noise, VideoNoise):
        shots = noise.watch(shots)
    for _ in policy.rollout(Video("A fox.", shots), run):
        pass
    return run


@pytest.mark.parametrize("name", [name for name in POLICIES if not name.startswith("holocine")])
def test_training_sees_what_generation_sees(name: str) -> None:
    network = TracingTransformer()

    def numbers(frames: range, _step: int = 0) -> Tensor:
        return torch.tensor(frames).float()[None, :, None, None, None].expand(1, -1, 1, *SIZE)

    teach(POLICIES[name], network, numbers(range(3 * sum(LENGTHS))), numbers)
    taught, generated = (
        dict.fromkeys((seen.frames, tuple(seen.positions.items()), seen.twice) for seen in every)
        for every in (network.seen, trace(POLICIES[name], *LENGTHS))
    )
    assert list(taught) == list(generated)


@pytest.mark.parametrize("name", POLICIES)
def test_every_latent_is_predicted_and_every_weight_learns(name: str) -> None:
    network = make_transformer()
    video = torch.randn(1, 3 * sum(LENGTHS), 4, *SIZE, dtype=torch.float64)
    run = teach(POLICIES[name], network, video, VideoNoise((4, *SIZE), torch.device("cpu")))
    predicted = {frame for one in run.predictions for frame in one.frames}
    assert predicted == set(range(video.shape[1]))
    torch.stack([one.error.mean() for one in run.predictions]).mean().backward()
    assert all(bool(value.grad.isfinite().all()) for value in network.parameters() if value.grad is not None)
    silent = [key for key, value in network.named_parameters() if value.grad is None or not bool(value.grad.any())]
    assert [key for key in silent if not key.endswith("k.bias")] == []


@pytest.fixture
def tiny(copy: Copy) -> Path:
    """A copy of the finished run without the stages that this one does not read."""
    return copy("run", "latents", "teacher", "trajectories", "init", "stage1", "stage2")


@pytest.mark.parametrize("name", ["echoshot", "lct", "longlive", "rolling_forcing"])
def test_a_policy_is_trained_exported_and_makes_a_video(
    tiny: Path, tmp_path: Path, command: Command, contents: Contents, name: str
) -> None:
    changes = (f"policy.policy={name}", "policy.optimizer.lr=1e-3", *FEW_STEP)
    assert main(command("policy", tiny, changes=changes)) == 0
    before, after = contents(tiny / "base"), contents(tiny / "policy")
    assert any(not torch.equal(before[key], after[key]) for key in before if key.startswith("networks."))
    model, video = tmp_path / "model", tmp_path / "fox.mp4"
    assert main([*command("export", tiny), "--stage", "policy", "-o", str(model)]) == 0
    story = tmp_path / "fox.yaml"
    story.write_text("global: A fox.\nshots:\n  - {text: It waits., chunks: 1}\n  - {text: It runs., chunks: 1}\n")
    made = ["generate", str(story), "-o", str(video), "--model", str(model), "--device", "cpu"]
    assert main(made) == 0
    assert video.stat().st_size > 0
    assert shotstream.open(model, device="cpu", dtype="float32").policy.name == name, "the model knows its policy"
    card = (model / "README.md").read_text()
    assert f"trained for the policy `{name}`" in card
    assert "story.shot" not in card, "not every policy takes one shot after another"


def test_a_stage_that_went_on_equals_the_uninterrupted_one(tiny: Path, command: Command, contents: Contents) -> None:
    changes = ("policy.policy=cinetrans", "policy.optimizer.lr=1e-3", "policy.videos=2")
    assert main(command("policy", tiny, changes=changes)) == 0
    whole = contents(tiny / "policy")
    (tiny / "policy").rename(tiny / "before")
    assert main(command("policy", tiny, "--minutes", "0", changes=changes)) == 0
    assert int(contents(tiny / "policy")["step"]) == 1
    assert main(command("policy", tiny, changes=changes)) == 0
    assert all(value.equal(whole[key]) for key, value in contents(tiny / "policy").items())


def test_the_own_model_goes_on_without_the_other_policys(tiny: Path, command: Command, tmp_path: Path) -> None:
    assert main(command("policy", tiny, changes=("policy.policy=full",))) == 0
    assert main([*command("export", tiny), "-o", str(tmp_path / "model")]) == 0
    exported = shotstream.open(tmp_path / "model", device="cpu", dtype="float32").config
    assert exported == TINY.model, "the base is the latest"


def test_videos_of_ones_own_are_learnt_too(
    tiny: Path, command: Command, contents: Contents, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_dataset([sample_story(seed, shots=3, chunks=2) for seed in (1, 2)], tmp_path / "dataset")
    own = ("source.kind=manifest", f"source.manifest={manifest}", "policy.policy=full", "policy.chunks=[1]")
    assert main(command("policy", tiny, changes=own)) == 0
    assert int(contents(tiny / "policy")["step"]) == 2
    capsys.readouterr()
    assert main(command("policy", tiny, "--steps", "3", changes=(*own, "policy.shots=[4]"))) == 2
    error = capsys.readouterr().err
    assert "expected a video with 4 shots in a row of at least [12, 12, 12, 12] frames, there is none" in error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("policy.policy=ecoshot",), "got 'ecoshot' (did you mean 'echoshot'?)"),
        ((), "got none; add for instance --set policy=echoshot"),
        (
            ("policy.policy=longlive", "distributed.checkpoint_activations=true"),
            "policy longlive has a cache, which moves on before a block is computed again; "
            "set distributed.checkpoint_activations=false",
        ),
        (
            ("policy.policy=holocine", "policy.shots=[9]"),
            "policy holocine describes 9 shots in prompts that are longer than the 64 tokens",
        ),
        (("policy.policy=echoshot", "policy.shots=[2, 7]"), "policy echoshot makes 1 to 6 shots, got 7"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    tiny: Path, command: Command, capsys: pytest.CaptureFixture[str], changes: tuple[str, ...], message: str
) -> None:
    assert main(command("policy", tiny, changes=changes)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_one_run_is_for_one_policy(tiny: Path, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command("policy", tiny, changes=("policy.policy=full",))) == 0
    capsys.readouterr()
    assert main(command("policy", tiny, changes=("policy.policy=mask2dit",))) == 2
    assert "was made with another policy" in capsys.readouterr().err
    (tiny / "policy" / "policy.json").write_text("{")
    assert main(command("policy", tiny, changes=("policy.policy=full",))) == 2
    assert "policy.json: expected JSON" in capsys.readouterr().err
    (tiny / "policy" / "policy.json").unlink()
    assert main([*command("export", tiny), "--stage", "policy", "-o", str(tiny / "model")]) == 2
    assert "policy.json: expected a file, found nothing there" in capsys.readouterr().err
