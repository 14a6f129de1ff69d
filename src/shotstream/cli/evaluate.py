"""`shotstream evaluate`: a model's scores by StoryWorld's trait reader, on stories it has never seen."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

import shotstream
from shotstream.cli.progress import counted
from shotstream.core.atomic_files import check_target, write_bytes, write_json
from shotstream.core.errors import InputError
from shotstream.story.relevance import SELECTOR_NAMES, check_selector
from shotstream.story.selectors import SELECTORS, get_selector
from shotstream.world.phrasing import PHRASINGS

if TYPE_CHECKING:
    from shotstream.scores.denoising import StoryErrors
    from shotstream.scores.reports import ScoreReport

SHEET_STORIES = 20
"""A sheet shows the first so many stories."""


class _Kinds(argparse._SubParsersAction):
    """Commands with options of their own, which stand behind their names: those in front would be lost."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *rest: Any) -> None:
        given = [name for name, value in vars(namespace).items() if value != parser.get_default(name)]
        if given:
            kind, options = values[0], ", ".join(f"--{name}" for name in given)
            parser.error(f"expected the options of {kind} behind its name, got {options} in front of it")
        super().__call__(parser, namespace, values, *rest)


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds `evaluate` with its `compare` and `errors`."""
    parser = subparsers.add_parser("evaluate", help="score a model by StoryWorld's trait reader on unseen stories")
    parser.add_argument("--model", default="storyworld", metavar="M")
    parser.add_argument("--device", default="auto", metavar="D")
    parser.add_argument("--stories", type=int, default=50, metavar="N", help="how many unseen stories (default 50)")
    parser.add_argument("--shots", type=int, metavar="N", help="shots a story (default: 2 to 5)")
    parser.add_argument("--truth", action="store_true", help="score true renders instead of a model's")
    parser.add_argument("--steps", type=int, metavar="N", help="steps a chunk (of a fixed ladder: fewer)")
    parser.add_argument("--guidance", type=float, metavar="G", help="guidance (1: none)")
    parser.add_argument(
        "--guided", type=float, nargs=2, metavar=("LOW", "HIGH"), help="guidance at noise levels between these alone"
    )
    parser.add_argument(
        "--context", metavar="C", help=f"what is remembered: {', '.join(SELECTOR_NAMES)} (default: the model's)"
    )
    parser.add_argument(
        "--phrasing", choices=PHRASINGS, default=PHRASINGS[0], help=f"who words the captions (default {PHRASINGS[0]})"
    )
    parser.add_argument(
        "--sheet", type=Path, metavar="PNG", help=f"write a contact sheet of {SHEET_STORIES} stories: a story a row"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores as JSON")
    parser.set_defaults(run=_run)
    kinds = parser.add_subparsers(metavar="compare, errors", action=_Kinds)
    comparing = kinds.add_parser("compare", help="several scores side by side, with differences")
    comparing.add_argument(
        "scores", nargs="+", metavar="[NAME=]FILE[,FILE]", help="JSON of --json; files of one model are pooled"
    )
    comparing.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the table (default: show it)")
    comparing.add_argument("--chart", type=Path, metavar="SVG", help="write a picture of it")
    comparing.set_defaults(run=_compare)
    _add_errors_parser(kinds)


def _add_errors_parser(kinds: "argparse._SubParsersAction[Any]") -> None:
    parser = kinds.add_parser("errors", help="errors of clean latents predicted from noise, after the true past")
    parser.add_argument("models", nargs="*", default=["storyworld"], metavar="[NAME=]M", help="models, side by side")
    parser.add_argument("--device", default="auto", metavar="D")
    parser.add_argument("--stories", type=int, default=50, metavar="N", help="how many unseen stories (default 50)")
    parser.add_argument(
        "--contexts",
        nargs="+",
        default=[None],
        metavar="C",
        help=f"what is remembered, side by side: {', '.join(SELECTORS)} (default: the model's)",
    )
    parser.add_argument("--levels", type=float, nargs="+", metavar="L", help="noise levels above 0, up to 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the errors as JSON")
    parser.set_defaults(run=_errors)


def _run(args: argparse.Namespace) -> int:
    from shotstream.scores.reports import ScoreReport, write_report
    from shotstream.scores.story_scores import ScoredStory, held_out_stories, score_stories
    from shotstream.world.trait_reader import TraitReader

    _check(args)
    sheet: list[Sequence[Any]] = []

    def keep(made: ScoredStory) -> None:
        if args.sheet and len(sheet) < SHEET_STORIES:
            sheet.append(made.shots)

    stories = held_out_stories(args.stories, shots=args.shots)
    source = _render(stories) if args.truth else _generate(args, stories)
    scores = score_stories(TraitReader.load(), counted(source, "scoring", args.stories), keep)
    names = ("model", "context", "stories", "shots", "phrasing", "steps", "guidance", "guided")
    asked = {name: getattr(args, name) for name in names}
    report = ScoreReport.of(scores, asked | ({"model": "truth", "phrasing": None} if args.truth else {}))
    _show(report)
    if args.json:
        write_report(args.json, report)
    if sheet:
        from shotstream.core.images import write_png
        from shotstream.scores.samples import story_sheet

        write_png(args.sheet, story_sheet(sheet))
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raises InputError for what cannot be asked, or not be written."""
    _check_targets(args.json, args.sheet)
    if args.context is not None:
        check_selector(args.context)
    if args.truth and args.phrasing != PHRASINGS[0]:
        raise InputError(f"expected --truth without captions, got --phrasing {args.phrasing}; leave one of them out")
    for name in ("stories", "shots", "steps"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise InputError(f"expected --{name} of at least 1, got {value}")
    if args.guided is not None and not 0 <= args.guided[0] <= args.guided[1] <= 1:
        low, high = args.guided
        raise InputError(f"expected --guided LOW HIGH with 0 <= LOW <= HIGH <= 1, got {low:g} {high:g}")


def _check_targets(*paths: Path | None) -> None:
    """Raises InputError, before there is any work to lose, where one of these files cannot be written."""
    for path in filter(None, paths):
        check_target(path)


def _show(report: "ScoreReport") -> None:
    """The figures, the two halves of the stories, and the shots by their number."""
    from shotstream.scores.intervals import in_points

    asked, walks = report.asked, report.walks
    told = f"worded by {asked['phrasing']}" if asked["phrasing"] else "true renders"
    table = Table("figure", "value", "95% interval", "of", title=f"{asked['stories']} unseen stories, {told}")
    for name, one in report.figures.items():
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
    for part in (table, halves, numbers):
        Console().print(part)


def _render(stories: Sequence[Any]) -> Iterator[Any]:
    from shotstream.scores.story_scores import ScoredStory
    from shotstream.world.render import render_story

    return (ScoredStory(story, tuple(render_story(story))) for story in stories)


def _generate(args: argparse.Namespace, stories: Sequence[Any]) -> Iterator[Any]:
    from shotstream.scores.story_scores import make_story

    model = shotstream.open(args.model, device=args.device)
    sampler = model.config.sampler
    if args.steps is not None:
        few = sampler.kind == "few_step"
        sampler = sampler.fewer(args.steps) if few else replace(sampler, num_steps=args.steps)
    if args.guidance is not None:
        sampler = replace(sampler, guidance=args.guidance)
    if args.guided is not None:
        sampler = replace(sampler, guided=tuple(args.guided))
    options = {"sampler": sampler, "context": args.context, "phrasing": args.phrasing}
    return (make_story(model, story, seed=seed, **options) for seed, story in enumerate(stories))


def _compare(args: argparse.Namespace) -> int:
    from shotstream.scores.compare import Column, compare, comparison_chart
    from shotstream.scores.reports import read_report

    _check_targets(args.output, args.chart)
    columns = []
    for word in args.scores:
        name, files = _named(word)
        paths = [Path(path) for path in files.split(",")]
        columns.append(Column.of(name or paths[0].stem, [read_report(path) for path in paths]))
    table = compare(columns)
    if args.output:
        write_bytes(args.output, table.encode())
    else:
        sys.stdout.write(table)
    if args.chart:
        write_bytes(args.chart, comparison_chart(columns).encode())
    return 0


def _named(word: str) -> tuple[str, str]:
    """NAME and what it names, of [NAME=]REST; a name has no slash, so that paths may have "=" in them."""
    name, equals, rest = word.partition("=")
    return (name, rest) if equals and "/" not in name else ("", word)


def _errors(args: argparse.Namespace) -> int:
    from shotstream.scores.denoising import NOISE_LEVELS, StoryErrors, denoising_errors
    from shotstream.scores.intervals import FEW_STORIES
    from shotstream.scores.story_scores import held_out_stories

    _check_targets(args.json)
    levels = args.levels or NOISE_LEVELS
    if not all(0 < level <= 1 for level in levels):
        raise InputError(f"expected --levels above 0, up to 1, got {' '.join(f'{level:g}' for level in levels)}")
    if args.stories < FEW_STORIES:
        raise InputError(f"expected --stories of at least {FEW_STORIES} to tell their spread, got {args.stories}")
    for context in filter(None, args.contexts):
        get_selector(context)
    found: dict[str, list[StoryErrors]] = {}
    stories = held_out_stories(args.stories)
    for name, path, context in _columns(args):
        model = shotstream.open(path, device=args.device)
        found[name] = list(counted(denoising_errors(model, stories, levels, context), name, len(stories)))
    _show_errors(found, levels)
    if args.json:
        columns = {name: [one.as_data() for one in errors] for name, errors in found.items()}
        write_json(args.json, {"levels": list(levels), "stories": args.stories, "columns": columns})
    return 0


def _columns(args: argparse.Namespace) -> list[tuple[str, str, str | None]]:
    """The name of every column, its model, and what is remembered.

    Raises:
        InputError: two have one name.
    """
    columns = []
    for word in args.models:
        name, path = _named(word)
        model = name or (path if len(args.models) > 1 else "")
        columns += [(", ".join(filter(None, (model, context))) or path, path, context) for context in args.contexts]
    names = [name for name, _, _ in columns]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"expected a name of its own for every column, got {twice} twice; write NAME=M for models")
    return columns


def _show_errors(found: "Mapping[str, Sequence[StoryErrors]]", levels: Sequence[float]) -> None:
    """The errors by noise level and chunk, and how far each column is from the first."""
    from shotstream.scores.denoising import CHUNKS, error_difference, error_estimate
    from shotstream.scores.intervals import in_points

    (name, first), *others = found.items()
    table = Table("noise level", "chunk", name, *(f"{other}, less {name}" for other, _ in others))
    table.title = f"errors of clean latents in {len(first)} unseen stories, of their variance"
    for place, level in enumerate(levels):
        for chunk in range(CHUNKS):
            differences = [in_points(error_difference(errors, first, place, chunk), 2) for _, errors in others]
            table.add_row(f"{level:g}", str(chunk + 1), str(error_estimate(first, place, chunk)), *differences)
    Console().print(table)
