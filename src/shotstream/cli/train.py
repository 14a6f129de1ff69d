"""`shotstream train`: the stages of the recipe, each resumable, and the model they make."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from shotstream.cli.options import examples, flat_options
from shotstream.cli.progress import StageProgress
from shotstream.core.errors import InputError
from shotstream.core.extras import require_packages

SAMPLES, TRAJECTORIES, ALL = "samples", "trajectories", "all"
STAGE_HELP = {
    "codec": "Fit the codec's linear maps, then train all of it with noise on its latents.",
    "text": "Train the text encoder on captions.",
    "base": "Train the causal transformer by flow matching: pictures, then shots with their context.",
    "teacher": "Train the bidirectional next-shot teacher, from the base.",
    "init": "Begin the student: a causal network that ends the teacher's trajectories.",
    "stage1": "Distil, shot by shot, after a ground-truth history.",
    "stage2": "Distil over whole stories, after the student's own history.",
    "policy": "Fine-tune the base for another policy, on whole videos.",
}
NEEDED = {"policy": " --set policy=echoshot"}
"""Words that the command of a stage cannot go without."""
WITH_WORKERS = ("base", "teacher", "stage1")
SAMPLE_STORIES, SAMPLE_SHOTS = 4, 3

Minutes = Annotated[
    float | None,
    typer.Option(metavar="M", help="Stop after that long in all; the same command goes on later."),
]
Steps = Annotated[
    int | None,
    typer.Option(
        metavar="N", show_default="the preset's", help="Length of the stage; the learning rate falls over its end."
    ),
]
Workers = Annotated[int | None, typer.Option(metavar="N", help="Make all samples first, with that many processes.")]
Board = Annotated[bool, typer.Option("--board", help="Write TensorBoard's event files too.")]


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training run: its preset, its directory, and its device."""

    preset: Annotated[str, typer.Option(metavar="P", help="storyworld, storyworld-card, tiny or wan-1.3b.")] = (
        "storyworld"
    )
    directory: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", show_default="runs/PRESET", help="Where the run is kept.")
    ] = None
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the preset; repeat it for more."),
    ] = None
    device: Annotated[str, typer.Option(metavar="D", help="auto, cpu, cuda or cuda:N.")] = "auto"
    threads: Annotated[
        int | None, typer.Option(metavar="N", show_default="all cores", help="Processor threads to use.")
    ] = None

    def open(self, stage: str, steps: int | None = None) -> Any:
        """Open the run, its preset changed as the options say; fields of `stage` may be named without it."""
        import torch

        from shotstream.model.device import pick_device
        from shotstream.train.distributed import DistributedContext
        from shotstream.train.presets import get_preset
        from shotstream.train.recipe import Run

        if self.threads:
            torch.set_num_threads(self.threads)
        changes = [_full_name(self.preset, stage, change) for change in self.changes or ()]
        if steps:
            changes.append(f"{stage}.loop.steps={steps}")
        preset = get_preset(self.preset, changes)
        distributed = DistributedContext(pick_device(self.device), preset.distributed)
        return Run(self.directory or Path("runs") / self.preset, preset, distributed)


app = typer.Typer(name="train", help="Train a model, stage by stage.", no_args_is_help=True)


def _add_stage(name: str, text: str) -> None:
    """Add the command of a stage: of those that make steps, some draw samples that can be made first."""

    def run_stage(options: TrainOptions, minutes: Minutes = None, steps: Steps = None, board: Board = False) -> None:
        _train(options.open(name, steps), (name,), minutes=minutes, board=board)

    def run_with_workers(
        options: TrainOptions,
        minutes: Minutes = None,
        steps: Steps = None,
        board: Board = False,
        workers: Workers = None,
    ) -> None:
        _train(options.open(name, steps), (name,), minutes=minutes, board=board, workers=workers)

    run = run_with_workers if name in WITH_WORKERS else run_stage
    example = f"shotstream train {name} --preset tiny{NEEDED.get(name, '')}"
    app.command(name, help=text, epilog=examples(example))(flat_options(run))


for _name, _text in STAGE_HELP.items():
    _add_stage(_name, _text)


@app.command(TRAJECTORIES, epilog=examples("shotstream train trajectories --preset tiny"))
@flat_options
def run_trajectories(options: TrainOptions, minutes: Minutes = None, workers: Workers = None) -> None:
    """Let the teacher make shots, and keep the states on the way."""
    _train(options.open(TRAJECTORIES), (TRAJECTORIES,), minutes=minutes, workers=workers)


@app.command(ALL, epilog=examples("shotstream train all --preset tiny", "shotstream train all --minutes 60"))
@flat_options
def run_all(options: TrainOptions, minutes: Minutes = None, board: Board = False, workers: Workers = None) -> None:
    """Run every stage that is not done yet, in the order of the recipe."""
    run = options.open(ALL)
    _train(run, run.stages(), minutes=minutes, board=board, workers=workers)


@app.command(SAMPLES, epilog=examples("shotstream train samples --workers 8"))
@flat_options
def run_samples(options: TrainOptions, workers: Workers = None) -> None:
    """Make what base, teacher and stage 1 draw on; they may be trained beside it, and draw on what is there."""
    run = options.open(SAMPLES)
    run.begin()
    try:
        _fill(run, workers or os.cpu_count() or 1, *run.stages())
    finally:
        run.distributed.close()


