"""`shotstream evaluate`: a model's scores by StoryWorld's trait reader, on stories it has never seen."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import shotstream
from shotstream.cli import evaluate_compare, evaluate_errors, evaluate_videos
from shotstream.cli.options import (
    DEFAULT_MODEL,
    ContextOption,
    Device,
    JsonFile,
    ModelName,
    SamplerOption,
    examples,
    flat_options,
)
from shotstream.cli.output import check_outputs, emit_json, make_console
from shotstream.core.errors import InputError

if TYPE_CHECKING:
    from shotstream.scores.reports import ScoreReport
    from shotstream.scores.saved_stories import MakeStory
    from shotstream.scores.story_scores import ScoredStory
    from shotstream.world.scene import WorldStory

SHEET_STORIES = 20
"""A contact sheet shows the first so many stories."""

app = typer.Typer(name="evaluate", invoke_without_command=True)
app.add_typer(evaluate_compare.app)
app.add_typer(evaluate_errors.app)
app.add_typer(evaluate_videos.app)


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of an evaluation: the model, the stories, and how the model is sampled."""

    model: ModelName = DEFAULT_MODEL
    device: Device = "auto"
    stories: Annotated[int, typer.Option(metavar="N", help="How many unseen stories.")] = 50
    shots: Annotated[int | None, typer.Option(metavar="N", show_default="2 to 5", help="Shots of a story.")] = None
    truth: Annotated[bool, typer.Option("--truth", help="Score true renders instead of a model's.")] = False
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", show_default="the model's", help="Steps a chunk (of fixed steps: fewer)."),
    ] = None
    sampler: SamplerOption = None
    guidance: Annotated[
        float | None, typer.Option(metavar="G", show_default="the model's", help="Guidance; 1 is none.")
    ] = None
    guided: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", show_default="all", help="Use guidance at noise levels between these only."),
    ] = None
    context: ContextOption = None
    frechet: Annotated[
        bool, typer.Option("--frechet", help="Also the Fréchet distance from true renders, in the reader's features.")
    ] = False
    policy: Annotated[
        str | None,
        typer.Option(metavar="P", show_default="the model's", help="System that makes the stories; see policies."),
    ] = None
    phrasing: Annotated[Literal["grammar", "people"], typer.Option(help="Who words the captions.")] = "grammar"

    def check(self) -> None:
        """Raise InputError for what cannot be measured."""
        from shotstream.story.relevance import check_selector

        if self.context is not None:
            check_selector(self.context)
        if self.truth and self.phrasing != "grammar":
            raise InputError(
                f"expected --truth without captions, got --phrasing {self.phrasing}; leave one of them out"
            )
        for name in ("stories", "shots", "steps"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"expected --{name} of at least 1, got {value}")
        if self.guided is not None and not 0 <= self.guided[0] <= self.guided[1] <= 1:
            low, high = self.guided
            raise InputError(f"expected --guided LOW HIGH with 0 <= LOW <= HIGH <= 1, got {low:g} {high:g}")

    @property
    def asked(self) -> dict[str, Any]:
        """Return the settings that the report names."""
        asked = {name: value for name, value in asdict(self).items() if name not in ("device", "truth", "frechet")}
        return asked | ({"model": "truth", "phrasing": None} if self.truth else {})


@app.callback(
    epilog=examples(
        "shotstream evaluate --stories 50",
        "shotstream evaluate --model DIR --json scores.json --sheet sheet.png",
        "shotstream evaluate --stories 3 --shots 40 --save long/",
        "shotstream evaluate compare before.json after.json",
    ),
)
@flat_options
def run(
    context_: typer.Context,
    options: EvaluateOptions,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help=f"Write a contact sheet of {SHEET_STORIES} stories, a story a row."),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Save each story as lossless video; a run that stopped goes on from there."),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Score a model by StoryWorld's trait reader on unseen stories."""
    if context_.invoked_subcommand is not None:
        _refuse_options_before(context_, context_.invoked_subcommand)
        return
    _evaluate(options, sheet, save, json_file)


def _refuse_options_before(context: typer.Context, command: str) -> None:
    """Raise InputError for options in front of a subcommand: they are not its own and would be lost."""
    parameters = context.command.params
    given = [one.opts[0] for one in parameters if context.params.get(one.name or "") != one.default and one.opts]
    if given:
        raise InputError(f"expected the options of {command} behind its name, got {', '.join(given)} in front of it")


