"""`shotstream warmup`: do the work of a first run now (download, load, compile), and show how long it took."""

import time

import typer

from shotstream.cli.options import JsonFile, ModelOptions, examples, flat_options
from shotstream.cli.output import check_outputs, emit_json, make_console

app = typer.Typer()


@app.command("warmup", epilog=examples("shotstream warmup --model DIR --compile"))
@flat_options
def run(model: ModelOptions, json_file: JsonFile = None) -> None:
    """Fetch and load a model, make the same shot twice, and show how long each step took.

    A first run pays the difference between the two shots; later runs do not.
    """
    check_outputs(json_file)
    times_s = [time.perf_counter()]
    from shotstream.engine.warmup import make_warmup_shot

    times_s.append(time.perf_counter())
    opened = model.open()
    times_s.append(time.perf_counter())
    for _ in range(2):
        make_warmup_shot(opened.parts, graphs=opened.graphs)
        times_s.append(time.perf_counter())
    steps = ("libraries", "model", "first shot", "the same shot again")
    took_s = {name: later - sooner for name, sooner, later in zip(steps, times_s, times_s[1:], strict=False)}
    console = make_console(json_file)
    for name, seconds in took_s.items():
        console.print(f"{name}: {seconds:.2f} s")
    emit_json(json_file, took_s)
