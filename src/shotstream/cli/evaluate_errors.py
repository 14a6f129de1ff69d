"""`shotstream evaluate errors`: errors of clean latents that models predict from noise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import shotstream
from shotstream.cli.evaluate_compare import split_name
from shotstream.cli.options import DEFAULT_MODEL, Device, JsonFile, examples
from shotstream.cli.output import check_outputs, emit_json, make_console
from shotstream.core.errors import InputError

if TYPE_CHECKING:
    from shotstream.scores.denoising import StoryErrors

app = typer.Typer()


@app.command(
    "errors",
    epilog=examples(
        "shotstream evaluate errors --context dynamic --context none",
        "shotstream evaluate errors base=DIR tuned=DIR --level 0.5 --level 1 --json errors.json",
    ),
)
def run(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=]M...", show_default=DEFAULT_MODEL, help="Models, side by side."),
    ] = None,
    device: Device = "auto",
    stories: Annotated[int, typer.Option(metavar="N", help="How many unseen stories.")] = 50,
    context: Annotated[
        list[str] | None,
        typer.Option(
            metavar="C",
            show_default="the model's",
            help="How context frames are chosen: dynamic, first, first_last or none; repeat it to compare.",
        ),
    ] = None,
    level: Annotated[
        list[float] | None,
        typer.Option(
            metavar="L", show_default="0.5, 0.75, 0.9 and 1", help="A noise level above 0, up to 1; repeat it for more."
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Measure the errors of clean latents predicted from noise, after the true past."""
    from shotstream.cli.progress import counted
    from shotstream.scores.denoising import NOISE_LEVELS, StoryErrors, denoising_errors
    from shotstream.scores.intervals import FEW_STORIES
    from shotstream.scores.story_scores import held_out_stories
    from shotstream.story.selectors import get_selector

    check_outputs(json_file)
    noise = level or NOISE_LEVELS
    if not all(0 < one <= 1 for one in noise):
        raise InputError(f"expected --level above 0, up to 1, got {' '.join(f'{one:g}' for one in noise)}")
    if stories < FEW_STORIES:
        raise InputError(f"expected --stories of at least {FEW_STORIES} to tell their spread, got {stories}")
    for name in context or ():
        get_selector(name)
    found: dict[str, list[StoryErrors]] = {}
    unseen = held_out_stories(stories)
    for name, path, selector in _columns(models or [DEFAULT_MODEL], context or [None]):
        model = shotstream.open(path, device=device)
        found[name] = list(counted(denoising_errors(model, unseen, noise, selector), name, len(unseen)))
    _show(found, noise, json_file)
    columns = {name: [one.as_data() for one in errors] for name, errors in found.items()}
    emit_json(json_file, {"levels": list(noise), "stories": stories, "columns": columns})


def _columns(models: Sequence[str], contexts: Sequence[str | None]) -> list[tuple[str, str, str | None]]:
    """Return the name of every column, its model, and how its context frames are chosen.

    Raises:
        InputError: two have one name.
    """
    columns = []
    for word in models:
        name, path = split_name(word)
        model = name or (path if len(models) > 1 else "")
        columns += [(", ".join(filter(None, (model, context))) or path, path, context) for context in contexts]
    names = [name for name, _, _ in columns]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"expected a name of its own for every column, got {twice} twice; write NAME=M for models")
    return columns


def _show(found: "Mapping[str, Sequence[StoryErrors]]", levels: Sequence[float], json_file: Path | None) -> None:
    """Show the errors by noise level and chunk, and how far each column is from the first."""
    from rich.table import Table

    from shotstream.scores.denoising import CHUNKS, error_difference, error_estimate
    from shotstream.scores.intervals import in_points

    (name, first), *others = found.items()
    table = Table("noise level", "chunk", name, *(f"{other}, less {name}" for other, _ in others))
    table.title = f"errors of clean latents in {len(first)} unseen stories, of their variance"
    for place, level in enumerate(levels):
        for chunk in range(CHUNKS):
            differences = [in_points(error_difference(errors, first, place, chunk), 2) for _, errors in others]
            table.add_row(f"{level:g}", str(chunk + 1), str(error_estimate(first, place, chunk)), *differences)
    make_console(json_file).print(table)
