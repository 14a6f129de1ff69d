"""`shotstream world`: render stories of the procedural world, write data sets of them, train its judge."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from shotstream.core.errors import InputError
from shotstream.core.media import write_video
from shotstream.core.spec import FPS
from shotstream.world.captions import story_captions
from shotstream.world.dataset import write_dataset
from shotstream.world.render import render_story
from shotstream.world.stories import sample_story


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
    seeds = track(range(args.seed, args.seed + args.stories), description="rendering", console=console)
    path = write_dataset((sample_story(seed) for seed in seeds), args.output)
    console.print(f"{path}: {args.stories} stories", highlight=False)
    return 0
