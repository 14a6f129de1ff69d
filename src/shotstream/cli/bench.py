"""`shotstream bench`: how fast a model tells a story on this machine, everything counted."""

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shotstream.cli.options import JsonFile, ModelOptions, Threads, examples, flat_options
from shotstream.cli.output import STANDARD_OUTPUT, check_outputs, emit_json, make_console
from shotstream.core.atomic_files import write_bytes
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.core.spec import FPS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from shotstream.bench.bench import BenchPlan, BenchReport
    from shotstream.bench.timing import Spread
    from shotstream.parity.versus import Versus
    from shotstream.runtime.cuda_graphs import CudaGraphPool
    from shotstream.weights.build import ModelComponents

MIB = 2**20


app = typer.Typer()


@dataclass(frozen=True)
class BenchOptions:
    """Options of a benchmark: the things to measure, for how long, and the files of the report."""

    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights",
            help="Measure only the shape: storyworld, wan-1.3b or tiny (and of --decoder: taew2_1).",
        ),
    ] = False
    shots: Annotated[int, typer.Option(metavar="N", help="Shots to measure.")] = 3
    chunks: Annotated[
        int | None, typer.Option(metavar="C", show_default="the model's longest", help="Length of a shot.")
    ] = None
    warmup: Annotated[int, typer.Option(metavar="W", help="Shots before them, reported apart.")] = 1
    dtype: Annotated[str, typer.Option(metavar="T", help="auto, float32 or bfloat16.")] = "auto"
    attention: Annotated[str, typer.Option(metavar="K", help="auto (the best here), fa3, fa2, cudnn or torch.")] = (
        "auto"
    )
    policies: Annotated[
        str | None,
        typer.Option(metavar="P,...", help="Compare policies in one table: names with commas, or all."),
    ] = None
    growth: Annotated[
        str | None,
        typer.Option(
            metavar="N,...", show_default="that of --shots", help="Compare policies after so many shots, like 1,5,20."
        ),
    ] = None
    threads: Threads = None
    json_file: JsonFile = None
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with roofline, parts and table.")] = (
        None
    )
    vs_reference: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Compare with the published code in that checkout: same weights, inputs and machine.",
        ),
    ] = None

    def check(self, model: ModelOptions) -> "BenchPlan":
        """Return what is measured; raise InputError for options that cannot be used together."""
        from shotstream.bench.bench import SHAPES, BenchPlan

        named = SHAPES.get(model.model) if self.random_weights else None
        shape = model.shot_shape() if named is None else named.shot
        chunks = shape.check_chunks(shape.max_chunks if self.chunks is None else self.chunks)
        plan = BenchPlan(self.shots, chunks, self.warmup)
        check_outputs(self.json_file, self.html)
        if self.growth is not None and self.policies is None:
            raise InputError("expected --growth beside --policies, got it alone; name policies, or all")
        if self.vs_reference is not None and self.html is not None:
            raise InputError("expected --html without --vs-reference, got both; measure twice")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"expected 1 or more threads, got --threads {self.threads}")
        return plan


@app.command(
    "bench",
    epilog=examples(
        "shotstream bench --shots 4",
        "shotstream bench --model wan-1.3b --random-weights --device cuda --json speed.json --html speed.html",
    ),
)
@flat_options
def run(model: ModelOptions, options: BenchOptions) -> int:
    """Measure how fast a model makes a story on this machine, everything counted."""
    import torch

    from shotstream.bench.bench import bench
    from shotstream.bench.report import page
    from shotstream.cli.bench_policies import PolicyComparison, compare_policies

    plan = options.check(model)
    compared = None
    if options.policies is not None:
        if any(option is not None for option in (model.policy, model.steps, model.sampler)):
            raise InputError(
                "expected --policies without --policy, --steps and --sampler, which each policy has its own of; leave "
                "them out"
            )
        compared = PolicyComparison.of(options.policies, options.growth or str(options.shots), plan.chunks)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    console = make_console(options.json_file)
    with console.status("loading") as status:
        subject = _open(model, options)
        if options.vs_reference is not None:
            return _versus(options.vs_reference, options.json_file, plan, subject, console)
        if compared is not None:
            compare_policies(subject.parts, subject.graphs, compared, options.json_file, console)
            return 0
        total = plan.warmup + plan.shots + 1
        report = bench(
            subject.parts,
            plan,
            subject.load_s,
            lambda done: status.update(f"shot {done} of {total} done"),
            graphs=subject.graphs,
        )
        report = replace(report, velocity_error=subject.velocity_error, chunk_error=subject.chunk_error)
    show(report, console)
    _write(options.json_file, report, console)
    if options.html is not None:
        write_bytes(options.html, page(report, _command()).encode())
        console.print(f"{options.html}: the results as a page")
    return 0


