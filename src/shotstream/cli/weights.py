"""`shotstream weights`: report what files of weights hold, and convert them to a directory of ours."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from shotstream.cli.options import CheckpointKey, JsonFile, RoleOption, examples
from shotstream.cli.output import check_outputs, emit_json, make_console
from shotstream.core.errors import InputError
from shotstream.core.log import show_warnings

COUNT_UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "K"))

app = typer.Typer(name="weights", help="Inspect or convert files of weights.", no_args_is_help=True)


@app.command("inspect", epilog=examples("shotstream weights inspect Wan2.1-T2V-1.3B"))
def run_inspect(
    path: Annotated[Path, typer.Argument(help="A file of weights, or a directory.")], json_file: JsonFile = None
) -> int:
    """Show network, precision and value range of weights; exit with 1 if something is missing or not finite."""
    from shotstream.core.config import to_dict
    from shotstream.weights.inspect import inspect

    check_outputs(json_file)
    show_warnings()
    report = inspect(path)
    console = make_console(json_file, wrap=False)
    for file in report.files:
        name = file.path.relative_to(path) if path.is_dir() else file.path
        console.print(f"{name}: {file.what}")
        span = f"{file.span[0]:.4g} to {file.span[1]:.4g}, " if file.span else ""
        console.print(
            f"  {file.tensors} tensors, {_count(file.parameters)} parameters, {', '.join(file.dtypes)}, {span}"
            f"{_count(file.size_bytes)}B; {file.problem or 'complete'}"
        )
        for note in file.notes:
            console.print(f"  {note}")
    if path.is_dir():
        console.print(report.problem or f"{path}: opens as a model")
    files = [{**to_dict(file), "path": str(file.path)} for file in report.files]
    emit_json(json_file, {"files": files, "problem": report.problem})
    return int(bool(report.problem or any(file.problem for file in report.files)))


@app.command("convert", epilog=examples("shotstream weights convert student.pt -o shotstream-1.3b --dtype bf16"))
def run_convert(
    source: Annotated[str, typer.Argument(help="A directory, a transformer's file, a hub id or an embedded model.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Directory to write.")],
    dtype: Annotated[
        Literal["bf16", "fp16", "fp32"] | None, typer.Option(show_default="as they are", help="Precision to store.")
    ] = None,
    lora: Annotated[Path | None, typer.Option(metavar="PATH", help="LoRA to merge into the transformer.")] = None,
    lora_alpha: Annotated[
        float | None, typer.Option(metavar="A", show_default="as its files say", help="Alpha of the LoRA.")
    ] = None,
    role: RoleOption = None,
    checkpoint_key: CheckpointKey = None,
) -> None:
    """Turn any readable model into one directory of safetensors."""
    import torch

    from shotstream.weights.directory import check_target_directory, write_directory
    from shotstream.weights.hub import open_components
    from shotstream.weights.wan_layouts import ReadOptions

    show_warnings()
    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    check_target_directory(output)
    if lora_alpha is not None and lora is None:
        raise InputError("--lora-alpha is the strength of a LoRA; expected --lora with it")
    options = ReadOptions(lora, lora_alpha, role, checkpoint_key)
    components = open_components(source, options=options)
    write_directory(components, output, dtypes[dtype] if dtype else None)
    make_console(wrap=False).print(f"{components.source} -> {output}")


def _count(number: int) -> str:
    """Write a number with four digits and a unit: 1.419 B, 126.9 M."""
    for size, unit in COUNT_UNITS:
        if number >= size:
            return f"{number / size:.4g} {unit}"
    return f"{number} "
