"""`shotstream generate`: a story in, a video out, each shot on disk as soon as it is done."""

import argparse
import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import shotstream
from shotstream.cli.opening import add_model_arguments, open_asked
from shotstream.core.atomic_files import make_directory, writing
from shotstream.core.errors import InputError
from shotstream.core.log import show_warnings
from shotstream.core.spec import VideoSize, frames_of_chunks
from shotstream.engine.render import Begin, Mode, Outputs, caption_warnings, produce
from shotstream.story.relevance import SELECTOR_NAMES, check_selector
from shotstream.story.script import Script
from shotstream.story.script_files import load_scripts
from shotstream.story.shot_spec import check_seed

DEFAULT_SEED = 0
_log = logging.getLogger(__name__)


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds `generate`."""
    parser = subparsers.add_parser("generate", help="make a video of a story")
    parser.add_argument("story", metavar="STORY", help='a .yaml, .json or .csv, or a line "global | shot | shot"')
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT.mp4",
        help="the video (or, for many stories, a directory)",
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--seed", type=int, metavar="S", help=f"of the noise (default: the story's own, else {DEFAULT_SEED})"
    )
    parser.add_argument(
        "--chunks", type=int, metavar="N", help="length of shots for which the story names none, 1 to 7"
    )
    parser.add_argument("--size", metavar="WxH", help="width and height, divisible by 16 (default: the model's)")
    parser.add_argument(
        "--context", metavar="C", help=f"what is remembered: {', '.join(SELECTOR_NAMES)} (default: the model's)"
    )
    parser.add_argument("--strict", action="store_true", help="refuse captions that are too long for the text encoder")
    parser.add_argument("--frames", type=Path, metavar="DIR", help="write every frame as PNG too")
    parser.add_argument("--gif", type=Path, metavar="FILE", help="write a GIF too")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume", action="store_const", const="resume", dest="mode", help="go on after the last finished shot"
    )
    existing.add_argument(
        "--overwrite", action="store_const", const="overwrite", dest="mode", help="replace what exists"
    )
    parser.set_defaults(run=_run, mode="new")


def _run(args: argparse.Namespace) -> int:
    show_warnings()
    scripts = load_scripts(args.story, args.chunks)
    if args.seed is not None:
        check_seed(args.seed)
    if args.context is not None:
        check_selector(args.context)
    size = args.size and parse_size(args.size)
    jobs = list(zip(scripts, plan_outputs(args.output, args.frames, args.gif, len(scripts)), strict=True))
    for _, outputs in jobs:
        outputs.check(args.mode)
    model = open_asked(args)
    _check_captions(model, scripts, strict=args.strict)
    for script, outputs in jobs:
        seed = next(seed for seed in (args.seed, script.seed, DEFAULT_SEED) if seed is not None)
        begin = partial(_begin, model, script.global_caption, seed, size, args.context)
        frames, speed = _generate(begin, script, outputs, args.mode)
        lossy = "".join(f"; LOSSY: {how}" for how in model.lossy)
        _console().print(f"{outputs.video}: {len(script.shots)} shots, {frames} frames, seed {seed}{speed}{lossy}")
    return 0


def parse_size(text: str) -> VideoSize:
    """A size from "WIDTHxHEIGHT".

    Raises:
        InputError: it is not of that form, or a side is not divisible by 16.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text, re.ASCII)
    if match is None:
        raise InputError(f"expected a size as WIDTHxHEIGHT, got {text!r}; write for instance 128x80")
    return VideoSize(height=int(match[2]), width=int(match[1]))


def _begin(
    model: shotstream.Model,
    global_caption: str,
    seed: int,
    size: VideoSize | None,
    context: str | None,
    directory: Path,
) -> shotstream.Story:
    return model.story(global_caption, seed=seed, directory=directory, size=size, context=context)


def _check_captions(model: shotstream.Model, scripts: Sequence[Script], *, strict: bool) -> None:
    for number, script in enumerate(scripts, start=1):
        where = f"story {number}, " if len(scripts) > 1 else ""
        for warning in caption_warnings(model.truncation, script):
            if strict:
                raise InputError(where + warning)
            _log.warning("%s%s", where, warning)


def plan_outputs(output: Path, frames: Path | None, gif: Path | None, stories: int) -> list[Outputs]:
    """Where each of `stories` stories goes: the output itself for one, `out-000.mp4` .. for several.

    An output that is a directory, or has no suffix and more than one story to hold, gets `story-000.mp4` ...

    Raises:
        InputError: the directory cannot be made.
    """
    with writing(output):
        into_directory = output.is_dir() or (stories > 1 and not output.suffix)
    if into_directory:
        outputs = Outputs(make_directory(output) / "story.mp4", frames, gif)
        return [outputs.numbered(number) for number in range(stories)]
    outputs = Outputs(output, frames, gif)
    return [outputs] if stories == 1 else [outputs.numbered(number) for number in range(stories)]


def _generate(begin: Begin, script: Script, outputs: Outputs, mode: Mode) -> tuple[int, str]:
    console = _console()
    with _watching(script, console) as meter:
        try:
            frames = produce(begin, script, outputs, mode=mode, watch=meter)
        except (KeyboardInterrupt, InputError):
            if meter.frames:
                console.print(f"The finished shots are in {outputs.shots}; --resume goes on after them")
            raise
    return frames, meter.summary


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False, markup=False)


@dataclass
class Meter:
    """Counts frames against the clock, and shows it."""

    progress: Progress
    task: Any
    shots: int
    started_s: float = field(default_factory=time.perf_counter)
    frames: int = 0
    first_frame_s: float | None = None

    def kept(self, frames: int) -> None:
        """A shot was there already."""
        self.progress.update(self.task, advance=frames)

    def made(self, shot_index: int, frames: int) -> None:
        """Some frames of a shot were made."""
        elapsed_s = time.perf_counter() - self.started_s
        self.first_frame_s = elapsed_s if self.first_frame_s is None else self.first_frame_s
        self.frames += frames
        speed = f"{self.fps:.1f} FPS, first frame after {self.first_frame_s:.2f} s"
        self.progress.update(self.task, advance=frames, shot=f"shot {shot_index + 1}/{self.shots}", speed=speed)

    @property
    def fps(self) -> float:
        """Frames a second since the start."""
        return self.frames / max(time.perf_counter() - self.started_s, 1e-9)

    @property
    def summary(self) -> str:
        """Speed and time to first frame, in words; nothing where nothing had to be made."""
        if self.first_frame_s is None:
            return ""
        return f", {self.fps:.1f} FPS, first frame after {self.first_frame_s:.2f} s"


@contextmanager
def _watching(script: Script, console: Console) -> Iterator[Meter]:
    columns = (
        TextColumn("{task.fields[shot]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames  {task.fields[speed]}"),
        TimeElapsedColumn(),
    )
    total = sum(frames_of_chunks(shot.chunks) for shot in script.shots)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total, shot="starting", speed="")
        yield Meter(progress, task, len(script.shots))