@dataclass(frozen=True)
class _Subject:
    """A model that is ready to be measured, and what its lossy options cost in accuracy."""

    parts: "ModelComponents"
    graphs: "CudaGraphPool | None"
    load_s: float | None
    velocity_error: float | None
    chunk_error: float | None


def _open(model: ModelOptions, options: BenchOptions) -> _Subject:
    from shotstream.api import with_policy
    from shotstream.bench.bench import open_subject
    from shotstream.bench.decoder_fidelity import first_chunk, first_velocity, relative_norm_error
    from shotstream.model.device import pick_device, pick_dtype
    from shotstream.runtime.garbage import freeze_objects
    from shotstream.runtime.options import RunOptions, apply_options, make_graph_pool
    from shotstream.weights.wan_layouts import ReadOptions

    device = pick_device(model.device)
    parts, load_s = open_subject(
        model.model,
        device,
        pick_dtype(device, options.dtype),
        random_weights=options.random_weights,
        text_device=pick_device(model.text_device or model.device),
        decoder=model.decoder,
        options=ReadOptions(role=model.role, checkpoint_key=model.checkpoint_key),
    )
    freeze_objects()
    parts = with_policy(parts, model.policy)
    asked = RunOptions(
        model.compile, model.graphs, model.fp8, model.fp8_attention, model.steps, options.attention, model.sampler
    )
    exact = first_velocity(parts) if model.fp8 or model.fp8_attention else None
    whole = first_chunk(parts) if model.steps is not None or model.sampler is not None else None
    parts = apply_options(parts, asked)
    velocity_error = None if exact is None else relative_norm_error(first_velocity(parts), exact)
    chunk_error = None if whole is None else relative_norm_error(first_chunk(parts), whole)
    return _Subject(parts, make_graph_pool(parts, asked), load_s, velocity_error, chunk_error)


def _versus(checkout: Path, json_file: Path | None, plan: "BenchPlan", subject: _Subject, console: "Console") -> int:
    """Compare with the published code; return 1 if the results do not agree."""
    from rich.table import Table

    from shotstream.parity.versus import compare_engines

    found = compare_engines(
        subject.parts, checkout, chunks=plan.chunks, shots=plan.shots, warmup=plan.warmup, graphs=subject.graphs
    )
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
    _write(json_file, found, console)
    return int(not found.agree)


def _write(path: Path | None, figures: "BenchReport | Versus", console: "Console") -> None:
    emit_json(path, {"command": _command(), **to_dict(figures)})
    if path not in (None, STANDARD_OUTPUT):
        console.print(f"{path}: every number")


def _command() -> str:
    return shlex.join(["shotstream", *sys.argv[1:]])


def show(report: "BenchReport", console: "Console") -> None:
    """Print the report as tables."""
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
    later = f" ({sampler.count - sampler.later_start} after a shot's first chunk)" if sampler.later_start else ""
    return f"{sampler.count} {sampler.kind} steps{later}, {guidance}"


def _figures(report: "BenchReport") -> "Table":
    from rich.table import Table

    from shotstream.bench.timing import Spread

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


def _parts(report: "BenchReport") -> "Table":
    from rich.table import Table

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


def _add(table: "Table", name: str, spread: "Spread | None", digits: int = 2) -> None:
    if spread is not None:
        table.add_row(name, *(f"{value:.{digits}f}" for value in (spread.median, spread.min, spread.max)))
