"""`shotstream bench`: how fast a model tells a story on this machine, everything counted."""

import argparse
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from shotstream.bench.timing import Spread
from shotstream.cli.opening import add_model_arguments
from shotstream.core.atomic_files import check_target, write_bytes, write_json
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.core.spec import FPS, MAX_CHUNKS

if TYPE_CHECKING:
    from shotstream.bench.bench import BenchPlan, BenchReport
    from shotstream.parity.versus import Versus
    from shotstream.weights.build import ModelComponents

MIB = 2**20


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds `bench`."""
    parser = subparsers.add_parser("bench", help="measure how fast a model tells a story on this machine")
    add_model_arguments(parser)
    parser.add_argument(
        "--random-weights",
        action="store_true",
        help="measure only the shape: storyworld, wan-1.3b or tiny (and of --decoder: taew2_1)",
    )
    parser.add_argument("--shots", type=int, default=3, metavar="N", help="shots to measure (default 3)")
    parser.add_argument(
        "--chunks", type=int, default=MAX_CHUNKS, metavar="C", help=f"length of a shot (default {MAX_CHUNKS})"
    )
    parser.add_argument("--warmup", type=int, default=1, metavar="W", help="shots before them, reported apart (1)")
    parser.add_argument("--dtype", default="auto", metavar="T", help="auto, float32 or bfloat16 (default auto)")
    parser.add_argument(
        "--attention", default="auto", metavar="K", help="auto, fa3, fa2, cudnn or torch (default auto: the best here)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads to use (default: torch's choice)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure, hardware and versions too")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with roofline, parts and table")
    parser.add_argument(
        "--vs-reference",
        type=Path,
        metavar="DIR",
        help="hold this engine against the published code in that checkout: same weights, inputs and machine",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures, shows a table, and writes the file that was asked for."""
    import torch

    from shotstream.bench.bench import BenchPlan, bench, open_subject
    from shotstream.bench.decoder_fidelity import first_chunk, first_velocity, relative_norm_error
    from shotstream.bench.report import page
    from shotstream.model.device import pick_device, pick_dtype
    from shotstream.runtime.options import RunOptions, apply_options

    plan = BenchPlan(args.shots, args.chunks, args.warmup)
    for path in filter(None, (args.json, args.html)):
        check_target(path)
    if args.vs_reference is not None and args.html is not None:
        raise InputError("expected --html without --vs-reference, got both; measure twice")
    if args.threads is not None:
        if args.threads < 1:
            raise InputError(f"expected 1 or more threads, got --threads {args.threads}")
        torch.set_num_threads(args.threads)
    device = pick_device(args.device)
    text_device = pick_device(args.text_device or args.device)
    console = Console(highlight=False)
    with console.status("loading") as status:
        dtype = pick_dtype(device, args.dtype)
        parts, load_s = open_subject(
            args.model,
            device,
            dtype,
            random_weights=args.random_weights,
            text_device=text_device,
            decoder=args.decoder,
        )
        asked = RunOptions(args.compile, args.graphs, args.fp8, args.fp8_attention, args.steps, args.attention)
        exact = first_velocity(parts) if args.fp8 or args.fp8_attention else None
        whole = first_chunk(parts) if args.steps is not None else None
        parts = apply_options(parts, asked)
        velocity_error = None if exact is None else relative_norm_error(first_velocity(parts), exact)
        chunk_error = None if whole is None else relative_norm_error(first_chunk(parts), whole)
        if args.vs_reference is not None:
            return _versus(args, plan, parts, console)
        total = plan.warmup + plan.shots + 1
        report = bench(parts, plan, load_s, lambda done: status.update(f"shot {done} of {total} done"))
        report = replace(report, velocity_error=velocity_error, chunk_error=chunk_error)
    show(report, console)
    _write(args.json, report, console)
    if args.html is not None:
        write_bytes(args.html, page(report, _command()).encode())
        console.print(f"{args.html}: the figures as a page")
    return 0


def _versus(args: argparse.Namespace, plan: "BenchPlan", parts: "ModelComponents", console: Console) -> int:
    """Compares with the published code; 1 where the results do not agree."""
    from shotstream.parity.versus import compare

    found = compare(parts, args.vs_reference, chunks=plan.chunks, shots=plan.shots, warmup=plan.warmup)
    table = Table("one shot, s", "here", "published", "ratio")
    for part, here in found.ours.seconds.items():
        there = found.theirs.seconds[part]
        table.add_row(part, f"{here.median:.3f}", f"{there.median:.3f}", f"{there.median / here.median:.2f}")
    table.add_row("whole, FPS", f"{found.ours.fps:.2f}", f"{found.theirs.fps:.2f}", f"{found.ratio:.2f}")
    table.add_row("attention", found.ours.attention, found.theirs.attention, "")
    console.print(table)
    console.print(
        f"results {'agree' if found.agree else 'DIFFER'}: relative error {found.latents_error:.1e} in latents, "
        f"{found.pixels_error:.1e} in pixels, {found.dtype}"
    )
    _write(args.json, found, console)
    return int(not found.agree)


