"""Trajectories of teacher and base: which states are kept, and that they are those of the sampler."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shotstream.cli import main
from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.data.batches import load_batch
from shotstream.engine.bidirectional_rollout import bidirectional_velocity
from shotstream.engine.sampler import Sampler
from shotstream.model.schedule import few_step_sigmas
from shotstream.train.config import Trajectories
from shotstream.train.distributed import DistributedContext
from shotstream.train.presets import TINY, Preset
from shotstream.train.recipe import Run
from shotstream.train.rng import normal
from shotstream.train.rollout import roll_out, shot_inputs
from shotstream.train.stages.trajectories import STATES, TrajectoryStore, kept_steps

NOMINAL = (1000.0, 740.0, 500.0, 260.0)


def test_states_are_kept_where_the_student_is_asked() -> None:
    assert kept_steps(50, NOMINAL) == (0, 13, 25, 37, 50)
    assert kept_steps(8, NOMINAL) == (0, 2, 4, 6, 8)


@torch.no_grad()
def test_the_states_are_those_of_the_teacher_sampled_whole(finished: Path, lively: Callable[..., Preset]) -> None:
    run = Run(finished, lively(), DistributedContext(torch.device("cpu"), lively().distributed))
    teacher = run.model("teacher").transformer
    batch, more = load_batch(finished / "trajectories" / "00001.safetensors")
    batch = batch.to(run.distributed.device)
    assert torch.equal(batch.target, run.shots(1).read_file(1).target.float())
    sampler = Sampler.from_config(run.sampler("teacher"))
    assert (len(sampler.sigmas), sampler.guidance) == (9, TINY.trajectories.guidance)
    predict = bidirectional_velocity(teacher, shot_inputs(batch), sampler)
    states = list(sampler.integrate(predict, normal(batch.target, "trajectory", 1)))
    expected = torch.stack([states[step] for step in (0, 2, 4, 6, 8)], 1)
    assert torch.equal(more[STATES], expected.bfloat16())
    assert not torch.equal(more[STATES][:, 0], more[STATES][:, -1])


def test_the_states_of_the_base_are_those_of_its_own_chunks(
    copy: Callable[..., Path], command: Callable[..., list[str]], lively: Callable[..., Preset]
) -> None:
    directory, change = copy("run", "trajectories", "init"), "trajectories.source=base"
    assert main(command("trajectories", directory, changes=(change,))) == 0
    distributed = DistributedContext(torch.device("cpu"), lively().distributed)
    run = Run(directory, lively(change), distributed)
    base, path = run.model("base").transformer, directory / "trajectories" / "00001.safetensors"
    batch, more = load_batch(path)
    batch = batch.to(distributed.device)
    sampler = Sampler.from_config(run.sampler("teacher"))
    inputs = replace(shot_inputs(batch), negative=torch.zeros_like(batch.text[:, :1]))
    chunks = normal(batch.target, "trajectory", 1).split(PAPER_SHOT.chunk_latents, 1)
    with torch.no_grad():
        made = roll_out(base, inputs, lambda chunk, _: chunks[chunk], sampler, distributed)
    states = more[STATES]
    assert torch.equal(states[:, -1], made.bfloat16())
    assert torch.equal(states[:, 0], torch.cat(chunks, 1).bfloat16())
    assert torch.isfinite(states).all()
    assert not torch.equal(states[:, 1], states[:, 2])
    assert main(command("init", directory, changes=(change,))) == 0
    with pytest.raises(InputError, match="was made with another source; remove it first"):
        Run(directory, lively(), distributed).make_trajectories(lambda _: None)


def test_noise_levels_are_near_the_students_and_end_at_zero(finished: Path) -> None:
    store = TrajectoryStore(finished / "trajectories", TINY.trajectories, TINY.student, "target")
    _, states, sigmas = store.read(0)
    assert states.shape[1] == len(sigmas) == 5
    assert sigmas[-1] == 0
    wanted = few_step_sigmas(NOMINAL, TINY.student.shift)
    assert sigmas[:-1].tolist() == pytest.approx(wanted, abs=0.015)
    again, _, _ = store.read(TINY.trajectories.batches)
    assert torch.equal(again.target, store.read(0)[0].target), "after the last comes the first"


def test_trajectories_of_another_teacher_are_not_mixed_in(
    copy: Callable[..., Path], lively: Callable[..., Preset]
) -> None:
    directory = copy("run")
    run = Run(directory, lively(), DistributedContext(torch.device("cpu"), lively().distributed))
    assert run.make_trajectories(lambda _: None), "what is there is this teacher's"
    shutil.rmtree(directory / "teacher" / "checkpoints" / "step-00000002")
    with pytest.raises(InputError, match="was made with another teacher; remove it first"):
        Run(directory, lively(), DistributedContext(torch.device("cpu"), lively().distributed)).make_trajectories(
            lambda _: None
        )


@pytest.mark.parametrize(
    ("change", "topic"), [("trajectories.source=base", "source"), ("trajectories.num_steps=4", "sampler")]
)
def test_the_student_begins_with_the_trajectories_that_it_is_told_of(
    copy: Callable[..., Path],
    command: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    change: str,
    topic: str,
) -> None:
    directory = copy("run", "init")
    assert main(command("init", directory, changes=(change,))) == 2
    assert f"was made with another {topic}; give the --preset and the --set" in capsys.readouterr().err
    shutil.rmtree(directory / "trajectories")
    assert main(command("init", directory)) == 2
    assert "has no trajectories yet; run 'shotstream train trajectories' first" in capsys.readouterr().err


def test_making_them_can_stop_and_go_on(copy: Callable[..., Path], lively: Callable[..., Preset]) -> None:
    directory = copy("run")
    made = directory / "trajectories"
    before = {path.name: path.read_bytes() for path in made.glob("*.safetensors")}
    for name in before:
        (made / name).unlink()
    run = Run(directory, lively(), DistributedContext(torch.device("cpu"), lively().distributed))
    assert not run.make_trajectories(lambda _: None, minutes=0)
    assert run.make_trajectories(lambda _: None)
    assert {path.name: path.read_bytes() for path in made.glob("*.safetensors")} == before


@pytest.mark.parametrize(
    ("stage", "filled"), [("trajectories", {"shots-2": 4}), ("samples", {"shots": 2, "shots-2": 4, "shots-3": 6})]
)
def test_what_is_made_ahead_is_what_is_read(
    copy: Callable[..., Path], command: Callable[..., list[str]], stage: str, filled: dict[str, int]
) -> None:
    run = copy("run", "latents", "trajectories")
    micro_batches = ("teacher.loop.micro_batches=2", "stage1.loop.micro_batches=3")
    assert main(command(stage, run, "--workers", "1", changes=micro_batches)) == 0
    pools = [path for path in (run / "latents").iterdir() if path.name != "pictures"]
    assert {path.name: len(list(path.glob("*.safetensors"))) for path in pools} == filled


def test_missing_trajectories_are_named(tmp_path: Path) -> None:
    store = TrajectoryStore(tmp_path, Trajectories(), TINY.student, "target")
    with pytest.raises(InputError, match="run 'shotstream train trajectories' to its end first"):
        store.read(7)
