"""What every command that opens a model to run it is told, and the model that this asks for."""

import argparse
from typing import TYPE_CHECKING

import shotstream

if TYPE_CHECKING:
    from shotstream.api import Model

DEFAULT_MODEL = "storyworld"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, and how it runs."""
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="M", help=f"a name, directory or hub id (default {DEFAULT_MODEL})"
    )
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:N or mps (default auto)")
    parser.add_argument(
        "--text-device",
        metavar="D",
        help="where the text encoder stays: cpu leaves its memory to the rest (default: --device)",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the transformer: the first shot takes minutes longer (see warmup), later ones less",
    )
    parser.add_argument(
        "--graphs", action="store_true", help="record a chunk's work as CUDA graphs in the first shot; CUDA only"
    )
    parser.add_argument(
        "--fp8", action="store_true", help="linear maps in 8-bit floats: faster, but lossy; CUDA from capability 8.9 on"
    )
    parser.add_argument(
        "--fp8-attention",
        action="store_true",
        help="self-attention in 8-bit floats: faster, but lossy; with FlashAttention 3, which is for capability 9.0",
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", help="fewer steps a chunk: faster, but lossy (default: the model's)"
    )
    parser.add_argument(
        "--decoder",
        metavar="FILE",
        help="decode with a tiny VAE for Wan2.1's latents, a file or hub id: faster, but lossy (default: the model's)",
    )


def open_asked(args: argparse.Namespace) -> "Model":
    """The model that the command line asks for.

    Raises:
        InputError: there is no such model or device, or something that is asked for cannot be had here.
    """
    return shotstream.open(
        args.model,
        device=args.device,
        text_device=args.text_device,
        compiled=args.compile,
        graphs=args.graphs,
        fp8=args.fp8,
        fp8_attention=args.fp8_attention,
        steps=args.steps,
        decoder=args.decoder,
    )
