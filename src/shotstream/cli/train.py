"""`shotstream train`: the stages of the recipe, each resumable, and the model they make."""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from shotstream.cli.progress import StageProgress
from shotstream.core.errors import InputError

SAMPLES = "samples"
STAGE_HELP = {
    SAMPLES: "make what base, teacher and stage 1 draw on; they may be trained beside it, and draw on what is there",
    "codec": "fit the codec's linear maps, then train its refinement",
    "text": "train the text encoder on captions",
    "base": "train the causal transformer by flow matching: pictures, then shots with their context",
    "teacher": "train the bidirectional next-shot teacher, from the base",
    "trajectories": "let the teacher make shots, and keep the states on the way",
    "init": "begin the student: a causal network that ends the teacher's trajectories",
    "stage1": "distil, shot by shot, after a ground-truth history",
    "stage2": "distil over whole stories, after the student's own history",
    "all": "every stage that is not done yet, in this order",
}
STEPPED = ("codec", "text", "base", "teacher", "init", "stage1", "stage2")
OPTIONS: Mapping[str, tuple[Sequence[str], Mapping[str, Any]]] = MappingProxyType(
    {
        "--minutes": (
            (*STEPPED, "trajectories", "all"),
            {"type": float, "help": "stop after that long in all; the same command goes on later"},
        ),
        "--steps": (STEPPED, {"type": int, "help": "length of the stage, over whose end the rate falls"}),
        "--workers": (
            (SAMPLES, "base", "teacher", "trajectories", "stage1", "all"),
            {"type": int, "metavar": "N", "help": "make all samples first, on that many processes"},
        ),
        "--board": (
            (*STEPPED, "all"),
            {"action": "store_true", "help": "write TensorBoard's event files too"},
        ),
    }
)
"""What only some of these commands have: which, and how it is given."""
SAMPLE_STORIES, SAMPLE_SHOTS = 4, 3


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds `train` with its stages."""
    parser = subparsers.add_parser("train", help="train a model, stage by stage")
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for name, text in STAGE_HELP.items():
        stage = _command(stages, name, _train, text)
        for option, (where, form) in OPTIONS.items():
            refused = {"action": _Refused, "const": where, "nargs": "?", "help": argparse.SUPPRESS}
            stage.add_argument(option, **(form if name in where else refused))
    warm_start = _command(stages, "adopt", _adopt, "begin a run with the stages that a model stands for")
    warm_start.add_argument(
        "stages", nargs="*", metavar="STAGE", help="codec, text, base to train on (default: all three)"
    )
    warm_start.add_argument("--model", default="storyworld", metavar="M", help="as for generate (default storyworld)")
    _command(
        stages, "probe", _probe, "time one step of every stage with random weights: what does the preset cost here?"
    )
    export = _command(stages, "export", _export, "write the model made so far as a directory of weights")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    export.add_argument("--stage", dest="of", metavar="STAGE", help="whose model (default: the latest of the recipe)")


class _Refused(argparse.Action):
    """An option that other commands have: `const` names them."""

    def __call__(self, parser: argparse.ArgumentParser, _namespace: Any, _values: Any, option: Any = None) -> None:
        parser.error(f"expected {option} with {', '.join(self.const)} only; leave it out")


def _command(stages: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = stages.add_parser(name, help=text)
    parser.add_argument(
        "--preset", default="storyworld", help="storyworld, storyworld-card, tiny or wan-1.3b (default storyworld)"
    )
    parser.add_argument("--run", type=Path, dest="directory", metavar="DIR", help="default: runs/PRESET")
    parser.add_argument(
        "--set", action="append", default=[], dest="changes", metavar="FIELD=VALUE", help="change a field of the preset"
    )
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument("--threads", type=int, help="processor threads to use (default: all cores)")
    parser.set_defaults(run=run)
    return parser


def _train(args: argparse.Namespace) -> int:
    run = _open(args)
    run.begin()
    try:
        if args.stage == SAMPLES:
            _fill(run, args.workers or os.cpu_count() or 1, *run.stages())
            return 0
        ends = None if args.minutes is None else time.monotonic() + 60 * args.minutes
        for stage in run.stages() if args.stage == "all" else (args.stage,):
            if args.workers:
                _fill(run, args.workers, stage)
            left = None if ends is None else (ends - time.monotonic()) / 60
            if not _run_stage(run, stage, left, board=args.board):
                break
    finally:
        run.execution.close()
    return 0


def _adopt(args: argparse.Namespace) -> int:
    from shotstream.train.recipe import PRETRAINED_STAGES
    from shotstream.train.warm_start import warm_start

    for name in args.stages:
        if name not in PRETRAINED_STAGES:
            raise InputError(f"expected stages of {', '.join(PRETRAINED_STAGES)}, got '{name}'")
    run = _open(args)
    run.begin()
    warm_start(run, args.model, [name for name in PRETRAINED_STAGES if name in args.stages or not args.stages])
    return 0


def _probe(args: argparse.Namespace) -> int:
    import json
    import sys
    from dataclasses import asdict
    from tempfile import TemporaryDirectory

    from shotstream.train.step_cost import Probe, probe

    def tell(cost: Probe) -> None:
        sys.stdout.write(json.dumps(asdict(cost)) + "\n")
        sys.stdout.flush()

    with TemporaryDirectory() as place:
        args.directory = Path(place)
        run = _open(args)
        probe(run.preset, run.execution, run.directory, tell)
    return 0


def _export(args: argparse.Namespace) -> int:
    run = _open(args)
    run.export(args.of or run.latest(), args.output)
    return 0


def _open(args: argparse.Namespace) -> Any:
    """The run that the arguments name, its preset changed as they say."""
    import torch

    from shotstream.model.device import pick_device
    from shotstream.train.distributed import DistributedContext
    from shotstream.train.presets import get_preset
    from shotstream.train.recipe import Run

    if args.threads:
        torch.set_num_threads(args.threads)
    changes = [_full_name(args, change) for change in args.changes]
    if getattr(args, "steps", None):
        changes.append(f"{args.stage}.loop.steps={args.steps}")
    preset = get_preset(args.preset, changes)
    execution = DistributedContext(pick_device(args.device), preset.execution)
    return Run(args.directory or Path("runs") / args.preset, preset, execution)


def _full_name(args: argparse.Namespace, change: str) -> str:
    """A field of the stage that is run may be named without the stage, where the preset has none of that name."""
    from dataclasses import fields

    from shotstream.train.presets import get_preset

    preset = get_preset(args.preset)
    stage, path = getattr(preset, args.stage, None), change.split("=")[0].split(".")
    own = {field.name for field in fields(stage)} if stage else set()
    whole = len(path) > 1 and path[0] in {field.name for field in fields(preset)}
    return f"{args.stage}.{change}" if path[0] in own and not whole else change


def _run_stage(run: Any, name: str, minutes: float | None, *, board: bool) -> bool:
    """Runs one stage to its end, or for so many minutes; returns whether it got to its end."""
    from shotstream.train.loop import train
    from shotstream.train.metrics_log import MetricsLog

    if name == "trajectories":
        with StageProgress(name, run.preset.trajectories.batches, shown=run.execution.main) as progress:
            return run.make_trajectories(lambda done: progress.report(done, {}), minutes)
    stage, config, directory = run.build(name), run.loop(name), run.directory / name
    with StageProgress(name, config.steps, shown=run.execution.main) as progress:
        figures = MetricsLog(directory, progress.report, board=board and run.execution.main)
        samples = _sampler(run, name, stage) if config.sample_every_steps else None
        return train(stage, directory, config, run.execution, figures, minutes=minutes, sample=samples)


def _sampler(run: Any, name: str, stage: Any) -> Any:
    """Makes a few stories with the weights of now, and scores them where there is a trait reader."""
    import numpy as np

    from shotstream.api import Model
    from shotstream.scores.samples import sample_scripts, sample_world

    def sample(step: int, directory: Path) -> Mapping[str, float]:  # noqa: ARG001
        weights = run.current(name, stage)
        if not run.execution.main:
            return {}
        model = Model(run.model(name, weights))
        if run.preset.source.kind == "storyworld":
            return sample_world(model, directory, SAMPLE_STORIES)
        draws = (np.random.default_rng(seed) for seed in range(SAMPLE_STORIES))
        return sample_scripts(model, directory, [run.source.draw_script(rng, SAMPLE_SHOTS) for rng in draws])

    return sample


def _fill(run: Any, workers: int, *stages: str) -> None:
    """Makes what stages draw on ahead of them; processes beside the main one wait for it."""
    for pool in run.pools(*stages):
        if not run.execution.main:
            pool.await_full()
            continue
        with StageProgress("samples", pool.files) as progress:
            pool.fill(workers, lambda done, progress=progress: progress.report(done, {}))
