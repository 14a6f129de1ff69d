"""What the stages train on: the losses held against recorded ones, where their gradients go, and the ablations."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from shotstream.cli import main
from shotstream.model.schedule import training_sigmas, training_weights
from shotstream.model.transformer import Transformer
from shotstream.model.velocity import predict_velocity
from shotstream.train.build_stage import build_stage
from shotstream.train.distributed import DistributedContext
from shotstream.train.loop import NETWORK
from shotstream.train.losses import Conditions, flow_matching_loss
from shotstream.train.presets import Preset
from shotstream.train.recipe import Run
from shotstream.train.rng import drop_text, make_generator, normal
from shotstream.train.stages.stage1 import CRITIC, GENERATOR, DistillStage, Stage1

Contents = Callable[[Path], dict[str, Tensor]]
Command = Callable[..., list[str]]
Copy = Callable[..., Path]
Lively = Callable[..., Preset]


def open_run(directory: Path, preset: Preset) -> Run:
    return Run(directory, preset, DistributedContext(torch.device("cpu"), preset.distributed))


@pytest.fixture
def stage1(finished: Path, lively: Lively) -> DistillStage:
    stage = build_stage(open_run(finished, lively()), "stage1")
    assert isinstance(stage, Stage1)
    return stage


def norm(network: nn.Module) -> float:
    """Of all gradients; 0 where there is none."""
    return sum(float(parameter.grad.norm()) for parameter in network.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("label", ["target", "clean"])
def test_the_teacher_trains_on_the_flow_matching_loss(finished: Path, lively: Lively, label: str) -> None:
    run = open_run(finished, lively(f"teacher.context_timestep={label}"))
    stage, config, step = build_stage(run, "teacher"), run.preset.teacher, 3
    batch, network = run.shots(1)(step, 0).to(run.distributed.device), stage.state.trained[NETWORK].network
    text = drop_text(batch.text, config.no_text_share, "teacher-text", step, 0)
    sigmas = training_sigmas(config.shift)
    index = torch.randint(len(sigmas), (len(batch.target),), generator=make_generator("teacher-levels", step, 0))
    expected = flow_matching_loss(
        network,
        batch.target,
        normal(batch.target, "teacher-noise", step, 0),
        sigmas[index],
        Conditions.of(network, batch.context, text, batch.layout),
        training_weights(sigmas)[index],
        label,
    )
    assert torch.equal(stage.loss(NETWORK, step, 0), expected)
    assert not torch.equal(stage.loss(NETWORK, step + 1, 0), expected)


@pytest.mark.parametrize(("trained", "others"), [("attention", False), ("all", True)])
def test_the_teacher_trains_its_attention_or_all(finished: Path, lively: Lively, trained: str, others: bool) -> None:
    stage = build_stage(open_run(finished, lively(f"teacher.trained={trained}")), "teacher")
    stage.loss(NETWORK, 0, 0).backward()
    have = {name for name, one in stage.state.trained[NETWORK].network.named_parameters() if one.grad is not None}
    assert any(".self_attn." in name for name in have)
    assert any(".self_attn." not in name for name in have) == others


def watch_gradient(network: Transformer) -> list[float]:
    """Timesteps of the forwards that record gradient, as they come."""
    seen: list[float] = []

    def note(_: nn.Module, arguments: tuple[Tensor, ...], made: Tensor) -> None:
        if made.requires_grad:
            seen.append(float(arguments[1].max()))

    network.register_forward_hook(note)
    return seen


@pytest.mark.parametrize("stop", range(4))
def test_gradient_of_a_rollout_is_of_its_chosen_step_only(
    stage1: DistillStage, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    monkeypatch.setattr(stage1, "_stop", lambda *_: stop)
    seen = watch_gradient(stage1.state.trained[GENERATOR].network)
    chunks = stage1.inputs(0, 0).layout.target.latents // 3
    stage1.loss(GENERATOR, 0, 0).backward()
    level = stage1._sampler.sigmas[stop]
    assert seen == pytest.approx([level] * chunks)
    assert norm(stage1.state.trained[GENERATOR].network) > 0


@pytest.mark.parametrize("stop", range(4))
def test_later_chunks_of_a_rollout_stop_no_earlier_than_they_begin(
    finished: Path, lively: Lively, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    stage = build_stage(open_run(finished, lively("student.later_chunks_from=500")), "stage1")
    assert isinstance(stage, Stage1)
    monkeypatch.setattr(stage, "_stop", lambda *_: stop)
    seen = watch_gradient(stage.state.trained[GENERATOR].network)
    step = next(step for step in range(20) if stage.inputs(step, 0).layout.target.latents > 3)
    chunks = stage.inputs(step, 0).layout.target.latents // 3
    stage.loss(GENERATOR, step, 0).backward()
    levels = stage._sampler.sigmas
    assert seen == pytest.approx([levels[stop], *[levels[max(stop, 2)]] * (chunks - 1)])
    assert norm(stage.state.trained[GENERATOR].network) > 0


def test_each_loss_trains_its_own_network(stage1: DistillStage) -> None:
    networks = stage1._networks
    stage1.loss(GENERATOR, 0, 0).backward()
    assert norm(networks.generator) > norm(networks.critic) == norm(networks.real) == 0
    networks.generator.zero_grad()
    stage1.loss(CRITIC, 0, 0).backward()
    assert norm(networks.critic) > norm(networks.generator) == norm(networks.real) == 0


@pytest.mark.parametrize("source", ["teacher", "base"])
def test_the_scores_of_the_base_are_of_each_chunk_after_those_before_it(
    finished: Path, lively: Lively, source: str
) -> None:
    """A score of whole shots sees later chunks, the base's does not; both begin with their network's weights."""
    run = open_run(finished, lively(f"stage1.real_score={source}"))
    stage = build_stage(run, "stage1")
    assert isinstance(stage, Stage1)
    real, weights = stage._networks.real, run.weights(source)
    assert all(torch.equal(value, weights[name]) for name, value in real.named_parameters())
    drawn = (stage.inputs(step, 0) for step in range(20))
    inputs = next(one for one in drawn if one.layout.target.latents > 3)
    made = torch.randn(len(inputs.context), inputs.layout.target.latents, *inputs.context.shape[2:])
    level = torch.full((len(made),), 0.7)

    def first_chunk(shots: Tensor) -> Tensor:
        given = stage._conditions(real, inputs, inputs.text, shots)
        return predict_velocity(real, shots, level, given)[:, :3]

    with torch.no_grad():
        seen = not torch.equal(first_chunk(made), first_chunk(torch.cat([made[:, :3], made[:, 3:] + 1], 1)))
    assert seen == (source == "teacher")
    stage.loss(GENERATOR, 0, 0).backward()
    assert norm(stage._networks.generator) > 0


def test_the_critic_is_updated_more_often(stage1: DistillStage) -> None:
    assert [stage1.updates(step) for step in range(3)] == [(GENERATOR, CRITIC), (CRITIC,), (GENERATOR, CRITIC)]


def test_a_part_is_a_pure_function_of_its_step(stage1: DistillStage) -> None:
    losses = [float(stage1.loss(CRITIC, step, 0).detach()) for step in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("stage", ["teacher", "stage1"])
@pytest.mark.parametrize(
    "change",
    [
        "model.transformer.injection=channel",
        "model.transformer.indicator=learned",
        "model.transformer.indicator=none",
        "model.captions=target",
        "model.context=first",
    ],
)
def test_the_ablations_reach_training(
    finished: Path, copy: Copy, command: Command, contents: Contents, stage: str, change: str
) -> None:
    directory = copy("ablation", "latents", stage)
    assert main(command(stage, directory, changes=(f"{stage}.loop.steps=1", change))) == 0
    there, paper = contents(directory / stage), contents(finished / stage)
    name = GENERATOR if stage == "stage1" else NETWORK
    embedding = f"networks.{name}.patch_embedding.weight"
    widened = there[embedding].shape[1] > paper[embedding].shape[1]
    assert widened == ("channel" in change)
    learned = f"networks.{name}.shot_embedding" in there
    assert learned == ("learned" in change)
    key = f"optimizers.{name}.blocks.0.self_attn.q.weight.exp_avg"
    assert float(there[key].norm()) > 0


@pytest.mark.parametrize("stage", ["teacher", "stage1"])
def test_blocks_computed_again_train_alike(copy: Copy, command: Command, contents: Contents, stage: str) -> None:
    directories = [copy(name, stage) for name in ("kept", "again")]
    for directory, again in zip(directories, ("false", "true"), strict=True):
        change = f"distributed.checkpoint_activations={again}"
        assert main(command(stage, directory, changes=(change, f"{stage}.loop.steps=3"))) == 0
    kept, again = (contents(directory / stage) for directory in directories)
    assert kept.keys() == again.keys()
    for name, value in kept.items():
        torch.testing.assert_close(again[name], value, rtol=1e-6, atol=1e-6)
