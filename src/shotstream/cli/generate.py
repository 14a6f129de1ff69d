"""`shotstream generate`: a story in, a video out, each shot on disk as soon as it is done."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import shotstream
from shotstream.cli.options import (
    ContextOption,
    GuidanceOption,
    JsonFile,
    ModelOptions,
    NegativePromptOption,
    examples,
    flat_options,
)
from shotstream.cli.output import check_outputs, emit_json, make_console
from shotstream.core.atomic_files import make_directory, writing
from shotstream.core.errors import InputError
from shotstream.core.log import show_warnings
from shotstream.core.spec import as_video_size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from shotstream.engine.render import Begin, Mode, Outputs
    from shotstream.story.script import Script

DEFAULT_SEED = 0
_log = logging.getLogger(__name__)


app = typer.Typer()


@dataclass(frozen=True)
class StoryOptions:
    """Options of the story that is made, where its script does not say."""

    seed: Annotated[
        int | None, typer.Option(metavar="S", show_default=f"the story's own, else {DEFAULT_SEED}", help="Noise seed.")
    ] = None
    chunks: Annotated[
        int | None, typer.Option(metavar="N", help="Length of shots for which the story names none, in chunks.")
    ] = None
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", show_default="the model's", help="Width and height, divisible by 16."),
    ] = None
    context: ContextOption = None
    guidance: GuidanceOption = None
    negative_prompt: NegativePromptOption = ""
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Refuse captions that are too long for the text encoder, or have words that the model does not know.",
        ),
    ] = False

    def guided(self, script: "Script") -> tuple[float | None, str]:
        """Return the guidance and the negative prompt of a story: those of the options, or else of its script."""
        guidance = script.guidance if self.guidance is None else self.guidance
        return guidance, self.negative_prompt or script.negative_prompt


@app.command(
    "generate",
    epilog=examples(
        "shotstream generate fox.yaml -o fox.mp4",
        'shotstream generate "A fox in a forest. | The fox waves. | The fox eats." -o fox.mp4 --seed 7',
        "shotstream generate fox.yaml -o fox.mp4 --resume",
    ),
)
@flat_options
def run(
    story: Annotated[
        str,
        typer.Argument(
            metavar="STORY", help='A .yaml, .json, .csv, .txt or .jsonl file, or a line "global | shot | shot".'
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT.mp4", help="The video; for several stories, a directory."),
    ],
    options: StoryOptions,
    model: ModelOptions,
    frames: Annotated[Path | None, typer.Option(metavar="DIR", help="Write every frame as PNG too.")] = None,
    gif: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a GIF too.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last finished shot.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Make a video of a story; each shot is on disk as soon as it is done."""
    from shotstream.story.script_files import load_scripts

    show_warnings()
    check_outputs(json_file)
    mode = _mode(resume=resume, overwrite=overwrite)
    shape = model.shot_shape()
    scripts = load_scripts(story, options.chunks, shape)
    _check_options(options)
    jobs = list(zip(scripts, plan_outputs(output, frames, gif, len(scripts)), strict=True))
    for script, outputs in jobs:
        outputs.check(mode)
        model.check_script(script, shape)
    opened = model.open()
    for script in scripts:
        opened.check_guidance(*options.guided(script))
        _check_export(opened, script)
        opened.check_script(script)
    _check_captions(opened, scripts, options)
    made = [
        _make(opened, script, outputs, mode, options, make_console(json_file, wrap=False)) for script, outputs in jobs
    ]
    emit_json(json_file, {"stories": made})


def _mode(*, resume: bool, overwrite: bool) -> "Mode":
    if resume and overwrite:
        raise InputError("expected --resume or --overwrite, got both; leave one of them out")
    return "resume" if resume else "overwrite" if overwrite else "new"


def _check_options(options: StoryOptions) -> None:
    """Raise InputError for an option that no model can follow."""
    from shotstream.story.relevance import check_selector
    from shotstream.story.shot_spec import check_seed

    if options.seed is not None:
        check_seed(options.seed)
    if options.context is not None:
        check_selector(options.context)
    if options.size is not None:
        as_video_size(options.size)


def _make(
    model: "shotstream.Model",
    script: "Script",
    outputs: "Outputs",
    mode: "Mode",
    options: StoryOptions,
    console: "Console",
) -> dict[str, Any]:
    """Make one story, show a line about it, and return the same for programs."""
    seed = next(seed for seed in (options.seed, script.seed, DEFAULT_SEED) if seed is not None)
    size = None if options.size is None else as_video_size(options.size)
    guidance, negative_prompt = options.guided(script)

    def begin(directory: Path) -> shotstream.Story:
        return model.story(
            script.global_caption,
            seed=seed,
            directory=directory,
            size=size,
            context=options.context,
            script=script,
            strict=None,
            guidance=guidance,
            negative_prompt=negative_prompt,
        )

    total = sum(model.policy.frames(script, model.config.shot))
    frames, meter = _generate(begin, script, outputs, mode, console, total)
    _finish(script, outputs)
    lossy = "".join(f"; LOSSY: {how}" for how in model.lossy)
    shots = "1 shot" if len(script.shots) == 1 else f"{len(script.shots)} shots"
    console.print(f"{outputs.video}: {shots}, {frames} frames, seed {seed}{meter.summary}{lossy}")
    return {
        "video": str(outputs.video),
        "shots": len(script.shots),
        "frames": frames,
        "seed": seed,
        "fps": meter.fps if meter.frames else None,
        "first_frame_s": meter.first_frame_s,
        "lossy": list(model.lossy),
    }