@app.command("warm-start", epilog=examples("shotstream train warm-start codec text --model storyworld --run runs/mine"))
@flat_options
def run_warm_start(
    options: TrainOptions,
    stages: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STAGE]...", show_default="all three", help="codec, text, base to train on."),
    ] = None,
    model: Annotated[str, typer.Option(metavar="M", help="As for generate.")] = "storyworld",
) -> None:
    """Begin a run with codec, text encoder or base of another model."""
    from shotstream.train.recipe import PRETRAINED_STAGES
    from shotstream.train.warm_start import warm_start

    for name in stages or ():
        if name not in PRETRAINED_STAGES:
            raise InputError(f"expected stages of {', '.join(PRETRAINED_STAGES)}, got '{name}'")
    run = options.open("warm-start")
    run.begin()
    warm_start(run, model, [name for name in PRETRAINED_STAGES if name in (stages or PRETRAINED_STAGES)])


@app.command("step-cost", epilog=examples("shotstream train step-cost --preset wan-1.3b --device cuda"))
@flat_options
def run_step_cost(options: TrainOptions) -> None:
    """Time one step of each stage from the teacher on, with random weights: a line of JSON for each.

    The stage `policy` is one of them where --set policy.policy=NAME names one.
    """
    import json
    import sys
    from dataclasses import asdict, replace
    from tempfile import TemporaryDirectory

    from shotstream.train.step_cost import StepCost, measure_steps

    def tell(cost: StepCost) -> None:
        sys.stdout.write(json.dumps(asdict(cost)) + "\n")
        sys.stdout.flush()

    with TemporaryDirectory() as place:
        run = replace(options, directory=Path(place)).open("step-cost")
        measure_steps(run.preset, run.distributed, run.directory, tell)


@app.command(
    "export",
    epilog=examples("shotstream train export -o my-model", "shotstream train export -o teacher --stage teacher"),
)
@flat_options
def run_export(
    options: TrainOptions,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The directory to write.")],
    stage: Annotated[
        str | None, typer.Option(metavar="STAGE", show_default="the latest of the recipe", help="Whose model.")
    ] = None,
) -> None:
    """Write the model made so far as a directory of weights."""
    run = options.open("export")
    run.export(stage or run.latest(), output)


def _train(
    run: Any, stages: Sequence[str], *, minutes: float | None, board: bool = False, workers: int | None = None
) -> None:
    """Run stages one after another, until all are done or the minutes are over."""
    _check_packages(run, stages, board=board)
    run.begin()
    try:
        ends = None if minutes is None else time.monotonic() + 60 * minutes
        for stage in stages:
            if workers:
                _fill(run, workers, stage)
            left = None if ends is None else (ends - time.monotonic()) / 60
            if not _run_stage(run, stage, left, board=board):
                break
    finally:
        run.distributed.close()


def _check_packages(run: Any, stages: Sequence[str], *, board: bool) -> None:
    """Raise InputError before there is work to lose if a stage, or the board, needs a package that is missing."""
    if board:
        require_packages("--board", "tensorboard")
    if "stage2" in stages and run.preset.stage2.lora.rank:
        require_packages("stage 2, which trains adapters,", "peft")


def _full_name(preset_name: str, stage_name: str, change: str) -> str:
    """Return a change with the stage in front, if it names a field of the stage that the preset itself lacks."""
    from dataclasses import fields

    from shotstream.train.presets import get_preset

    preset = get_preset(preset_name)
    stage, path = getattr(preset, stage_name, None), change.split("=")[0].split(".")
    own = {field.name for field in fields(stage)} if stage else set()
    whole = len(path) > 1 and path[0] in {field.name for field in fields(preset)}
    return f"{stage_name}.{change}" if path[0] in own and not whole else change


def _run_stage(run: Any, name: str, minutes: float | None, *, board: bool) -> bool:
    """Run one stage to its end, or for so many minutes, and return whether it ended."""
    from shotstream.train.build_stage import build_stage
    from shotstream.train.loop import train
    from shotstream.train.metrics_log import MetricsLog

    if name == "trajectories":
        with StageProgress(name, run.preset.trajectories.batches, shown=run.distributed.main) as progress:
            return run.make_trajectories(lambda done: progress.report(done, {}), minutes)
    stage, config, directory = build_stage(run, name), run.loop(name), run.directory / name
    with StageProgress(name, config.steps, shown=run.distributed.main) as progress:
        metrics = MetricsLog(directory, progress.report, board=board and run.distributed.main)
        samples = _sampler(run, name, stage) if config.sample_every_steps else None
        return train(stage, directory, config, run.distributed, metrics, minutes=minutes, sample=samples)


def _sampler(run: Any, name: str, stage: Any) -> Any:
    """Make a few stories with the current weights, and score them if there is a trait reader."""
    import numpy as np

    from shotstream.api import Model
    from shotstream.scores.samples import sample_scripts, sample_world

    def sample(step: int, directory: Path) -> Mapping[str, float]:  # noqa: ARG001
        weights = run.current(name, stage)
        if not run.distributed.main:
            return {}
        model = Model(run.model(name, weights))
        if run.preset.source.kind == "storyworld":
            return sample_world(model, directory, SAMPLE_STORIES)
        draws = (np.random.default_rng(seed) for seed in range(SAMPLE_STORIES))
        return sample_scripts(model, directory, [run.source.draw_script(rng, SAMPLE_SHOTS) for rng in draws])

    return sample


def _fill(run: Any, workers: int, *stages: str) -> None:
    """Make samples and other inputs of stages in advance. Only the main process does; others wait."""
    for pool in run.pools(*stages):
        if not run.distributed.main:
            pool.await_full()
            continue
        with StageProgress("samples", pool.files) as progress:
            pool.fill(workers, lambda done, progress=progress: progress.report(done, {}))
