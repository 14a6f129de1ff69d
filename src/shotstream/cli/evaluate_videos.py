"""`shotstream evaluate videos` and `evaluate model`: the paper's columns on any system's videos."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shotstream.cli.options import DEFAULT_MODEL, Device, JsonFile, ModelOptions, examples, flat_options
from shotstream.cli.output import emit_json, make_console
from shotstream.core.errors import InputError

if TYPE_CHECKING:
    from shotstream.metrics.backbones import Backbones
    from shotstream.metrics.evaluation import Evaluation
    from shotstream.metrics.videos import ScoredVideo, UnreadableVideo

JUDGE_KEY_VARIABLE = "SHOTSTREAM_JUDGE_KEY"
SHOWN_NOTES = 10
SAMPLING_OPTIONS = ("steps", "sampler", "decoder")
"""Options of a model, besides its policy, that change its videos and not its weights."""

app = typer.Typer()


@dataclass(frozen=True)
class MetricOptions:
    """Options of the metrics: files of results, networks, and the scoring of cuts."""

    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Results and features; a run that stopped goes on.")
    ] = Path("evaluation")
    backbone: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=ID", help="Another network: dino, clip, dinov2, video, detector, sam, aesthetic."),
    ] = None
    penalty: Annotated[
        float | None,
        typer.Option(metavar="FRAMES", show_default="longest shot", help="Cost of a missed or an extra cut."),
    ] = None
    judge: Annotated[
        str | None,
        typer.Option(metavar="URL", show_default="none", help="Ask a vision model too: an OpenAI-compatible base URL."),
    ] = None
    judge_model: Annotated[str, typer.Option(metavar="M", help="Model that the judge's endpoint is asked for.")] = (
        "default"
    )
    judge_repeats: Annotated[int, typer.Option(metavar="N", help="How often the judge rates each story.")] = 3
    tolerance: Annotated[int, typer.Option(metavar="FRAMES", help="A cut this near counts as found, for F1.")] = 2

    def open(self, device: str) -> "Backbones":
        """Return the networks and the judge that the options name.

        Raises:
            InputError: an option names none.
        """
        from shotstream.metrics.backbones import BACKBONES, Backbones
        from shotstream.metrics.judge import Judge
        from shotstream.model.device import pick_device

        key = os.environ.get(JUDGE_KEY_VARIABLE, "")
        judge = self.judge and Judge(self.judge, self.judge_model, self.judge_repeats, key)
        ids = dict(_parse_backbones(self.backbone or [], list(BACKBONES)))
        return Backbones(pick_device(device), ids, judge or None)


@app.command(
    "videos",
    epilog=examples(
        "shotstream evaluate videos outputs/ -o results/",
        "shotstream evaluate videos outputs/ --backbone dino=./dino-vitb16 --penalty 81",
        "SHOTSTREAM_JUDGE_KEY=secret shotstream evaluate videos outputs/ --judge http://localhost:8000/v1",
    ),
)
@flat_options
def evaluate_videos(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Videos with scripts of the same name or with a CSV; or that CSV.")
    ],
    metrics: MetricOptions,
    device: Device = "auto",
    json_file: JsonFile = None,
) -> None:
    """Score videos of any system with the columns of the paper's Table 1."""
    from shotstream.metrics.videos import find_videos

    if metrics.output.resolve() == directory.resolve():
        raise InputError(f"expected --output in another directory than the videos, got {metrics.output}")
    backbones = metrics.open(device)
    _evaluate(list(find_videos(directory)), metrics, backbones, json_file, str(directory))


@app.command(
    "model",
    epilog=examples("shotstream evaluate model storyworld --scripts prompts/short -o results/"),
)
@flat_options
def evaluate_model(
    options: ModelOptions,
    metrics: MetricOptions,
    scripts: Annotated[Path, typer.Option(metavar="S", help="A script, a CSV of scripts, or a directory of them.")],
    model_name: Annotated[
        str | None, typer.Argument(metavar="[M]", show_default=DEFAULT_MODEL, help="The model, as --model.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the first story.")] = 0,
    json_file: JsonFile = None,
) -> None:
    """Generate a video for each script, then score them as `evaluate videos` does."""
    from shotstream.metrics.generation import generate_videos
    from shotstream.metrics.videos import UnreadableVideo, find_videos

    options, backbones = replace(options, model=model_name or options.model), metrics.open(options.device)
    directory, depends = metrics.output / "videos", {key: getattr(options, key) for key in SAMPLING_OPTIONS}
    reasons = {}
    for name, reason in generate_videos(options.open(), scripts, directory, seed, depends, options.policy):
        reasons[name] = reason
        make_console(json_file).print(f"{name}: {f'not generated: {reason}' if reason else 'ready'}")
    made = [] if all(reasons.values()) else [one for one in find_videos(directory) if reasons.get(one.name) == ""]
    failed = [UnreadableVideo(name, reason) for name, reason in reasons.items() if reason]
    _evaluate([*made, *failed], metrics, backbones, json_file, options.model)


def _evaluate(
    videos: "Sequence[ScoredVideo | UnreadableVideo]",
    options: MetricOptions,
    backbones: "Backbones",
    json_file: Path | None,
    source: str,
) -> None:
    from shotstream.cli.progress import counted
    from shotstream.core.atomic_files import write_bytes
    from shotstream.metrics.columns import CutSettings
    from shotstream.metrics.evaluation import evaluate_videos, load_story_features, to_data
    from shotstream.metrics.tables import to_csv, to_html, to_markdown

    settings = CutSettings(options.penalty, options.tolerance)
    evaluation = evaluate_videos(counted(videos, "video", len(videos)), options.output, backbones, settings, source)
    features = load_story_features(options.output, videos)
    write_bytes(options.output / "results.csv", to_csv(evaluation).encode())
    write_bytes(options.output / "results.md", to_markdown(evaluation).encode())
    write_bytes(options.output / "results.html", to_html(evaluation, features).encode())
    _show(evaluation, json_file)
    make_console(json_file, wrap=False).print(f"{options.output}: results.json, results.csv, results.md, results.html")
    emit_json(json_file, to_data(evaluation))


def _parse_backbones(words: list[str], known: list[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, equals, model_id = word.partition("=")
        if not equals or name not in known:
            raise InputError(f"expected --backbone NAME=ID with a name of {', '.join(known)}, got '{word}'")
        yield name, model_id


def _show(evaluation: "Evaluation", json_file: Path | None) -> None:
    from rich.table import Table

    from shotstream.metrics.tables import count_stories, missing_networks, show_mean

    means = evaluation.means
    table = Table("metric", "mean (95% interval)", "stories", title=count_stories(evaluation))
    for column in evaluation.columns:
        mean = means.get(column.key)
        table.add_row(column.title, show_mean(evaluation, column), str(mean.cases) if mean else "")
    console = make_console(json_file, wrap=False)
    console.print(table)
    for reason, titles in missing_networks(evaluation).items():
        console.print(f"not available: {', '.join(titles)}; {reason}")
    for video in evaluation.failed:
        console.print(f"left out: {video.name}: {video.reason}")
    notes = [f"note: {story.name}: {note}" for story in evaluation.stories for note in story.notes]
    for note in notes[:SHOWN_NOTES]:
        console.print(note)
    if len(notes) > SHOWN_NOTES:
        console.print(f"and {len(notes) - SHOWN_NOTES} more notes in results.md")
