"""`shotstream weights`: say what files of weights are, and turn them into a directory of ours."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from shotstream.cli.options import JsonFile, examples
from shotstream.cli.output import check_outputs, emit_json, make_console
from shotstream.core.errors import InputError

UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "K"))

app = typer.Typer(name="weights", help="Inspect or convert files of weights.", no_args_is_help=True)


@app.command("inspect", epilog=examples("shotstream weights inspect Wan2.1-T2V-1.3B"))
def run_inspect(
    path: Annotated[Path, typer.Argument(help="A file of weights, or a directory.")], json_file: JsonFile = None
) -> int:
    """Show what files of weights are and what is missing; exit with 1 if something is."""
    from shotstream.core.config import to_dict
    from shotstream.weights.inspect import inspect

    check_outputs(json_file)
    report = inspect(path)
    console = make_console(json_file, wrap=False)
    for file in report.files:
        name = file.path.relative_to(path) if path.is_dir() else file.path
        console.print(f"{name}: {file.what}")
        console.print(
            f"  {file.tensors} tensors, {_count(file.parameters)} parameters, {', '.join(file.dtypes)}, "
            f"{_count(file.size_bytes)}B; {file.problem or 'complete'}"
        )
    if path.is_dir():
        console.print(report.problem or f"{path}: opens as a model")
    files = [{**to_dict(file), "path": str(file.path)} for file in report.files]
    emit_json(json_file, {"files": files, "problem": report.problem})
    return int(bool(report.problem or any(file.problem for file in report.files)))


@app.command("convert", epilog=examples("shotstream weights convert student.pt -o shotstream-1.3b --dtype bf16"))
def run_convert(
    source: Annotated[str, typer.Argument(help="A directory, a ShotStream checkpoint, a hub id or an embedded model.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Directory to write.")],
    dtype: Annotated[
        Literal["bf16", "fp16", "fp32"] | None, typer.Option(show_default="as they are", help="Precision to store.")
    ] = None,
    lora: Annotated[
        Path | None, typer.Option(metavar="PATH", help="PEFT adapter to merge into the transformer.")
    ] = None,
    lora_alpha: Annotated[
        float | None, typer.Option(metavar="A", help="Its alpha, if adapter_config.json is missing.")
    ] = None,
) -> None:
    """Turn any readable model into one directory of safetensors."""
    import torch

    from shotstream.weights.directory import check_target_directory, write_directory
    from shotstream.weights.hub import open_components

    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    check_target_directory(output)
    if lora_alpha is not None and lora is None:
        raise InputError("--lora-alpha says how strong an adapter is; expected --lora with it")
    parts = open_components(source, adapter=lora, alpha=lora_alpha)
    write_directory(parts, output, dtypes[dtype] if dtype else None)
    make_console(wrap=False).print(f"{parts.source} -> {output}")


def _count(number: int) -> str:
    """Return a number with three or four digits that matter: 1.419 B, 126.9 M."""
    for size, unit in UNITS:
        if number >= size:
            return f"{number / size:.4g} {unit}"
    return f"{number} "
