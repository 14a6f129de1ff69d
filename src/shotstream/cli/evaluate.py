"""`shotstream evaluate`: a model's scores by StoryWorld's judge, on stories it has never seen."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

import shotstream
from shotstream.core.errors import InputError
from shotstream.core.files import write_json
from shotstream.story.relevance import SELECTOR_NAMES, check_selector
from shotstream.world.wording import WORDINGS


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds `evaluate`."""
    parser = subparsers.add_parser("evaluate", help="score a model by StoryWorld's judge on unseen stories")
    parser.add_argument("--model", default="storyworld", metavar="M")
    parser.add_argument("--device", default="auto", metavar="D")
    parser.add_argument("--stories", type=int, default=50, metavar="N", help="how many unseen stories (default 50)")
    parser.add_argument("--truth", action="store_true", help="score true renders instead of a model's")
    parser.add_argument("--steps", type=int, metavar="N", help="integration steps, for models sampled so")
    parser.add_argument("--guidance", type=float, metavar="G", help="guidance, for models sampled so")
    parser.add_argument(
        "--context", metavar="C", help=f"what is remembered: {', '.join(SELECTOR_NAMES)} (default: the model's)"
    )
    parser.add_argument(
        "--wording", choices=WORDINGS, default=WORDINGS[0], help=f"who words the captions (default {WORDINGS[0]})"
    )
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="write a contact sheet: a story a row")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from shotstream.evaluate.judging import JudgedStory, held_out_stories, judge_stories
    from shotstream.world.judge import Judge

    if args.context is not None:
        check_selector(args.context)
    if args.truth and args.wording != WORDINGS[0]:
        raise InputError(f"expected --truth without captions, got --wording {args.wording}; leave one of them out")
    made: list[JudgedStory] = []
    stories = held_out_stories(args.stories)
    source = _render(stories) if args.truth else _generate(args, stories)
    scores = judge_stories(Judge.load(), track(source, "judging", args.stories, transient=True), made.append)
    title = f"{args.stories} unseen stories, " + ("true renders" if args.truth else f"worded by {args.wording}")
    table = Table("trait", "right", "95% interval", "of", title=title)
    for kind, shares in (("", scores.visible), ("kept: ", scores.kept)):
        for trait, share in shares.items():
            low, high = share.interval
            table.add_row(kind + trait, f"{share.rate:.1%}", f"{low:.1%} to {high:.1%}", str(share.total))
    table.add_row("shot cut accuracy", f"{scores.cut_accuracy:.3f}", "", str(len(made)))
    Console().print(table)
    if args.sheet:
        from shotstream.core.pictures import write_png
        from shotstream.evaluate.samples import story_sheet

        write_png(args.sheet, story_sheet([story.shots for story in made]))
    if args.json:
        asked = {name: getattr(args, name) for name in ("model", "context", "stories", "wording")}
        write_json(args.json, asked | asdict(scores))
    return 0


def _render(stories: Sequence[Any]) -> Iterator[Any]:
    from shotstream.evaluate.judging import JudgedStory
    from shotstream.world.render import render_story

    return (JudgedStory(story, tuple(render_story(story))) for story in stories)


def _generate(args: argparse.Namespace, stories: Sequence[Any]) -> Iterator[Any]:
    from shotstream.evaluate.judging import make_story

    model = shotstream.open(args.model, device=args.device)
    asked = {"num_steps": args.steps, "guidance": args.guidance}
    changes: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    sampler = replace(model.config.sampler, **changes)
    options = {"sampler": sampler, "context": args.context, "wording": args.wording}
    return (make_story(model, story, seed=seed, **options) for seed, story in enumerate(stories))
