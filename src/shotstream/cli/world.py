"""`shotstream world`: render StoryWorld stories, write data sets, train the trait reader, list known words."""

from pathlib import Path
from typing import Annotated, Any

import typer

from shotstream.cli.options import JsonFile, examples
from shotstream.cli.output import check_outputs, emit_json, make_console
from shotstream.core.atomic_files import check_target
from shotstream.core.errors import InputError
from shotstream.core.spec import FPS

StorySeed = Annotated[int, typer.Option(metavar="S", help="Which story; of several, the first.")]

app = typer.Typer(name="world", help="StoryWorld: rendered stories with ground truth.", no_args_is_help=True)


@app.command("render", epilog=examples("shotstream world render --seed 3 -o story.mp4"))
def render(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.mp4", help="The video to write.")],
    seed: StorySeed = 0,
    json_file: JsonFile = None,
) -> None:
    """Render one story as a video."""
    from shotstream.core.video import write_video
    from shotstream.world.captions import story_captions
    from shotstream.world.render import render_story
    from shotstream.world.stories import sample_story

    check_outputs(json_file)
    story = sample_story(seed)
    frames = write_video(output, render_story(story), FPS)
    global_caption, shots = story_captions(story)
    console = make_console(json_file, wrap=False)
    console.print(global_caption)
    for number, caption in enumerate(shots, start=1):
        console.print(f"  {number}. {caption}")
    console.print(f"{output}: {frames} frames at {FPS} a second")
    captions = {"global_caption": global_caption, "shots": list(shots)}
    emit_json(json_file, {"video": str(output), "frames": frames, "fps": FPS, **captions})


@app.command("dataset", epilog=examples("shotstream world dataset --stories 10 -o stories"))
def dataset(
    stories: Annotated[int, typer.Option(metavar="N", help="How many stories.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The directory to write.")],
    seed: StorySeed = 0,
) -> None:
    """Render many stories: a CSV, and for each story JSON, mp4 and ground truth."""
    from shotstream.cli.progress import counted
    from shotstream.world.dataset import write_dataset
    from shotstream.world.stories import sample_story

    if stories < 1:
        raise InputError(f"expected at least one story, got --stories {stories}")
    seeds = counted(range(seed, seed + stories), "rendering", stories)
    path = write_dataset((sample_story(one) for one in seeds), output)
    make_console(wrap=False).print(f"{path}: {stories} stories")


@app.command("train-trait-reader", epilog=examples("shotstream world train-trait-reader -o reader.safetensors"))
def train_reader(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.safetensors", help="The weights to write.")],
    minutes: Annotated[float | None, typer.Option(metavar="M", show_default="the trainer's", help="How long.")] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Seed of weights and data.")] = 0,
    start: Annotated[Path | None, typer.Option(metavar="FILE", help="Weights to train further.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="R", show_default="the trainer's", help="Learning rate.")
    ] = None,
) -> None:
    """Train the network that reads traits back from frames, on renders."""
    from rich.progress import Progress, TextColumn

    from shotstream.world.trait_reader import TraitReader
    from shotstream.world.trait_reader_training import TraitReaderTraining, save_trait_reader, train_trait_reader

    if minutes is not None and minutes <= 0:
        raise InputError(f"expected a positive number of minutes, got --minutes {minutes}")
    check_target(output)
    begun = None if start is None else TraitReader.load(path=start)
    given: dict[str, Any] = {"minutes": minutes, "learning_rate": learning_rate}
    training = TraitReaderTraining(seed=seed, **{name: value for name, value in given.items() if value is not None})
    console = make_console()
    with Progress(*Progress.get_default_columns(), TextColumn("loss {task.fields[loss]:.2f}"), console=console) as bar:
        task = bar.add_task("training", total=1.0, loss=float("nan"))
        network = train_trait_reader(training, lambda share, loss: bar.update(task, completed=share, loss=loss), begun)
    save_trait_reader(network, output)
    console.print(f"{output}: check it with 'shotstream world check-trait-reader --weights {output}'")


@app.command("check-trait-reader", epilog=examples("shotstream world check-trait-reader --stories 200"))
def check_reader(
    stories: Annotated[int, typer.Option(metavar="N", help="How many held-out stories.")] = 100,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default="those of the package", help="Weights to check.")
    ] = None,
    degraded: Annotated[bool, typer.Option("--degraded", help="Read frames with blur, noise and lost detail.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Measure how much the trait reader gets right on held-out renders."""
    from rich.table import Table

    from shotstream.world.trait_reader import TraitReader
    from shotstream.world.trait_reader_training import HELD_OUT_SEED, accuracy_table, degrade_frames
    from shotstream.world.traits import FRAMINGS

    if stories < 1:
        raise InputError(f"expected at least one story, got --stories {stories}")
    check_outputs(json_file)
    reader, seeds = TraitReader.load(path=weights), range(HELD_OUT_SEED, HELD_OUT_SEED + stories)
    accuracies = accuracy_table(reader, seeds, degrade_frames if degraded else None)
    table = Table("trait", "all", *FRAMINGS, title=f"read right in the shots of {stories} held-out stories, %")
    for trait, shares in accuracies.items():
        table.add_row(trait, *(f"{100 * shares[name]:.1f}" for name in ("all", *FRAMINGS)))
    make_console(json_file).print(table)
    emit_json(json_file, {"stories": stories, "accuracy": {trait: dict(row) for trait, row in accuracies.items()}})


@app.command("words", epilog=examples("shotstream world words", "shotstream world words --json -"))
def words(json_file: JsonFile = None) -> None:
    """List the words that StoryWorld knows, by trait."""
    from rich.table import Table

    from shotstream.world.words import vocabulary

    check_outputs(json_file)
    known = vocabulary()
    table = Table("trait", "value", "words", title="what StoryWorld knows")
    for trait, values in known.items():
        for number, (value, phrases) in enumerate(values.items(), start=1):
            table.add_row("" if number > 1 else trait, value, ", ".join(phrases), end_section=number == len(values))
    make_console(json_file).print(table)
    emit_json(
        json_file, {trait: {value: list(said) for value, said in values.items()} for trait, values in known.items()}
    )