def _evaluate(options: EvaluateOptions, sheet_file: Path | None, save: Path | None, json_file: Path | None) -> None:
    import numpy as np

    from shotstream.cli.progress import counted
    from shotstream.scores.frechet import Frechet, shot_features
    from shotstream.scores.reports import ScoreReport, report_data
    from shotstream.scores.saved_stories import SavedStories
    from shotstream.scores.story_scores import held_out_stories, score_stories
    from shotstream.world.trait_reader import TraitReader

    check_outputs(json_file, sheet_file)
    options.check()
    sheet: list[Sequence[Any]] = []
    reader, features = TraitReader.load(), []

    def keep(made: "ScoredStory") -> None:
        if sheet_file and len(sheet) < SHEET_STORIES:
            sheet.append(made.shots)
        if options.frechet:
            features.append(shot_features(reader, [made.shots]))

    stories = held_out_stories(options.stories, shots=options.shots)
    make, made_by = (_render, "") if options.truth else _open_maker(options, stories)
    source: Iterable[ScoredStory] = (make(number, story) for number, story in enumerate(stories))
    if save is not None:
        saved = SavedStories.open(save, options.phrasing, options.asked | {"weights": made_by})
        source = saved.complete(stories, make)
    scores = score_stories(reader, counted(source, "scoring", options.stories), keep)
    frechet = None
    if options.frechet:
        others = held_out_stories(options.stories, first=options.stories, shots=options.shots)
        true, other = (shot_features(reader, (_render(0, one).shots for one in of)) for of in (stories, others))
        frechet = Frechet.of(np.concatenate(features), true, other)
    report = ScoreReport.of(scores, options.asked, frechet)
    _show(report, json_file)
    emit_json(json_file, report_data(report))
    if sheet_file and sheet:
        from shotstream.core.images import write_png
        from shotstream.scores.samples import story_sheet

        write_png(sheet_file, story_sheet(sheet))


def _show(report: "ScoreReport", json_file: Path | None) -> None:
    """Print the metrics, the two halves of the stories, and the shots by their number."""
    from rich.table import Table

    from shotstream.scores.intervals import in_points

    asked, walks = report.asked, report.walks
    told = f"worded by {asked['phrasing']}" if asked["phrasing"] else "true renders"
    table = Table("figure", "value", "95% interval", "of", title=f"{asked['stories']} unseen stories, {told}")
    for name, one in report.metrics.items():
        table.add_row(name, f"{one.value:.1%}", f"{one.low:.1%} to {one.high:.1%}", str(one.cases))
    if walks:
        table.caption = f"walks as measured differ from the true ones by {report.walk_gap:.1%} of the width in the mean"
    halves = Table("shots", "first half", "second half", "difference in points", title="First and second half")
    for name, (first, second) in report.decay.items():
        shown = (f"{one.value:.0%} ({100 * one.low:.0f} to {100 * one.high:.0f})" for one in (first, second))
        halves.add_row(name, *shown, in_points(second.minus(first), decimals=0))
    numbers = Table("shot", "traits right", "95% interval", "of", title="By shot number")
    for number, one in enumerate(report.shots, start=1):
        numbers.add_row(str(number), f"{one.value:.1%}", f"{one.low:.1%} to {one.high:.1%}", str(one.cases))
    distances = Table("shots since seen", "hidden traits kept", "95% interval", "of", title="Memory by distance")
    for distance, share in report.by_distance.items():
        one = share.estimate
        distances.add_row(str(distance), f"{one.value:.1%}", f"{one.low:.1%} to {one.high:.1%}", str(one.cases))
    if drift := report.drift:
        numbers.caption = f"drift over ten shots, in points: {in_points(drift)}"
    if found := report.frechet:
        halves.caption = (
            f"Fréchet distance from true renders {found.distance:.3g}; of other stories {found.other_stories:.3g}"
        )
    for part in (table, halves, numbers, distances):
        make_console(json_file).print(part)


def _render(_: int, story: Any) -> "ScoredStory":
    """Return a story as the world renders it."""
    from shotstream.scores.story_scores import ScoredStory
    from shotstream.world.render import render_story

    return ScoredStory(story, tuple(render_story(story)))


def _open_maker(options: EvaluateOptions, stories: "Sequence[WorldStory]") -> tuple["MakeStory", str]:
    """Open the model and return the function that makes a story with it, and the fingerprint of its weights.

    Raises:
        InputError: there is no such model, or its policy cannot make one of these stories.
    """
    from shotstream.scores.story_scores import make_story, write_script

    model = shotstream.open(options.model, device=options.device, policy=options.policy, sampler=options.sampler)
    for story in stories:
        model.check_script(write_script(story, model.config.shot, options.phrasing))
    sampler = model.config.sampler
    if options.steps is not None:
        few = sampler.kind == "few_step"
        sampler = sampler.fewer(options.steps) if few else replace(sampler, num_steps=options.steps)
    if options.guidance is not None:
        sampler = replace(sampler, guidance=options.guidance)
    if options.guided is not None:
        sampler = replace(sampler, guided=options.guided)
    how: dict[str, Any] = {"sampler": sampler, "context": options.context, "phrasing": options.phrasing}
    return (lambda number, story: make_story(model, story, seed=number, **how)), model.parts.fingerprint
