"""`shotstream world`: render StoryWorld stories, write data sets, train the trait reader, list known words."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TextColumn
from rich.table import Table

from shotstream.cli.progress import counted
from shotstream.core.atomic_files import check_target
from shotstream.core.errors import InputError
from shotstream.core.spec import FPS
from shotstream.core.video import write_video
from shotstream.world.captions import story_captions
from shotstream.world.dataset import write_dataset
from shotstream.world.render import render_story
from shotstream.world.stories import sample_story
from shotstream.world.trait_reader import TraitReader
from shotstream.world.trait_reader_training import (
    HELD_OUT_SEED,
    TraitReaderTraining,
    accuracy_table,
    degrade_frames,
    save_trait_reader,
    train_trait_reader,
)
from shotstream.world.traits import FRAMINGS
from shotstream.world.words import vocabulary


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds `world` and its commands."""
    parser = subparsers.add_parser("world", help="StoryWorld: rendered stories with ground truth")
    commands = parser.add_subparsers(dest="world_command", required=True, metavar="COMMAND")
    render = commands.add_parser("render", help="render one story as a video")
    render.add_argument("--seed", type=int, default=0, help="which story (default 0)")
    render.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.mp4")
    render.set_defaults(run=_render)
    dataset = commands.add_parser("dataset", help="render many stories: CSV + JSON + mp4 + ground truth")
    dataset.add_argument("--stories", type=int, required=True, metavar="N")
    dataset.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    dataset.add_argument("--seed", type=int, default=0, help="seed of the first story (default 0)")
    dataset.set_defaults(run=_dataset)
    train = commands.add_parser("train-trait-reader", help="train the trait reader on renders")
    train.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.safetensors")
    train.add_argument("--minutes", type=float, default=TraitReaderTraining.minutes)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--start", type=Path, default=None, metavar="FILE", help="weights to train further")
    train.add_argument("--learning-rate", type=float, default=TraitReaderTraining.learning_rate)
    train.set_defaults(run=_train_trait_reader)
    check = commands.add_parser("check-trait-reader", help="how much the trait reader reads right on held-out renders")
    check.add_argument("--stories", type=int, default=100, metavar="N")
    check.add_argument("--weights", type=Path, default=None, metavar="FILE", help="default: those of the package")
    check.add_argument("--degraded", action="store_true", help="read frames with blur, noise and lost detail")
    check.set_defaults(run=_check_trait_reader)
    words = commands.add_parser("words", help="which words the world knows, by trait")
    words.set_defaults(run=_words)


def _render(args: argparse.Namespace) -> int:
    story = sample_story(args.seed)
    frames = write_video(args.output, render_story(story), FPS)
    console = Console()
    global_caption, shots = story_captions(story)
    console.print(global_caption, highlight=False)
    for number, caption in enumerate(shots, start=1):
        console.print(f"  {number}. {caption}", highlight=False)
    console.print(f"{args.output}: {frames} frames at {FPS} a second", highlight=False)
    return 0


def _dataset(args: argparse.Namespace) -> int:
    if args.stories < 1:
        raise InputError(f"expected at least one story, got --stories {args.stories}")
    console = Console()
    seeds = counted(range(args.seed, args.seed + args.stories), "rendering", args.stories)
    path = write_dataset((sample_story(seed) for seed in seeds), args.output)
    console.print(f"{path}: {args.stories} stories", highlight=False)
    return 0


def _train_trait_reader(args: argparse.Namespace) -> int:
    if args.minutes <= 0:
        raise InputError(f"expected a positive number of minutes, got --minutes {args.minutes}")
    check_target(args.output)
    start = None if args.start is None else TraitReader.load(path=args.start)
    console = Console()
    with Progress(*Progress.get_default_columns(), TextColumn("loss {task.fields[loss]:.2f}"), console=console) as bar:
        task = bar.add_task("training", total=1.0, loss=float("nan"))
        network = train_trait_reader(
            TraitReaderTraining(minutes=args.minutes, seed=args.seed, learning_rate=args.learning_rate),
            lambda share, loss: bar.update(task, completed=share, loss=loss),
            start,
        )
    save_trait_reader(network, args.output)
    console.print(f"{args.output}: check it with 'shotstream world check-trait-reader --weights {args.output}'")
    return 0


def _check_trait_reader(args: argparse.Namespace) -> int:
    if args.stories < 1:
        raise InputError(f"expected at least one story, got --stories {args.stories}")
    reader, seeds = TraitReader.load(path=args.weights), range(HELD_OUT_SEED, HELD_OUT_SEED + args.stories)
    accuracies = accuracy_table(reader, seeds, degrade_frames if args.degraded else None)
    table = Table("trait", "all", *FRAMINGS, title=f"read right in the shots of {args.stories} held-out stories, %")
    for trait, shares in accuracies.items():
        table.add_row(trait, *(f"{100 * shares[name]:.1f}" for name in ("all", *FRAMINGS)))
    Console().print(table)
    return 0


def _words(_args: argparse.Namespace) -> int:
    table = Table("trait", "value", "words", title="what StoryWorld knows")
    for trait, values in vocabulary().items():
        for number, (value, phrases) in enumerate(values.items(), start=1):
            table.add_row("" if number > 1 else trait, value, ", ".join(phrases), end_section=number == len(values))
    Console().print(table)
    return 0