def _check_export(model: "shotstream.Model", script: "Script") -> None:
    """Raise InputError where the finished video cannot be as the script wants it, before anything is made."""
    from shotstream.serve.films import find_audio_format

    script.export.check_fade(model.policy.frames(script, model.config.shot))
    if script.export.soundtrack is not None:
        find_audio_format(Path(script.export.soundtrack), script.export.soundtrack)


def _finish(script: "Script", outputs: "Outputs") -> None:
    """Write the video again as the script wants it: larger, with cross-fades or a soundtrack."""
    from shotstream.serve.exports import finish_video
    from shotstream.story.script import ScriptExport

    if script.export != ScriptExport():
        finish_video(outputs.shots, outputs.video, script.export)


def _check_captions(model: "shotstream.Model", scripts: "Sequence[Script]", options: StoryOptions) -> None:
    """Warn of captions that the model will not follow wholly; with `--strict` refuse them."""
    from shotstream.story.caption_fit import captions_of_script, check_captions

    for number, script in enumerate(scripts, start=1):
        story = f"story {number}" if len(scripts) > 1 else ""
        captions = captions_of_script(script, one_prompt=model.policy.one_prompt)
        found = check_captions(model.check_caption, script.global_caption, captions)
        places = [(caption.where or "global caption", report) for caption, report in found]
        places.append(("negative prompt", model.check_negative_prompt(options.guided(script)[1])))
        for where, report in places:
            place = ", ".join(filter(None, (story, where)))
            if options.strict and report.lines:
                raise InputError(f"{place}: {' '.join(report.lines)}")
            for line in report.lines:
                _log.warning("%s: %s", place, line)


def plan_outputs(output: Path, frames: Path | None, gif: Path | None, stories: int) -> "list[Outputs]":
    """Choose the files of each story: the output itself for one story, `out-000.mp4` .. for several.

    An output that is a directory, or has no suffix and more than one story to hold, gets `story-000.mp4` ...

    Raises:
        InputError: the directory cannot be made.
    """
    from shotstream.engine.render import Outputs

    with writing(output):
        into_directory = output.is_dir() or (stories > 1 and not output.suffix)
    if into_directory:
        outputs = Outputs(make_directory(output) / "story.mp4", frames, gif)
        return [outputs.numbered(number) for number in range(stories)]
    outputs = Outputs(output, frames, gif)
    return [outputs] if stories == 1 else [outputs.numbered(number) for number in range(stories)]


def _generate(
    begin: "Begin", script: "Script", outputs: "Outputs", mode: "Mode", console: "Console", total: int
) -> tuple[int, "Meter"]:
    from shotstream.engine.render import produce

    with _watching(script, console, total) as meter:
        try:
            frames = produce(begin, script, outputs, mode=mode, watch=meter)
        except (KeyboardInterrupt, InputError):
            if meter.frames:
                console.print(f"The finished shots are in {outputs.shots}; --resume goes on after them")
            raise
    return frames, meter


@dataclass
class Meter:
    """Counts frames against the clock, and shows it."""

    progress: "Progress"
    task: Any
    shots: int
    started_s: float = field(default_factory=time.perf_counter)
    frames: int = 0
    first_frame_s: float | None = None

    def kept(self, frames: int) -> None:
        """Report a shot that was there already."""
        self.progress.update(self.task, advance=frames)

    def made(self, shot_index: int, frames: int) -> None:
        """Report frames of a shot that were made."""
        elapsed_s = time.perf_counter() - self.started_s
        self.first_frame_s = elapsed_s if self.first_frame_s is None else self.first_frame_s
        self.frames += frames
        speed = f"{self.fps:.1f} FPS, first frame after {self.first_frame_s:.2f} s"
        self.progress.update(self.task, advance=frames, shot=f"shot {shot_index + 1}/{self.shots}", speed=speed)

    @property
    def fps(self) -> float:
        """Return the frames per second since the start."""
        return self.frames / max(time.perf_counter() - self.started_s, 1e-9)

    @property
    def summary(self) -> str:
        """Speed and time to first frame, in words; nothing where nothing had to be made."""
        if self.first_frame_s is None:
            return ""
        return f", {self.fps:.1f} FPS, first frame after {self.first_frame_s:.2f} s"


@contextmanager
def _watching(script: "Script", console: "Console", total: int) -> Iterator[Meter]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[shot]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames  {task.fields[speed]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total, shot="starting", speed="")
        yield Meter(progress, task, len(script.shots))
