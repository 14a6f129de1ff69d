"""`shotstream train`: the stages of the recipe, each resumable, and the model they make."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from shotstream.core.config import to_dict
from shotstream.core.files import make_directory, write_json
from shotstream.train.presets import Preset, get_preset

DEFAULT_RUN = "runs/storyworld"


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Adds `train` with its stages."""
    parser = subparsers.add_parser("train", help="train the embedded model, stage by stage")
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for name, run, text in (
        ("codec", _codec, "fit the codec's linear maps, then train its refinement"),
        ("text", _text, "train the text encoder on captions"),
        ("base", _base, "train the causal transformer by flow matching, over a codec and a text encoder"),
    ):
        stage = _stage(stages, name, run, text)
        stage.add_argument("--minutes", type=float, help="stop after that long; the same command goes on later")
        stage.add_argument("--steps", type=int, help="length of the stage, over whose end the rate falls")
    base = stages.choices["base"]
    base.add_argument("--compile", action="store_true", help="compile the network first")
    base.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (default auto)")
    base.add_argument("--workers", type=int, metavar="N", help="make all samples first, on that many processes")
    export = _stage(stages, "export", _export, "write the model made so far as a directory of weights")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")


def _stage(stages: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = stages.add_parser(name, help=text)
    parser.add_argument("--run", type=Path, default=Path(DEFAULT_RUN), dest="directory", metavar="DIR")
    parser.add_argument("--preset", default="storyworld")
    parser.add_argument("--threads", type=int, help="processor threads to use (default: all cores)")
    parser.set_defaults(run=run)
    return parser


def _prepare(args: argparse.Namespace) -> Preset:
    if args.threads:
        torch.set_num_threads(args.threads)
    preset = get_preset(args.preset)
    if args.steps:
        stage = getattr(preset, args.stage)
        preset = replace(preset, **{args.stage: replace(stage, loop=replace(stage.loop, steps=args.steps))})
    write_json(make_directory(args.directory) / "preset.json", to_dict(preset))
    return preset


def _report(step: int, figures: dict[str, float]) -> None:
    sys.stdout.write(json.dumps({"step": step, **{name: round(value, 6) for name, value in figures.items()}}) + "\n")
    sys.stdout.flush()


def _codec(args: argparse.Namespace) -> int:
    from shotstream.train.codec import train_codec

    preset = _prepare(args)
    assert preset.model.block_codec is not None
    train_codec(args.directory / "codec", preset.model.block_codec, preset.codec, _report, args.minutes)
    return 0


def _text(args: argparse.Namespace) -> int:
    from shotstream.train.text import train_text

    preset = _prepare(args)
    train_text(args.directory / "text", preset.model.text_encoder, preset.text, _report, args.minutes)
    return 0


def _base(args: argparse.Namespace) -> int:
    from shotstream.data.latents import LatentPool
    from shotstream.model.device import pick_device
    from shotstream.train.assemble import load_codec, load_text_encoder
    from shotstream.train.base import POOL, train_base

    preset = _prepare(args)
    codec = load_codec(args.directory, preset.model)
    encoder = load_text_encoder(args.directory, preset.model)
    if args.workers:
        pool = LatentPool(args.directory / "base" / POOL, preset.base.pool, codec, encoder)
        pool.fill(args.workers, lambda done: _report(done, {"of_batches": preset.base.pool.batches}))
    train_base(
        args.directory / "base",
        preset.model.transformer,
        codec,
        encoder,
        preset.base,
        _report,
        args.minutes,
        device=pick_device(args.device),
        compiled=args.compile,
    )
    return 0


def _export(args: argparse.Namespace) -> int:
    from shotstream.train.assemble import write_model

    write_model(args.directory, get_preset(args.preset).model, args.output)
    return 0
