"""`shotstream weights`: say what files of weights are, and turn them into a directory of ours."""

import argparse
from pathlib import Path

import torch
from rich.console import Console

from shotstream.core.errors import InputError

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "K"))


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `weights inspect` and `weights convert` to the command line."""
    parser = subparsers.add_parser("weights", help="inspect or convert files of weights")
    commands = parser.add_subparsers(dest="weights_command", required=True, metavar="COMMAND")
    inspecting = commands.add_parser("inspect", help="what files of weights are, and what is missing")
    inspecting.add_argument("path", type=Path, help="a file of weights, or a directory")
    inspecting.set_defaults(run=run_inspect)
    converting = commands.add_parser("convert", help="turn any readable model into a directory of ours")
    converting.add_argument("source", help="a directory, a ShotStream checkpoint, a hub id, or an embedded model")
    converting.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="directory to write")
    converting.add_argument("--dtype", choices=DTYPES, help="precision of the weights (default: as they are)")
    converting.add_argument("--lora", type=Path, metavar="PATH", help="PEFT adapter to merge into the transformer")
    converting.add_argument(
        "--lora-alpha", type=float, metavar="A", help="its alpha, if adapter_config.json is missing"
    )
    converting.set_defaults(run=run_convert)


def run_inspect(args: argparse.Namespace) -> int:
    """Prints what lies at a path; 1 where something is incomplete."""
    from shotstream.weights.inspect import inspect

    report = inspect(args.path)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for file in report.files:
        name = file.path.relative_to(args.path) if args.path.is_dir() else file.path
        console.print(f"{name}: {file.what}")
        console.print(
            f"  {file.tensors} tensors, {_count(file.parameters)} parameters, {', '.join(file.dtypes)}, "
            f"{_count(file.size_bytes)}B; {file.problem or 'complete'}"
        )
    if args.path.is_dir():
        console.print(report.problem or f"{args.path}: opens as a model")
    return int(bool(report.problem or any(file.problem for file in report.files)))


def run_convert(args: argparse.Namespace) -> int:
    """Writes a model as a directory of ours."""
    from shotstream.weights.directory import check_target_directory, write_directory
    from shotstream.weights.hub import open_components

    check_target_directory(args.output)
    if args.lora_alpha is not None and args.lora is None:
        raise InputError("--lora-alpha says how strong an adapter is; expected --lora with it")
    dtype = DTYPES[args.dtype] if args.dtype else None
    parts = open_components(args.source, adapter=args.lora, alpha=args.lora_alpha)
    write_directory(parts, args.output, dtype)
    Console(highlight=False, soft_wrap=True, markup=False).print(f"{parts.source} -> {args.output}")
    return 0


def _count(number: int) -> str:
    """A number with three or four digits that matter: 1.419 B, 126.9 M."""
    for size, unit in UNITS:
        if number >= size:
            return f"{number / size:.4g} {unit}"
    return f"{number} "