def _write(path: Path | None, figures: "BenchReport | Versus", console: Console) -> None:
    if path is not None:
        write_json(path, {"command": _command(), **to_dict(figures)})
        console.print(f"{path}: every figure")


def _command() -> str:
    return shlex.join(["shotstream", *sys.argv[1:]])


def show(report: "BenchReport", console: Console) -> None:
    """The report as tables a person can read."""
    console.print(_headline(report), soft_wrap=True)
    console.print(_figures(report))
    console.print(_parts(report))


def _headline(report: "BenchReport") -> str:
    subject, machine = report.subject, report.machine
    parameters = sum(network.parameters for network in subject.networks.values()) / 1e6
    mebibytes = sum(network.bytes for network in subject.networks.values()) / MIB
    where = machine.gpu or f"{machine.processor}, {machine.threads} of {machine.cores} cores"
    return (
        f"{subject.name} ({subject.source}): {parameters:.1f} M parameters, {mebibytes:.1f} MiB in {subject.dtype}, "
        f"{subject.video.width}x{subject.video.height}, {_sampler(report)}, "
        f"attention {subject.attention}\n"
        f"{where}; torch {machine.torch}, Python {machine.python}, shotstream {machine.shotstream}\n"
        f"{report.plan.shots} shots of {report.plan.chunks} chunks; everything counted: text, context, clean passes, "
        "decoding, writing history" + "".join(f"\nLOSSY: {what}" for what in report.lossy)
    )


def _sampler(report: "BenchReport") -> str:
    sampler = report.subject.sampler
    guidance = "no guidance" if sampler.guidance == 1 else f"guidance {sampler.guidance:g}"
    return f"{sampler.count} {sampler.kind} steps, {guidance}"


def _figures(report: "BenchReport") -> Table:
    table = Table("figure", "median", "min", "max")
    _add(table, "whole shot, FPS", report.fps)
    _add(table, "chunks after the first, FPS", report.steady_fps)
    _add(table, "chunk with a full window, FPS", report.full_window_fps)
    _add(table, "time to first frames, s", report.first_frames_s, digits=3)
    if (gap := report.chunk_gap_s) is not None:
        for name, value in (("p50", gap.p50), ("p95", gap.p95), ("p99", gap.p99)):
            table.add_row(f"gap between chunks, {name}, s", f"{value:.3f}")
        table.add_row("the same, p99 over p50", f"{gap.p99_over_p50:.2f}")
    table.add_row(f"real-time factor at {FPS} FPS", f"{report.real_time_factor:.2f}")
    table.add_row(f"stalls of a viewer at {FPS} FPS", str(report.viewing.stalls))
    table.add_row("the same, seconds in all", f"{report.viewing.stalled_s:.2f}")
    for name, peak in (("resident", report.memory.peak_resident_bytes), ("device", report.memory.peak_device_bytes)):
        if peak is not None:
            table.add_row(f"peak {name} memory, MiB", f"{peak / MIB:.0f}")
    if report.load_s is not None:
        table.add_row("apart: loading, s", f"{report.load_s:.2f}")
    _add(table, "apart: a warm-up shot, s", Spread.of([timing.total_s for timing in report.warmup]))
    return table


def _parts(report: "BenchReport") -> Table:
    table = Table("part of one more shot", "s", "%", "GFLOP", "GFLOP/s", "floor, s", "efficiency")
    shot = report.breakdown
    for name, part in shot.parts.items():
        speed = [f"{value / 1e9:.4g}" for value in (part.work.flop, part.flop_per_s)] if part.work.flop else ["", ""]
        best = ["", ""] if part.efficiency is None else [f"{part.floor_s:.3f}", f"{part.efficiency:.0%}"]
        table.add_row(name, f"{part.seconds:.3f}", f"{100 * part.seconds / shot.total_s:.1f}", *speed, *best)
    for rest, seconds in (("other", shot.other_s), ("whole", shot.total_s)):
        table.add_row(rest, f"{seconds:.3f}", f"{100 * seconds / shot.total_s:.1f}")
    table.caption = "\n".join(_captions(report))
    return table


def _captions(report: "BenchReport") -> Iterator[str]:
    shot, roofline = report.breakdown, report.roofline
    yield (
        f"floor: {roofline.flop_per_s / 1e9:.4g} GFLOP/s in a {report.subject.dtype} matrix product of "
        f"{roofline.side}, {roofline.bytes_per_s / 1e9:.4g} GB/s in a copy"
    )
    yield _both("at the floor", shot.floor.fps, shot.floor.full_window_fps)
    yield _both("without VAE and transfer", shot.fps_without_vae, shot.full_window_fps_without_vae)


def _both(name: str, whole: float, full_window: float | None) -> str:
    return f"{name}: {whole:.1f} FPS" + ("" if full_window is None else f", {full_window:.1f} with a full window")


def _add(table: Table, name: str, spread: "Spread | None", digits: int = 2) -> None:
    if spread is not None:
        table.add_row(name, *(f"{value:.{digits}f}" for value in (spread.median, spread.min, spread.max)))
